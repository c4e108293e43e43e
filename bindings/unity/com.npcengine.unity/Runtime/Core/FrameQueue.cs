using System.Collections.Generic;
using System.Threading;

namespace NpcEngine
{
    /// <summary>
    /// Frames on their way to the engine: put in by any thread, without waiting, and taken out by the
    /// one that writes. Bounded in bytes.
    /// </summary>
    internal sealed class FrameQueue
    {
        private readonly Queue<byte[]> _frames = new Queue<byte[]>();
        private readonly int _maxBytes;
        private int _bytes;
        private bool _closed;

        internal FrameQueue(int maxBytes)
        {
            _maxBytes = maxBytes;
        }

        /// <summary>False when the engine has read nothing for so long that the queue is full.</summary>
        internal bool TryAdd(byte[] frame)
        {
            lock (_frames)
            {
                if (_closed || (_frames.Count > 0 && _bytes + frame.Length > _maxBytes))
                {
                    return false;
                }
                _frames.Enqueue(frame);
                _bytes += frame.Length;
                Monitor.PulseAll(_frames);
                return true;
            }
        }

        /// <summary>Waits for the next frame; null when it was closed and is empty.</summary>
        internal byte[] Take()
        {
            lock (_frames)
            {
                while (_frames.Count == 0 && !_closed)
                {
                    Monitor.Wait(_frames);
                }
                if (_frames.Count == 0)
                {
                    return null;
                }
                _bytes -= _frames.Peek().Length;
                return _frames.Dequeue();
            }
        }

        /// <summary>Lets the writer end once it has taken what is there.</summary>
        internal void Close()
        {
            lock (_frames)
            {
                _closed = true;
                Monitor.PulseAll(_frames);
            }
        }
    }
}
