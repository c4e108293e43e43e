using System.Collections.Generic;
using System.Threading;

namespace NpcEngine
{
    /// <summary>The requests that wait for a reply, by their id. Ids are never used again.</summary>
    internal sealed class OpenRequests
    {
        private const int Most = 1024;  // the engine takes 64; more than this is a game gone wild

        private readonly Dictionary<long, OpenRequest> _requests = new Dictionary<long, OpenRequest>();
        private long _lastId;

        internal int Count
        {
            get
            {
                lock (_requests)
                {
                    return _requests.Count;
                }
            }
        }

        internal long NewId() => Interlocked.Increment(ref _lastId);

        internal void Add(OpenRequest request)
        {
            lock (_requests)
            {
                if (_requests.Count >= Most)
                {
                    throw new NpcException(
                        NpcErrorCode.Busy, Most + " requests are open.", "Await some of them before making more.");
                }
                _requests.Add(request.Id, request);
            }
        }

        /// <summary>The request of that id, or null.</summary>
        internal OpenRequest Find(long id)
        {
            lock (_requests)
            {
                return _requests.TryGetValue(id, out OpenRequest request) ? request : null;
            }
        }

        internal bool Remove(long id)
        {
            lock (_requests)
            {
                return _requests.Remove(id);
            }
        }

        internal List<OpenRequest> All()
        {
            lock (_requests)
            {
                return new List<OpenRequest>(_requests.Values);
            }
        }

        /// <summary>Takes out those that have waited too long; null when there is none.</summary>
        internal List<OpenRequest> TakeOverdue(long nowMs)
        {
            List<OpenRequest> overdue = null;
            lock (_requests)
            {
                foreach (OpenRequest request in _requests.Values)
                {
                    if (request.IsOverdue(nowMs))
                    {
                        (overdue = overdue ?? new List<OpenRequest>()).Add(request);
                    }
                }
                for (int i = 0; overdue != null && i < overdue.Count; i++)
                {
                    _requests.Remove(overdue[i].Id);
                }
            }
            return overdue;
        }
    }
}
