using System.Collections.Generic;
using System.Threading;

namespace NpcEngine
{
    /// <summary>What comes from the engine, and what becomes of the connection.</summary>
    public sealed partial class NpcClient
    {
        private long _unreadable;

        /// <summary>
        /// The connection was made, or made again. A new engine knows no characters: look into the
        /// welcome's Npcs, and spawn or load what is missing.
        /// </summary>
        public NpcEvent<NpcWelcome> Connected { get; } = new NpcEvent<NpcWelcome>();

        /// <summary>
        /// The connection was lost; open requests have ended with this error. Comes again when making it anew
        /// is given up, since the engine refuses: State is then Disconnected.
        /// </summary>
        public NpcEvent<NpcException> Disconnected { get; } = new NpcEvent<NpcException>();

        /// <summary>An error of the engine that belongs to no request: a fault of this library, to be logged.</summary>
        public NpcEvent<NpcException> ErrorReceived { get; } = new NpcEvent<NpcException>();

        private void Tick(object state)
        {
            if (Interlocked.Exchange(ref _ticking, 1) != 0)
            {
                return;
            }
            try
            {
                long nowMs = Clock.NowMs;
                Link link;
                lock (_gate)
                {
                    link = _link;
                }
                link?.Beat(nowMs, _queue.BlockedMs);
                EndOverdue(nowMs, link);
            }
            finally
            {
                Volatile.Write(ref _ticking, 0);
            }
        }

        private void EndOverdue(long nowMs, Link link)
        {
            List<OpenRequest> overdue = _open.TakeOverdue(nowMs);
            for (int i = 0; overdue != null && i < overdue.Count; i++)
            {
                GiveUp(overdue[i]);
                overdue[i].Abandon(Overdue(overdue[i].LimitMs));
            }
            foreach (AnswerRequest<NpcWelcome> waiter in TakeOverdueWaiting(nowMs))
            {
                waiter.Abandon(NpcEngine.Lost.Absent(
                    Endpoint, link?.LastError ?? new NpcException(NpcErrorCode.ConnectionLost, "No answer came in time.")));
            }
        }

        private NpcException Overdue(int limitMs)
        {
            int waiting = _queue.Count;
            return new NpcException(
                NpcErrorCode.Timeout,
                "No answer came within " + limitMs + " ms.",
                waiting > 0
                    ? waiting + " records wait for Pump: call it once a frame."
                    : "Is the machine too slow for this model? The limits are in NpcClientSettings.");
        }

        private List<AnswerRequest<NpcWelcome>> TakeOverdueWaiting(long nowMs)
        {
            var overdue = new List<AnswerRequest<NpcWelcome>>();
            lock (_gate)
            {
                for (int i = _waiting.Count - 1; i >= 0; i--)
                {
                    // The first connection's own deadline comes first, but where a name server holds it.
                    int spareMs = _state == NpcConnectionState.Reconnecting ? 0 : 2000;
                    if (_waiting[i].IsOverdue(nowMs - spareMs))
                    {
                        overdue.Add(_waiting[i]);
                        _waiting.RemoveAt(i);
                    }
                }
            }
            return overdue;
        }

        /// <summary>That the connection is lost, on its way to the game.</summary>
        private sealed class Loss
        {
            internal Loss(NpcException why)
            {
                Why = why;
            }

            internal NpcException Why { get; }
        }

        /// <summary>Hears one link on its thread, and hands the news out in Pump.</summary>
        private sealed class NewsDesk : ILinkOwner, IRecipient
        {
            private const int MostNews = 64;  // beyond the bound of the queue; older news are no loss

            private readonly NpcClient _client;
            private readonly MsgpackReader _reader = new MsgpackReader();

            internal NewsDesk(NpcClient client)
            {
                _client = client;
            }

            public long NewId() => _client._open.NewId();

            public void OnUp(Link link, NpcWelcome welcome)
            {
                lock (_client._gate)
                {
                    if (_client._link != link)
                    {
                        return;
                    }
                    _client.Welcome = welcome;
                    _client._state = NpcConnectionState.Connected;
                }
                Tell(welcome);
                foreach (AnswerRequest<NpcWelcome> waiter in _client.TakeWaiting())
                {
                    waiter.Succeed(welcome);
                }
            }

            public void OnMessage(FrameReader frame)
            {
                try
                {
                    Heed(frame);
                }
                catch (NpcException)
                {
                    Interlocked.Increment(ref _client._unreadable);
                }
            }

            public void OnDown(Link link, NpcException why, bool wasUp, bool isFinal)
            {
                lock (_client._gate)
                {
                    if (_client._link != link)
                    {
                        return;
                    }
                    _client._lost = why;
                    _client._state = isFinal ? NpcConnectionState.Disconnected : NpcConnectionState.Reconnecting;
                    _client._link = isFinal ? null : link;
                }
                foreach (OpenRequest request in _client._open.All())
                {
                    if (request.Fail(why))
                    {
                        _client._open.Remove(request.Id);
                    }
                }
                if (wasUp || _client.Welcome != null)
                {
                    Tell(new Loss(why));
                }
                if (isFinal)
                {
                    foreach (AnswerRequest<NpcWelcome> waiter in _client.TakeWaiting())
                    {
                        waiter.Abandon(why);
                    }
                }
            }

            public void Deliver(object record)
            {
                if (record is NpcWelcome welcome)
                {
                    _client.Connected.Raise(welcome);
                }
                else if (record is Loss loss)
                {
                    _client.Disconnected.Raise(loss.Why);
                }
                else if (record is NpcException error)
                {
                    _client.ErrorReceived.Raise(error);
                }
            }

            private void Heed(FrameReader frame)
            {
                _reader.Start(frame.Body, frame.Start, frame.Count);
                RecordHead head = RecordHead.Read(_reader);
                OpenRequest request = _client._open.Find(head.Id);
                if (request == null)
                {
                    if (head.Type == "error" && head.Id == 0)
                    {
                        Tell(Replies.ReadError(_reader));
                    }
                    return;  // of a request that was given up
                }
                request.Touch();
                if (Settles(request, head))
                {
                    _client._open.Remove(request.Id);
                }
            }

            private bool Settles(OpenRequest request, RecordHead head)
            {
                try
                {
                    return request.OnReply(head.Type, head.IsTerminal, _reader);
                }
                catch (NpcException e)
                {
                    Interlocked.Increment(ref _client._unreadable);
                    if (request.IsCancelable)
                    {
                        _client.SendCancel(request.Id);
                    }
                    return request.Fail(e);
                }
            }

            private void Tell(object news)
            {
                if (_client._queue.Count < _client._settings.MaxWaitingRecords + MostNews)
                {
                    _client._queue.AddBeyondBound(this, news);
                }
            }
        }
    }
}
