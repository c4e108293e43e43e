using System;
using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>A request with one answer, which ends its Task wherever the caller awaits it.</summary>
    internal sealed class AnswerRequest<T> : OpenRequest
    {
        private readonly TaskCompletionSource<T> _end =
            new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);

        private readonly string _type;
        private readonly Func<MsgpackReader, T> _read;

        internal AnswerRequest(long id, int limitMs, string type, Func<MsgpackReader, T> read)
            : base(id, limitMs)
        {
            _type = type;
            _read = read;
        }

        internal Task<T> Task => _end.Task;

        internal override bool OnReply(string type, bool isTerminal, MsgpackReader reader)
        {
            if (type == "error")
            {
                return Fail(Replies.ReadError(reader));
            }
            if (type != _type)
            {
                throw reader.Bad("\"" + _type + "\" was expected and \"" + type + "\" came");
            }
            _end.TrySetResult(_read(reader));
            return true;
        }

        internal void Succeed(T value) => _end.TrySetResult(value);

        internal override bool Fail(NpcException error)
        {
            _end.TrySetException(error);
            return true;
        }

        internal override void Abandon(NpcException error) => _end.TrySetException(error);

        internal override void Abandon(CancellationToken cancellation) => _end.TrySetCanceled(cancellation);
    }
}
