using System.Threading;

namespace NpcEngine
{
    /// <summary>A request that waits for its terminal reply. Its Task ends exactly once.</summary>
    internal abstract class OpenRequest
    {
        private long _heardMs = Clock.NowMs;

        protected OpenRequest(long id, int limitMs)
        {
            Id = id;
            LimitMs = limitMs;
        }

        internal long Id { get; }

        /// <summary>The longest silence before it ends with a timeout.</summary>
        internal int LimitMs { get; }

        /// <summary>Whether the engine may still be at it, so that giving up wants a cancel.</summary>
        internal virtual bool IsCancelable => false;

        internal bool IsOverdue(long nowMs) => nowMs - Interlocked.Read(ref _heardMs) > LimitMs;

        internal void Touch() => Interlocked.Exchange(ref _heardMs, Clock.NowMs);

        /// <summary>Takes one reply, on the reading thread. May throw NpcException for a bad one.</summary>
        /// <returns>Whether the request is over and can be forgotten.</returns>
        internal abstract bool OnReply(string type, bool isTerminal, MsgpackReader reader);

        /// <summary>Ends it with an error that comes behind all that was received before.</summary>
        /// <returns>Whether the request is over and can be forgotten.</returns>
        internal abstract bool Fail(NpcException error);

        /// <summary>Ends it with an error at once.</summary>
        internal abstract void Abandon(NpcException error);

        /// <summary>Ends it as cancelled at once.</summary>
        internal abstract void Abandon(CancellationToken cancellation);
    }
}
