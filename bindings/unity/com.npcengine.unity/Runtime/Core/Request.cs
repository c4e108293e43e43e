using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>Builds the body of one request. A value that is null is left out.</summary>
    internal sealed class Request
    {
        private readonly MsgpackWriter _writer = new MsgpackWriter();
        private readonly int _map;
        private int _n;

        internal Request(string type, long id)
        {
            _map = _writer.OpenMap();
            Text("type", type);
            Text("id", id.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }

        internal Request Text(string key, string value)
        {
            if (value != null)
            {
                Key(key);
                _writer.Text(value);
            }
            return this;
        }

        internal Request Int(string key, int? value)
        {
            if (value.HasValue)
            {
                Key(key);
                _writer.Int(value.Value);
            }
            return this;
        }

        internal Request Float(string key, double? value)
        {
            if (value.HasValue)
            {
                Key(key);
                _writer.Float(value.Value);
            }
            return this;
        }

        internal Request Texts(string key, IEnumerable<string> value)
        {
            if (value != null)
            {
                Key(key);
                _writer.Texts(new List<string>(value));
            }
            return this;
        }

        internal Request Map(string key, IDictionary<string, object> value)
        {
            if (value != null)
            {
                Key(key);
                _writer.Value(value);
            }
            return this;
        }

        internal Request Priority(NpcPriority? value) => Text("priority", Word(value));

        internal Request Stream(NpcStream? value)
        {
            if (!value.HasValue)
            {
                return this;
            }
            var kinds = new List<string>();
            AddIf(kinds, value.Value, NpcStream.Text, "text");
            AddIf(kinds, value.Value, NpcStream.Lines, "line");
            AddIf(kinds, value.Value, NpcStream.Gestures, "gesture");
            return Texts("stream", kinds);
        }

        internal byte[] Body()
        {
            _writer.CloseMap(_map, _n);
            return _writer.ToArray();
        }

        private static void AddIf(List<string> kinds, NpcStream all, NpcStream one, string word)
        {
            if ((all & one) != 0)
            {
                kinds.Add(word);
            }
        }

        private static string Word(NpcPriority? priority) =>
            !priority.HasValue ? null
            : priority.Value == NpcPriority.Ambient ? "ambient"
            : priority.Value == NpcPriority.Near ? "near" : "player";

        private void Key(string key)
        {
            _writer.Text(key);
            _n++;
        }
    }
}
