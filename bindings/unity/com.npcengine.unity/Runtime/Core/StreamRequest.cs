using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>
    /// A request that is told in many records: a say or a scene. The records and the end go through the
    /// queue, so that Pump hands them out in their order and the Task ends behind the last record.
    /// </summary>
    internal abstract class StreamRequest<T> : OpenRequest, IRecipient
        where T : class
    {
        private readonly TaskCompletionSource<T> _end =
            new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);

        private readonly RecordQueue _queue;
        private readonly OpenRequests _open;
        private volatile bool _ended;

        protected StreamRequest(long id, int limitMs, RecordQueue queue, OpenRequests open)
            : base(id, limitMs)
        {
            _queue = queue;
            _open = open;
        }

        internal Task<T> Task => _end.Task;

        internal override bool IsCancelable => !_ended;

        /// <summary>Stays in the table till it is delivered, so that its time limit goes on.</summary>
        internal override bool OnReply(string type, bool isTerminal, MsgpackReader reader)
        {
            if (_ended)
            {
                return false;
            }
            object record = type == "error" ? Replies.ReadError(reader)
                : isTerminal ? ReadEnd(type, reader) : ReadRecord(type, reader);
            _ended = isTerminal;
            if (record != null)
            {
                _queue.Add(this, record);
            }
            return false;
        }

        internal override bool Fail(NpcException error)
        {
            if (!_ended)
            {
                _ended = true;
                _queue.AddBeyondBound(this, error);
            }
            return false;
        }

        internal override void Abandon(NpcException error)
        {
            OnOver(false);
            _end.TrySetException(error);
        }

        internal override void Abandon(CancellationToken cancellation)
        {
            OnOver(false);
            _end.TrySetCanceled(cancellation);
        }

        /// <inheritdoc/>
        void IRecipient.Deliver(object record)
        {
            if (_end.Task.IsCompleted)
            {
                return;
            }
            if (record is T end)
            {
                _open.Remove(Id);
                OnOver(true);
                _end.TrySetResult(end);
            }
            else if (record is NpcException error)
            {
                _open.Remove(Id);
                OnOver(false);
                _end.TrySetException(error);
            }
            else
            {
                Raise(record);
            }
        }

        /// <summary>The record of a type, or null where the type is not known.</summary>
        protected abstract object ReadRecord(string type, MsgpackReader reader);

        protected abstract T ReadEnd(string type, MsgpackReader reader);

        /// <summary>Tells the user's handlers of a record.</summary>
        protected abstract void Raise(object record);

        /// <summary>Called, once or more, when the request is over and before its Task ends.</summary>
        protected abstract void OnOver(bool isAnswered);
    }
}
