using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>Values of which nobody knows what they are: they are made, or passed over.</summary>
    internal sealed partial class MsgpackReader
    {
        internal const int MaxDepth = 68;  // a card may be 64 deep inside its request

        /// <summary>
        /// Any value: null, bool, long (ulong where that is too small), double, string, List of object,
        /// or Dictionary of string and object.
        /// </summary>
        internal object ReadValue(int depth = 0)
        {
            int tag = Peek(depth);
            if ((tag >= 0x80 && tag <= 0x8f) || tag == 0xde || tag == 0xdf)
            {
                return ReadDictionary(depth);
            }
            if ((tag >= 0x90 && tag <= 0x9f) || tag == 0xdc || tag == 0xdd)
            {
                return ReadList(depth);
            }
            if ((tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb))
            {
                return ReadText();
            }
            switch (tag)
            {
                case 0xc0: _at++; return null;
                case 0xc2: case 0xc3: return ReadBool();
                case 0xca: case 0xcb: return ReadDouble();
                case 0xcf: return ReadWide();
                default: return ReadLong();
            }
        }

        /// <summary>Passes over any value without making it.</summary>
        internal void Skip(int depth = 0)
        {
            int tag = Peek(depth);
            if ((tag >= 0x80 && tag <= 0x8f) || tag == 0xde || tag == 0xdf)
            {
                for (int n = ReadMap(); n > 0; n--)
                {
                    ReadName();
                    Skip(depth + 1);
                }
            }
            else if ((tag >= 0x90 && tag <= 0x9f) || tag == 0xdc || tag == 0xdd)
            {
                for (int n = ReadArray(); n > 0; n--)
                {
                    Skip(depth + 1);
                }
            }
            else if ((tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb))
            {
                Take(TextSize(Byte()));
            }
            else
            {
                SkipScalar(tag);
            }
        }

        private void SkipScalar(int tag)
        {
            switch (tag)
            {
                case 0xc0: case 0xc2: case 0xc3: Take(1); break;
                case 0xca: case 0xcb: ReadDouble(); break;
                case 0xcf: Take(9); break;
                default: ReadLong(); break;
            }
        }

        private Dictionary<string, object> ReadDictionary(int depth)
        {
            var map = new Dictionary<string, object>();
            for (int n = ReadMap(); n > 0; n--)
            {
                string key = ReadName();
                map[key] = ReadValue(depth + 1);
            }
            return map;
        }

        private List<object> ReadList(int depth)
        {
            var list = new List<object>();
            for (int n = ReadArray(); n > 0; n--)
            {
                list.Add(ReadValue(depth + 1));
            }
            return list;
        }

        private object ReadWide()
        {
            _at++;
            ulong value = Big(8);
            return value <= long.MaxValue ? (object)(long)value : value;
        }

        private int Peek(int depth)
        {
            if (depth > MaxDepth)
            {
                throw Bad("it is nested more than " + MaxDepth + " levels deep");
            }
            if (_at >= _end)
            {
                throw Bad("it ends too early");
            }
            return _bytes[_at];
        }
    }
}
