using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>
    /// A connection to an engine. Call Pump once a frame: events are raised in it, and the Tasks of says and
    /// scenes end in it, in the order in which everything came. All other Tasks end by themselves. No method
    /// but Dispose waits for anything, and every Task ends: by a result, an NpcException or cancellation,
    /// within the time limits of the settings. Methods may be called from any thread.
    /// </summary>
    public sealed partial class NpcClient : IDisposable
    {
        private const int TickMs = 100;

        private readonly NpcClientSettings _settings;
        private readonly Endpoint _endpoint;
        private readonly OpenRequests _open = new OpenRequests();
        private readonly RecordQueue _queue;
        private readonly Dictionary<string, NpcCharacter> _characters = new Dictionary<string, NpcCharacter>();
        private readonly List<AnswerRequest<NpcWelcome>> _waiting = new List<AnswerRequest<NpcWelcome>>();
        private readonly object _gate = new object();
        private readonly Timer _timer;
        private Link _link;
        private NpcConnectionState _state = NpcConnectionState.Disconnected;
        private NpcException _lost;
        private int _pumper;
        private int _ticking;

        /// <summary>Makes a client; ConnectAsync connects it.</summary>
        /// <param name="settings">Where the engine is; null: at the default endpoint, without a token.</param>
        public NpcClient(NpcClientSettings settings = null)
        {
            _settings = (settings ?? new NpcClientSettings()).Copy();
            _endpoint = NpcEngine.Endpoint.Parse(_settings.Endpoint);
            _queue = new RecordQueue(_settings.MaxWaitingRecords);
            _timer = new Timer(Tick, null, TickMs, TickMs);
        }

        /// <summary>Where the engine is.</summary>
        public string Endpoint => _settings.Endpoint;

        /// <summary>What the engine has said of itself, last time; null before that.</summary>
        public NpcWelcome Welcome { get; private set; }

        /// <summary>How it stands with the connection.</summary>
        public NpcConnectionState State
        {
            get
            {
                lock (_gate)
                {
                    return _state;
                }
            }
        }

        /// <summary>How many records wait for Pump.</summary>
        public int WaitingRecords => _queue.Count;

        /// <summary>Frames of the engine that could not be read and were passed over: not one, if all is well.</summary>
        public long UnreadableFrames => Interlocked.Read(ref _unreadable);

        /// <summary>Connects, and waits for an engine that is still starting.</summary>
        /// <param name="cancellation">Gives up.</param>
        /// <returns>What the engine says of itself.</returns>
        public Task<NpcWelcome> ConnectAsync(CancellationToken cancellation = default(CancellationToken))
        {
            var waiter = new AnswerRequest<NpcWelcome>(0, Clock.Ms(_settings.ConnectTimeout), "welcome", null);
            lock (_gate)
            {
                if (_state == NpcConnectionState.Disposed)
                {
                    waiter.Abandon(Lost.Closed());
                }
                else if (_state == NpcConnectionState.Connected)
                {
                    waiter.Succeed(Welcome);
                }
                else
                {
                    _waiting.Add(waiter);
                    StartLink();
                }
            }
            OnCancelled(cancellation, waiter.Task, () => StopWaiting(waiter, cancellation));
            return waiter.Task;
        }

        /// <summary>Hands out what has come, on the calling thread, until nothing is left or the time is over.</summary>
        /// <param name="maxMilliseconds">
        /// The time it may take, beside that of the last handler it calls. At least one record is handed out.
        /// </param>
        /// <returns>How many records it handed out; 0 inside a handler, or while another thread pumps.</returns>
        public int Pump(double maxMilliseconds = 2)
        {
            if (Interlocked.CompareExchange(ref _pumper, Environment.CurrentManagedThreadId, 0) != 0)
            {
                return 0;
            }
            try
            {
                return HandOut(maxMilliseconds);
            }
            finally
            {
                Volatile.Write(ref _pumper, 0);
            }
        }

        /// <summary>Pumps until a Task has ended: for programs that have no frames, not for games.</summary>
        /// <param name="task">Any Task, such as that of a say.</param>
        public void PumpUntil(Task task)
        {
            if (Volatile.Read(ref _pumper) == Environment.CurrentManagedThreadId)
            {
                throw new NpcException(
                    NpcErrorCode.BadCall, "PumpUntil was called inside a handler.", "Await the Task instead.");
            }
            task.ContinueWith(
                _ => _queue.Wake(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            while (!task.IsCompleted)
            {
                if (Pump(50) == 0 && !task.IsCompleted)
                {
                    _queue.Wait(20);
                }
            }
            task.GetAwaiter().GetResult();
        }

        /// <summary>Pumps until a Task has ended, and returns its result: for programs that have no frames.</summary>
        /// <typeparam name="T">Of the result.</typeparam>
        /// <param name="task">Any Task, such as that of a say.</param>
        /// <returns>The result.</returns>
        public T PumpUntil<T>(Task<T> task)
        {
            PumpUntil((Task)task);
            return task.GetAwaiter().GetResult();
        }

        /// <summary>
        /// Disconnects. Open requests end with the code closed, and the engine cancels what this client had
        /// open. No record is handed out any more; inside a handler, only the others of the same record are
        /// called. May be called again.
        /// </summary>
        public void Dispose()
        {
            Link link;
            lock (_gate)
            {
                if (_state == NpcConnectionState.Disposed)
                {
                    return;
                }
                _state = NpcConnectionState.Disposed;
                _lost = Lost.Closed();
                link = _link;
                _link = null;
            }
            _timer.Dispose();
            _queue.Close();  // first: the reading thread may wait for room in it
            link?.Close();
            AbandonAll(Lost.Closed());
        }

        private int HandOut(double maxMilliseconds)
        {
            long end = Stopwatch.GetTimestamp() + (long)(maxMilliseconds / 1000 * Stopwatch.Frequency);
            int n = 0;
            while (State != NpcConnectionState.Disposed && _queue.TryTake(out RecordQueue.Delivery next))
            {
                n++;
                next.To.Deliver(next.Record);
                if (Stopwatch.GetTimestamp() >= end)
                {
                    break;
                }
            }
            return n;
        }

        private void StartLink()
        {
            if (_link == null)
            {
                _link = new Link(_endpoint, _settings, new NewsDesk(this));
                _state = NpcConnectionState.Connecting;
                _link.Start();
            }
        }

        private void StopWaiting(AnswerRequest<NpcWelcome> waiter, CancellationToken cancellation)
        {
            Link idle = null;
            lock (_gate)
            {
                if (_waiting.Remove(waiter) && _waiting.Count == 0 && _state == NpcConnectionState.Connecting)
                {
                    idle = _link;
                    _link = null;
                    _state = NpcConnectionState.Disconnected;
                }
            }
            waiter.Abandon(cancellation);
            idle?.CloseSoon();
        }

        private void AbandonAll(NpcException error)
        {
            foreach (OpenRequest request in _open.All())
            {
                _open.Remove(request.Id);
                request.Abandon(error);
            }
            foreach (AnswerRequest<NpcWelcome> waiter in TakeWaiting())
            {
                waiter.Abandon(error);
            }
        }

        private List<AnswerRequest<NpcWelcome>> TakeWaiting()
        {
            lock (_gate)
            {
                var all = new List<AnswerRequest<NpcWelcome>>(_waiting);
                _waiting.Clear();
                return all;
            }
        }
    }
}
