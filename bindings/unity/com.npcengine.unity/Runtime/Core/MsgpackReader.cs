using System;
using System.Collections.Generic;
using System.Text;

namespace NpcEngine
{
    /// <summary>
    /// Reads MessagePack out of a frame, value by value. Rules:
    /// 1. Whatever the bytes are: a value, or an NpcException with the code bad_message.
    /// 2. Nothing is allocated by a declared length alone, only for what is really there.
    /// 3. Every width of a value is taken, float 32 too; bin, ext and keys that are no text are not.
    /// </summary>
    internal sealed partial class MsgpackReader
    {
        private static readonly Encoding Utf8 = new UTF8Encoding(false, true);

        private readonly TextCache _cache = new TextCache();
        private byte[] _bytes = new byte[0];
        private int _at;
        private int _end;

        internal bool AtEnd => _at == _end;

        /// <summary>Where it stands, to come back with Seek.</summary>
        internal int Position => _at;

        internal void Start(byte[] bytes, int start, int n)
        {
            _bytes = bytes;
            _at = start;
            _end = start + n;
        }

        internal void Seek(int position) => _at = position;

        internal int ReadMap()
        {
            int tag = Byte();
            int n = tag >= 0x80 && tag <= 0x8f ? tag & 15 : tag == 0xde ? Size(2) : tag == 0xdf ? Size(4) : -1;
            return Count(n, 2, "map");
        }

        internal int ReadArray()
        {
            int tag = Byte();
            int n = tag >= 0x90 && tag <= 0x9f ? tag & 15 : tag == 0xdc ? Size(2) : tag == 0xdd ? Size(4) : -1;
            return Count(n, 1, "list");
        }

        /// <summary>A text that comes again and again: a key, a type, a name.</summary>
        internal string ReadName()
        {
            int n = TextSize(Byte());
            int start = Take(n);
            return _cache.Find(_bytes, start, n) ?? Decode(start, n);
        }

        internal string ReadText()
        {
            int n = TextSize(Byte());
            return Decode(Take(n), n);
        }

        /// <summary>An id as this library makes them, digits; 0 for any other text or nil.</summary>
        internal long ReadId()
        {
            if (ReadNil())
            {
                return 0;
            }
            int n = TextSize(Byte());
            int start = Take(n);
            long id = 0;
            for (int i = start; i < start + n; i++)
            {
                if (n > 18 || _bytes[i] < '0' || _bytes[i] > '9')
                {
                    return 0;
                }
                id = 10 * id + _bytes[i] - '0';
            }
            return id;
        }

        internal string ReadTextOrNull() => ReadNil() ? null : ReadText();

        internal string ReadNameOrNull() => ReadNil() ? null : ReadName();

        internal List<string> ReadNames()
        {
            int n = ReadArray();
            var names = new List<string>();
            for (int i = 0; i < n; i++)
            {
                names.Add(ReadName());
            }
            return names;
        }

        internal bool ReadNil()
        {
            if (_at < _end && _bytes[_at] == 0xc0)
            {
                _at++;
                return true;
            }
            return false;
        }

        internal bool ReadBool()
        {
            int tag = Byte();
            if (tag != 0xc2 && tag != 0xc3)
            {
                throw Bad("a bool was expected");
            }
            return tag == 0xc3;
        }

        internal int ReadInt()
        {
            long value = ReadLong();
            if (value < int.MinValue || value > int.MaxValue)
            {
                throw Bad("a number is too large: " + value);
            }
            return (int)value;
        }

        internal long ReadLong()
        {
            int tag = Byte();
            if (tag < 0x80)
            {
                return tag;
            }
            if (tag >= 0xe0)
            {
                return (sbyte)tag;
            }
            switch (tag)
            {
                case 0xcc: return (long)Big(1);
                case 0xcd: return (long)Big(2);
                case 0xce: return (long)Big(4);
                case 0xcf: return Signed(Big(8));
                case 0xd0: return (sbyte)Big(1);
                case 0xd1: return (short)Big(2);
                case 0xd2: return (int)Big(4);
                case 0xd3: return (long)Big(8);
                default: throw Bad("a whole number was expected");
            }
        }

        /// <summary>A number; a whole one may stand where a float is wanted.</summary>
        internal double ReadDouble()
        {
            int tag = Byte();
            if (tag == 0xcb)
            {
                return BitConverter.Int64BitsToDouble((long)Big(8));
            }
            if (tag == 0xca)
            {
                return BitConverter.ToSingle(BitConverter.GetBytes((uint)Big(4)), 0);
            }
            _at--;
            return tag == 0xcf ? WideDouble() : ReadLong();
        }

        internal NpcException Bad(string why) =>
            new NpcException(NpcErrorCode.BadMessage, "A frame of the engine cannot be read: " + why + ".");

        private double WideDouble()
        {
            _at++;
            return Big(8);
        }

        private int Byte() => _bytes[Take(1)];

        private int Take(int n)
        {
            if (n > _end - _at)
            {
                throw Bad("it ends too early");
            }
            _at += n;
            return _at - n;
        }

        private ulong Big(int n)
        {
            int at = Take(n);
            ulong value = 0;
            for (int i = at; i < at + n; i++)
            {
                value = (value << 8) | _bytes[i];
            }
            return value;
        }

        private int Size(int n)
        {
            ulong size = Big(n);
            return size <= int.MaxValue ? (int)size : int.MaxValue;
        }

        private int TextSize(int tag)
        {
            if (tag >= 0xa0 && tag <= 0xbf)
            {
                return tag & 31;
            }
            if (tag < 0xd9 || tag > 0xdb)
            {
                throw Bad("a text was expected");
            }
            return Size(1 << (tag - 0xd9));
        }

        /// <summary>Every item has a byte at least, so a count beyond what is left is a lie.</summary>
        private int Count(int n, int least, string what)
        {
            if (n < 0)
            {
                throw Bad("a " + what + " was expected");
            }
            if (n > (_end - _at) / least)
            {
                throw Bad("it ends too early");
            }
            return n;
        }

        private long Signed(ulong value)
        {
            if (value > long.MaxValue)
            {
                throw Bad("a number is too large: " + value);
            }
            return (long)value;
        }

        private string Decode(int start, int n)
        {
            try
            {
                return n == 0 ? "" : Utf8.GetString(_bytes, start, n);
            }
            catch (ArgumentException e)
            {
                throw new NpcException(
                    NpcErrorCode.BadMessage, "A frame of the engine cannot be read: a text is no UTF-8.", "", e);
            }
        }
    }
}
