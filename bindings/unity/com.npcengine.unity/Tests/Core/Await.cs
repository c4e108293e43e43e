using System;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>Waits with a limit, always.</summary>
    internal static class Await
    {
        internal static T Result<T>(Task<T> task, double seconds = 10)
        {
            End(task, seconds);
            return task.GetAwaiter().GetResult();
        }

        internal static void Done(Task task, double seconds = 10)
        {
            End(task, seconds);
            task.GetAwaiter().GetResult();
        }

        /// <summary>Pumps while it waits.</summary>
        internal static T Pumped<T>(NpcClient client, Task<T> task, double seconds = 20)
        {
            var watch = Stopwatch.StartNew();
            while (!task.IsCompleted && watch.Elapsed.TotalSeconds < seconds)
            {
                client.Pump(10);
                ((IAsyncResult)task).AsyncWaitHandle.WaitOne(1);
            }
            Assert.IsTrue(task.IsCompleted, "a Task has not ended in " + seconds + " s");
            return task.GetAwaiter().GetResult();
        }

        internal static NpcException Error(Task task, double seconds = 10)
        {
            End(task, seconds);
            return Caught(task);
        }

        internal static NpcException PumpedError<T>(NpcClient client, Task<T> task, double seconds = 20)
        {
            try
            {
                Pumped(client, task, seconds);
            }
            catch (NpcException e)
            {
                return e;
            }
            Assert.Fail("the Task ended well");
            return null;
        }

        internal static void Cancelled(Task task, double seconds = 10)
        {
            End(task, seconds);
            Assert.IsTrue(task.IsCanceled, "the Task is " + task.Status);
        }

        /// <summary>Pumps until something holds.</summary>
        internal static void Until(NpcClient client, Func<bool> holds, double seconds = 10)
        {
            var watch = Stopwatch.StartNew();
            while (!holds())
            {
                Assert.Less(watch.Elapsed.TotalSeconds, seconds, "it does not come true");
                client?.Pump(10);
                Thread.Yield();
            }
        }

        private static void End(Task task, double seconds)
        {
            bool ended = ((IAsyncResult)task).AsyncWaitHandle.WaitOne((int)(seconds * 1000));
            Assert.IsTrue(ended, "a Task has not ended in " + seconds + " s");
        }

        private static NpcException Caught(Task task)
        {
            Assert.IsTrue(task.IsFaulted, "the Task is " + task.Status);
            Exception inner = task.Exception.InnerException;
            Assert.IsInstanceOf(typeof(NpcException), inner, inner.ToString());
            return (NpcException)inner;
        }
    }
}
