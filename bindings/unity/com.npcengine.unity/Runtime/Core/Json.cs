using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace NpcEngine
{
    /// <summary>
    /// Reads JSON, for cards and the READY line, into the values that MsgpackWriter writes: a number
    /// with a point or an exponent is a double, any other a long (ulong, double where that is too
    /// small). NUL and lone surrogates are left out of texts, as the engine does. Bad text of any kind is an NpcException with the code that the caller names.
    /// </summary>
    internal sealed class Json
    {
        private const int MaxDepth = 64;

        // What double.TryParse takes beyond this (012, .5, 1., +1) is no JSON.
        private static readonly Regex IsNumber =
            new Regex(@"\A-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\z");

        private readonly string _text;
        private readonly string _code;
        private int _at;

        private Json(string text, string code)
        {
            _text = text;
            _code = code;
        }

        internal static object Parse(string text, string code = NpcErrorCode.BadMessage)
        {
            var json = new Json(text, code);
            if (text.StartsWith("\ufeff", StringComparison.Ordinal))
            {
                json._at = 1;
            }
            object value = json.Value(0);
            json.Space();
            if (json._at < text.Length)
            {
                throw json.Bad("more follows behind its end");
            }
            return value;
        }

        private object Value(int depth)
        {
            if (depth > MaxDepth)
            {
                throw Bad("it is nested more than " + MaxDepth + " levels deep");
            }
            Space();
            switch (Peek())
            {
                case '{': return Map(depth);
                case '[': return List(depth);
                case '"': return Text();
                case 't': return Word("true", true);
                case 'f': return Word("false", false);
                case 'n': return Word("null", null);
                default: return Number();
            }
        }

        private Dictionary<string, object> Map(int depth)
        {
            var map = new Dictionary<string, object>();
            _at++;
            Space();
            while (Peek() != '}' || map.Count > 0)
            {
                Space();
                string key = Text();
                Space();
                Expect(':');
                map[key] = Value(depth + 1);
                Space();
                if (Peek() == '}')
                {
                    break;
                }
                Expect(',');
            }
            _at++;
            return map;
        }

        private List<object> List(int depth)
        {
            var list = new List<object>();
            _at++;
            Space();
            while (Peek() != ']' || list.Count > 0)
            {
                list.Add(Value(depth + 1));
                Space();
                if (Peek() == ']')
                {
                    break;
                }
                Expect(',');
            }
            _at++;
            return list;
        }

        private string Text()
        {
            Expect('"');
            var text = new StringBuilder();
            while (true)
            {
                char c = Peek();
                _at++;
                if (c == '"')
                {
                    return Utf8Text.Whole(text.ToString());
                }
                text.Append(c == '\\' ? Escape() : c);
            }
        }

        private char Escape()
        {
            char c = Peek();
            _at++;
            switch (c)
            {
                case 'n': return '\n';
                case 't': return '\t';
                case 'r': return '\r';
                case 'b': return '\b';
                case 'f': return '\f';
                case '"': case '\\': case '/': return c;
                case 'u': return Unicode();
                default: throw Bad("there is no escape '\\" + c + "'");
            }
        }

        private char Unicode()
        {
            if (_at + 4 > _text.Length || !ushort.TryParse(
                _text.Substring(_at, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort c))
            {
                throw Bad("\\u wants four hexadecimal digits");
            }
            _at += 4;
            return (char)c;
        }

        private object Number()
        {
            int start = _at;
            while (_at < _text.Length && "+-.0123456789eE".IndexOf(_text[_at]) >= 0)
            {
                _at++;
            }
            string number = _text.Substring(start, _at - start);
            if (!IsNumber.IsMatch(number))
            {
                _at = start;
                throw Bad(number == "" ? "a value was expected" : "there is no number '" + number + "'");
            }
            CultureInfo culture = CultureInfo.InvariantCulture;
            if (number.IndexOfAny(new[] { '.', 'e', 'E' }) < 0)
            {
                if (long.TryParse(number, NumberStyles.AllowLeadingSign, culture, out long whole))
                {
                    return whole;
                }
                if (ulong.TryParse(number, NumberStyles.None, culture, out ulong wide))
                {
                    return wide;
                }
            }
            bool fits = double.TryParse(number, NumberStyles.Float, culture, out double real);
            if (!fits || double.IsInfinity(real))
            {
                _at = start;
                throw Bad("'" + number + "' is too large a number");
            }
            return real;
        }

        private object Word(string word, object value)
        {
            if (string.CompareOrdinal(_text, _at, word, 0, word.Length) != 0)
            {
                throw Bad("a value was expected");
            }
            _at += word.Length;
            return value;
        }

        private void Space()
        {
            while (_at < _text.Length && " \t\r\n".IndexOf(_text[_at]) >= 0)
            {
                _at++;
            }
        }

        private char Peek()
        {
            if (_at >= _text.Length)
            {
                throw Bad("it ends too early");
            }
            return _text[_at];
        }

        private void Expect(char c)
        {
            if (Peek() != c)
            {
                throw Bad("'" + c + "' was expected");
            }
            _at++;
        }

        private NpcException Bad(string why)
        {
            int line = 1;
            for (int i = 0; i < _at && i < _text.Length; i++)
            {
                line += _text[i] == '\n' ? 1 : 0;
            }
            return new NpcException(_code, "The JSON cannot be read: line " + line + ", " + why + ".");
        }
    }
}
