using System;
using System.Collections.Generic;
using System.Text;

namespace NpcEngine
{
    /// <summary>
    /// Writes the MessagePack types that the protocol uses, each in its shortest form, into a buffer
    /// that grows.
    /// </summary>
    internal sealed class MsgpackWriter
    {
        internal const int MaxDepth = 64;

        private byte[] _buffer = new byte[256];
        private int _length;

        internal int Length => _length;

        internal byte[] ToArray()
        {
            var bytes = new byte[_length];
            Buffer.BlockCopy(_buffer, 0, bytes, 0, _length);
            return bytes;
        }

        internal void Nil() => Byte(0xc0);

        internal void Bool(bool value) => Byte(value ? 0xc3 : 0xc2);

        internal void Int(long value)
        {
            if (value >= 0)
            {
                UInt((ulong)value);
            }
            else if (value >= -32)
            {
                Byte((int)(value & 0xff));
            }
            else if (value >= sbyte.MinValue)
            {
                Tagged(0xd0, (ulong)value, 1);
            }
            else if (value >= short.MinValue)
            {
                Tagged(0xd1, (ulong)value, 2);
            }
            else
            {
                Tagged(value >= int.MinValue ? 0xd2 : 0xd3, (ulong)value, value >= int.MinValue ? 4 : 8);
            }
        }

        internal void UInt(ulong value)
        {
            if (value < 128)
            {
                Byte((int)value);
            }
            else if (value <= byte.MaxValue)
            {
                Tagged(0xcc, value, 1);
            }
            else if (value <= ushort.MaxValue)
            {
                Tagged(0xcd, value, 2);
            }
            else
            {
                Tagged(value <= uint.MaxValue ? 0xce : 0xcf, value, value <= uint.MaxValue ? 4 : 8);
            }
        }

        internal void Float(double value) => Tagged(0xcb, (ulong)BitConverter.DoubleToInt64Bits(value), 8);

        /// <summary>Half a surrogate pair, as a cut text may end with, becomes U+FFFD.</summary>
        internal void Text(string value)
        {
            int n = Encoding.UTF8.GetByteCount(value);
            if (n < 32)
            {
                Byte(0xa0 | n);
            }
            else if (n <= byte.MaxValue)
            {
                Tagged(0xd9, (ulong)n, 1);
            }
            else
            {
                Tagged(n <= ushort.MaxValue ? 0xda : 0xdb, (ulong)n, n <= ushort.MaxValue ? 2 : 4);
            }
            Reserve(n);
            _length += Encoding.UTF8.GetBytes(value, 0, value.Length, _buffer, _length);
        }

        internal void Array(int n) => Sized(n, 0x90, 0xdc);

        internal void Map(int n) => Sized(n, 0x80, 0xde);

        /// <summary>Opens a map of at most 15 keys, whose number CloseMap puts in.</summary>
        internal int OpenMap()
        {
            Byte(0x80);
            return _length - 1;
        }

        internal void CloseMap(int at, int n) => _buffer[at] = (byte)(0x80 | n);

        /// <summary>Writes null, bool, numbers, text, lists, arrays and maps with text keys.</summary>
        internal void Value(object value, int depth = 0)
        {
            if (depth > MaxDepth)
            {
                throw new NpcException(
                    NpcErrorCode.BadMessage, "A value is nested more than " + MaxDepth + " levels deep.");
            }
            if (value is IDictionary<string, object> map)
            {
                Map(map.Count);
                foreach (KeyValuePair<string, object> pair in map)
                {
                    Text(pair.Key);
                    Value(pair.Value, depth + 1);
                }
            }
            else if (value is ICollection<object> list)
            {
                Array(list.Count);
                foreach (object item in list)
                {
                    Value(item, depth + 1);
                }
            }
            else if (value is ICollection<string> texts)
            {
                Texts(texts);
            }
            else
            {
                Scalar(value);
            }
        }

        internal void Texts(ICollection<string> texts)
        {
            Array(texts.Count);
            foreach (string text in texts)
            {
                Scalar(text);
            }
        }

        private void Scalar(object value)
        {
            if (value == null)
            {
                Nil();
            }
            else if (value is string text)
            {
                Text(text);
            }
            else if (value is bool flag)
            {
                Bool(flag);
            }
            else
            {
                Number(value);
            }
        }

        private void Number(object value)
        {
            if (value is double || value is float)
            {
                Float(value is double wide ? wide : (float)value);
            }
            else if (value is ulong large)
            {
                UInt(large);
            }
            else if (value is long || value is int || value is uint)
            {
                Int(value is long whole ? whole : value is int small ? (long)small : (uint)value);
            }
            else
            {
                throw new NpcException(
                    NpcErrorCode.BadMessage,
                    "A " + value.GetType().Name + " cannot be sent.",
                    "Use text, numbers, bool, null, List<object> and Dictionary<string, object>.");
            }
        }

        private void Sized(int n, int small, int wide)
        {
            if (n < 16)
            {
                Byte(small | n);
            }
            else
            {
                Tagged(n <= ushort.MaxValue ? wide : wide + 1, (ulong)n, n <= ushort.MaxValue ? 2 : 4);
            }
        }

        private void Byte(int value)
        {
            Reserve(1);
            _buffer[_length++] = (byte)value;
        }

        private void Tagged(int tag, ulong value, int n)
        {
            Reserve(1 + n);
            _buffer[_length++] = (byte)tag;
            for (int shift = 8 * (n - 1); shift >= 0; shift -= 8)
            {
                _buffer[_length++] = (byte)(value >> shift);
            }
        }

        private void Reserve(int n)
        {
            if (_length + n > _buffer.Length)
            {
                System.Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + n));
            }
        }
    }
}
