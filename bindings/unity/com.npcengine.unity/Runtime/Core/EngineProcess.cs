using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.IO;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>
    /// An engine as a child process of the game. It ends with Dispose, and by itself when the game ends or
    /// crashes: it holds on to the game by a pipe. Not in IL2CPP builds, which cannot start processes:
    /// there something else starts the engine, and NpcClientSettings says where it is.
    /// </summary>
    public sealed class EngineProcess : IDisposable
    {
        private const int LeaveMs = 3000;  // what it gets to answer open requests and leave
        private const int PipeMs = 1000;

        private readonly Process _process;
        private readonly LogTail _log = new LogTail();
        private readonly List<Thread> _readers = new List<Thread>();
        private readonly TaskCompletionSource<string> _ready =
            new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);

        private readonly object _gate = new object();
        private bool _disposed;

        private EngineProcess(Process process)
        {
            _process = process;
            ProcessId = process.Id;
        }

        /// <summary>Where it listens.</summary>
        public string Endpoint { get; private set; }

        /// <summary>The token of this launch, which CreateClient knows.</summary>
        public string Token { get; private set; }

        /// <summary>The number of the process.</summary>
        public int ProcessId { get; }

        /// <summary>Whether it runs.</summary>
        public bool IsRunning
        {
            get
            {
                lock (_gate)
                {
                    return !_disposed && !_process.HasExited;
                }
            }
        }

        /// <summary>How it has ended by itself, in a sentence or two; null while it runs, and after Dispose.</summary>
        public string Ended
        {
            get
            {
                lock (_gate)
                {
                    return _disposed || !_process.HasExited ? null
                        : ("The engine ended with status " + _process.ExitCode + ". " + Death.Of(_process.ExitCode)?.Cause).Trim();
                }
            }
        }

        /// <summary>Starts an engine, without keeping the caller from its frames.</summary>
        /// <param name="settings">The program and the model.</param>
        /// <param name="cancellation">Ends the engine again.</param>
        /// <returns>The engine, when it is ready. Throws NpcException with the code setup and the engine's own words.</returns>
        public static async Task<EngineProcess> StartAsync(
            EngineProcessSettings settings, CancellationToken cancellation = default(CancellationToken))
        {
            if (settings == null || string.IsNullOrEmpty(settings.Model))
            {
                throw EngineLauncher.Error("No model is given.", "Set EngineProcessSettings.Model to a GGUF file.");
            }
            string token = EngineLauncher.NewToken();
            EngineProcess engine = await Task.Run(() => Launch(settings, token), cancellation).ConfigureAwait(false);
            try
            {
                await engine.AwaitReadyAsync(settings.ReadyTimeout, cancellation).ConfigureAwait(false);
                return engine;
            }
            catch
            {
                await engine.StopAsync().ConfigureAwait(false);
                throw;
            }
        }

        /// <summary>A client for this engine; dispose it before the engine.</summary>
        /// <param name="settings">Limits and so on; its endpoint and token do not count. Or null.</param>
        /// <returns>A client that is not connected yet.</returns>
        public NpcClient CreateClient(NpcClientSettings settings = null)
        {
            NpcClientSettings own = (settings ?? new NpcClientSettings()).Copy();
            own.Endpoint = Endpoint;
            own.Token = Token;
            return new NpcClient(own);
        }

        /// <summary>The last lines of its log, 200 at most.</summary>
        /// <returns>The lines, the oldest first.</returns>
        public string[] RecentLog() => _log.ToArray();

        /// <summary>Ends it without keeping the caller from its frames; see Dispose.</summary>
        /// <returns>Ends when the process is gone.</returns>
        public Task StopAsync() => Task.Run((Action)Dispose);

        /// <summary>
        /// Ends it: by closing its stdin, after 3 s by force. Waits until it is gone. May be called again.
        /// </summary>
        public void Dispose()
        {
            lock (_gate)
            {
                if (_disposed)
                {
                    return;
                }
                _disposed = true;
                End();
            }
        }

        private static EngineProcess Launch(EngineProcessSettings settings, string token)
        {
            var engine = new EngineProcess(EngineLauncher.Start(settings));
            engine.Token = token;
            engine.Read(engine._process.StandardOutput, engine.HeedOutput, "npc-engine out");
            engine.Read(engine._process.StandardError, engine.HeedLog, "npc-engine log");
            engine.HandOver(token);
            return engine;
        }

        private async Task AwaitReadyAsync(TimeSpan limit, CancellationToken cancellation)
        {
            Task first = await Task.WhenAny(_ready.Task, Task.Delay(limit, cancellation)).ConfigureAwait(false);
            cancellation.ThrowIfCancellationRequested();
            if (first != _ready.Task)
            {
                throw EngineLauncher.Error(
                    ("The engine is not ready after " + limit.TotalSeconds + " s. " + _log.LastWords()).Trim(),
                    "Give a longer ReadyTimeout if the machine is slow.");
            }
            string line = await _ready.Task.ConfigureAwait(false);
            if (line == null)
            {
                throw await Task.Run((Func<NpcException>)EarlyDeath).ConfigureAwait(false);
            }
            Endpoint = EngineLauncher.EndpointOf(line);
        }

        private NpcException EarlyDeath()
        {
            _process.WaitForExit(LeaveMs);
            JoinReaders();
            string status = _process.HasExited ? "with status " + _process.ExitCode : "its output";
            Death death = _process.HasExited ? Death.Of(_process.ExitCode) : null;
            string cause = death == null ? "" : death.Cause + " ";
            return EngineLauncher.Error(
                ("The engine ended " + status + " before it was ready. " + cause + _log.LastWords()).Trim(),
                death?.Help ?? "Run: npc-engine doctor, with the same model.");
        }

        private void HandOver(string token)
        {
            try
            {
                byte[] line = Encoding.ASCII.GetBytes(token + "\n");
                _process.StandardInput.BaseStream.Write(line, 0, line.Length);
                _process.StandardInput.BaseStream.Flush();
            }
            catch (IOException)
            {
                // It died at once: the early death says why.
            }
        }

        private void Read(StreamReader pipe, Action<string> heed, string name)
        {
            var thread = new Thread(() =>
            {
                try
                {
                    for (string line = pipe.ReadLine(); line != null; line = pipe.ReadLine())
                    {
                        heed(line);
                    }
                }
                catch (Exception e) when (e is IOException || e is ObjectDisposedException)
                {
                    // It was closed under us.
                }
                heed(null);
            });
            thread.IsBackground = true;
            thread.Name = name;
            _readers.Add(thread);
            thread.Start();
        }

        private void HeedOutput(string line)
        {
            if (line == null || line.StartsWith("READY ", StringComparison.Ordinal))
            {
                _ready.TrySetResult(line);
            }
        }

        private void HeedLog(string line)
        {
            if (line != null)
            {
                _log.Add(line);
            }
        }

        private void End()
        {
            try
            {
                _process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It is gone already.
            }
            if (!_process.WaitForExit(LeaveMs))
            {
                Kill();
                _process.WaitForExit(LeaveMs);
            }
            JoinReaders();
            _process.Dispose();
        }

        private void Kill()
        {
            try
            {
                _process.Kill();
            }
            catch (Exception e) when (e is InvalidOperationException || e is Win32Exception)
            {
                // It ended meanwhile.
            }
        }

        private void JoinReaders()
        {
            foreach (Thread reader in _readers)
            {
                reader.Join(PipeMs);  // a grandchild may hold the pipe open
            }
        }
    }
}
