using System;
using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>
    /// One launch of an engine, or one connection to an engine that runs already, from start to end. Dispose
    /// ends it at any moment, also in the middle of the start. It never needs the main thread to go on:
    /// when play mode ends, or a domain is unloaded, nothing that was posted to it runs any more.
    /// </summary>
    internal sealed class EngineRun : IDisposable
    {
        private const int LeaveMs = 8000;  // an engine that is loading gets 3 s to leave, then 3 s to be killed

        private readonly CancellationTokenSource _cancel = new CancellationTokenSource();
        private volatile EngineProcess _process;
        private volatile NpcClient _client;

        internal EngineRun(EngineProcessSettings engine, NpcClientSettings client)
        {
            Started = StartAsync(engine, client);
        }

        /// <summary>Ends when the engine has answered.</summary>
        internal Task Started { get; }

        /// <summary>Not null when Started has ended well.</summary>
        internal NpcClient Client => _client;

        /// <summary>Whether the engine was ours and has ended.</summary>
        internal bool HasDied =>
            _process != null && _client.State != NpcConnectionState.Connected && !_process.IsRunning;

        /// <summary>How the engine has ended, and the last line of its log, or nothing.</summary>
        internal string LastWords
        {
            get
            {
                string[] log = _process?.RecentLog() ?? new string[0];
                return (_process?.Ended + " " + (log.Length > 0 ? log[log.Length - 1] : "")).Trim();
            }
        }

        public void Dispose()
        {
            _cancel.Cancel();
            ((IAsyncResult)Started).AsyncWaitHandle.WaitOne(LeaveMs);
            if (Started.IsCompleted)
            {
                Leave();
            }
            else
            {
                Started.ContinueWith(_ => Leave(), TaskScheduler.Default);
            }
        }

        private async Task StartAsync(EngineProcessSettings engine, NpcClientSettings client)
        {
            if (engine == null)
            {
                _client = new NpcClient(client);
            }
            else
            {
                _process = await EngineProcess.StartAsync(engine, _cancel.Token).ConfigureAwait(false);
                _client = _process.CreateClient(client);
            }
            await _client.ConnectAsync(_cancel.Token).ConfigureAwait(false);
        }

        private void Leave()
        {
            _client?.Dispose();  // first, so that the engine has nobody to wait for
            _process?.Dispose();
            _cancel.Dispose();
        }
    }
}
