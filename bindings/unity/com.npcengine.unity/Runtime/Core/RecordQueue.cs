using System.Threading;

namespace NpcEngine
{
    /// <summary>
    /// What was received and waits for Pump, in its order. Rules:
    /// 1. A full queue makes the reading thread wait, so TCP holds the engine back and memory stays bounded.
    /// 2. The pumping thread never waits for anybody.
    /// 3. The end of a request that the client itself declares is taken beyond the bound: there are no
    ///    more of those than open requests.
    /// </summary>
    internal sealed class RecordQueue
    {
        private readonly object _gate = new object();
        private readonly int _bound;
        private Delivery[] _ring;
        private int _first;
        private int _count;
        private bool _closed;
        private bool _waiting;
        private long _blockedMs;

        internal RecordQueue(int bound)
        {
            _bound = bound;
            _ring = new Delivery[bound];
        }

        /// <summary>One record and who it is for.</summary>
        internal struct Delivery
        {
            internal IRecipient To;
            internal object Record;
        }

        internal int Count
        {
            get
            {
                lock (_gate)
                {
                    return _count;
                }
            }
        }

        /// <summary>When the reading thread last waited for room, or now if it does.</summary>
        internal long BlockedMs
        {
            get
            {
                lock (_gate)
                {
                    return _waiting ? Clock.NowMs : _blockedMs;
                }
            }
        }

        /// <summary>Waits while the queue is full. Drops the record once the queue is closed.</summary>
        internal void Add(IRecipient to, object record)
        {
            lock (_gate)
            {
                while (_count >= _bound && !_closed)
                {
                    _waiting = true;
                    Monitor.Wait(_gate);
                    _waiting = false;
                    _blockedMs = Clock.NowMs;
                }
                Put(to, record);
            }
        }

        internal void AddBeyondBound(IRecipient to, object record)
        {
            lock (_gate)
            {
                Put(to, record);
            }
        }

        internal bool TryTake(out Delivery next)
        {
            lock (_gate)
            {
                next = default(Delivery);
                if (_count == 0)
                {
                    return false;
                }
                next = _ring[_first];
                _ring[_first] = default(Delivery);
                _first = (_first + 1) % _ring.Length;
                _count--;
                if (_count == _bound - 1)
                {
                    Monitor.PulseAll(_gate);
                }
                return true;
            }
        }

        /// <summary>Waits until there is something, Wake is called, or the time is over.</summary>
        internal void Wait(int ms)
        {
            lock (_gate)
            {
                if (_count == 0 && !_closed)
                {
                    Monitor.Wait(_gate, ms);
                }
            }
        }

        internal void Wake()
        {
            lock (_gate)
            {
                Monitor.PulseAll(_gate);
            }
        }

        /// <summary>Lets the reading thread go. What is in it can still be taken.</summary>
        internal void Close()
        {
            lock (_gate)
            {
                _closed = true;
                Monitor.PulseAll(_gate);
            }
        }

        private void Put(IRecipient to, object record)
        {
            if (_closed)
            {
                return;
            }
            if (_count == _ring.Length)
            {
                Grow();
            }
            _ring[(_first + _count) % _ring.Length] = new Delivery { To = to, Record = record };
            if (++_count == 1)
            {
                Monitor.PulseAll(_gate);
            }
        }

        private void Grow()
        {
            var ring = new Delivery[2 * _ring.Length];
            for (int i = 0; i < _count; i++)
            {
                ring[i] = _ring[(_first + i) % _ring.Length];
            }
            _ring = ring;
            _first = 0;
        }
    }
}
