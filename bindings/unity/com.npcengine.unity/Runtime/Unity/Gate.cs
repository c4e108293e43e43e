using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>Something that is not there yet, is there, or will not be; it may change its mind. Main thread only.</summary>
    /// <typeparam name="T">What it gives.</typeparam>
    internal sealed class Gate<T>
    {
        private TaskCompletionSource<T> _next = New();

        internal Gate(NpcException why)
        {
            Fail(why);
        }

        /// <summary>Ends as the gate stands now, or will stand.</summary>
        internal Task<T> Opened => _next.Task;

        internal void Open(T value) => Pending().SetResult(value);

        /// <summary>Lets those who come wait.</summary>
        internal void Close() => Pending();

        internal void Fail(NpcException why)
        {
            TaskCompletionSource<T> failed = Pending();
            failed.SetException(why);
            // That nobody asked is no unobserved exception.
            failed.Task.ContinueWith(
                task => task.Exception,
                CancellationToken.None,
                TaskContinuationOptions.ExecuteSynchronously,
                TaskScheduler.Default);
        }

        /// <summary>Waits, and may be cancelled.</summary>
        internal async Task<T> WaitAsync(CancellationToken cancellation)
        {
            Task<T> opened = Opened;
            if (cancellation.CanBeCanceled && !opened.IsCompleted)
            {
                using (CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(cancellation))
                {
                    await Task.WhenAny(opened, Task.Delay(Timeout.Infinite, both.Token));
                    both.Cancel();
                }
            }
            cancellation.ThrowIfCancellationRequested();
            return await opened;
        }

        private static TaskCompletionSource<T> New() =>
            new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);

        private TaskCompletionSource<T> Pending()
        {
            if (_next.Task.IsCompleted)
            {
                _next = New();
            }
            return _next;
        }
    }
}
