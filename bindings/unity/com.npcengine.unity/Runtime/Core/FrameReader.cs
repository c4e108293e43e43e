using System;
using System.IO;

namespace NpcEngine
{
    /// <summary>
    /// Cuts what is received into ZMTP frames, in one buffer that is used again. Its size is what the longest
    /// frame so far needed, at most the limit; a frame beyond that ends the connection unread.
    /// </summary>
    internal sealed class FrameReader
    {
        private const int LeastRead = 16 * 1024;

        private readonly Func<byte[], int, int, int> _receive;
        private readonly int _maxFrame;
        private byte[] _buffer = new byte[LeastRead];
        private int _next;
        private int _filled;

        internal FrameReader(Func<byte[], int, int, int> receive, int maxFrame)
        {
            _receive = receive;
            _maxFrame = maxFrame;
        }

        /// <summary>Where the last frame's body is: Body[Start] to Body[Start + Count - 1].</summary>
        internal byte[] Body => _buffer;

        internal int Start { get; private set; }

        internal int Count { get; private set; }

        internal bool IsCommand { get; private set; }

        /// <summary>Waits for a number of bytes as they are, such as the greeting.</summary>
        internal void ReadRaw(int n)
        {
            Fill(n);
            Start = _next;
            Count = n;
            _next += n;
        }

        /// <summary>Waits for the next frame. Throws NpcException, EndOfStreamException or what sockets throw.</summary>
        internal void Read()
        {
            Fill(2);
            int flags = _buffer[_next];
            if ((flags & ~(Zmtp.Long | Zmtp.Command)) != 0)
            {
                throw Zmtp.Bad("A frame came with the flags " + flags + ", which no engine sends.");
            }
            int header = (flags & Zmtp.Long) != 0 ? 9 : 2;
            Fill(header);
            ulong size = 0;
            for (int i = 1; i < header; i++)
            {
                size = (size << 8) | _buffer[_next + i];
            }
            if (size > (ulong)_maxFrame)
            {
                throw Zmtp.Bad("A frame of " + size + " bytes came; " + _maxFrame + " are allowed.");
            }
            _next += header;
            ReadRaw((int)size);
            IsCommand = (flags & Zmtp.Command) != 0;
        }

        private void Fill(int n)
        {
            while (_filled - _next < n)
            {
                // Twice what is there, not all that a header promises: it costs what really comes.
                int wanted = Math.Min(n, Math.Max(LeastRead, 2 * (_filled - _next)));
                if (_next + wanted > _buffer.Length)
                {
                    MakeRoom(wanted);
                }
                int got = _receive(_buffer, _filled, _buffer.Length - _filled);
                if (got == 0)
                {
                    throw new EndOfStreamException();
                }
                _filled += got;
            }
        }

        private void MakeRoom(int n)
        {
            byte[] old = _buffer;
            if (n > old.Length)
            {
                _buffer = new byte[n];
            }
            Buffer.BlockCopy(old, _next, _buffer, 0, _filled - _next);
            _filled -= _next;
            _next = 0;
        }
    }
}
