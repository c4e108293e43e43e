using System;
using System.IO;
using System.Threading.Tasks;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>A real engine for a fixture, with a folder for its saves; both are gone afterwards.</summary>
    internal sealed class RealEngine : IDisposable
    {
        private readonly string _saves;

        internal RealEngine(string model = null, params string[] more)
        {
            _saves = Repository.NewFolder();
            Process = Start(_saves, model, more);
        }

        internal EngineProcess Process { get; private set; }

        internal NpcClient Connected(Action<NpcClientSettings> change = null)
        {
            var settings = new NpcClientSettings();
            change?.Invoke(settings);
            NpcClient client = Process.CreateClient(settings);
            Await.Result(client.ConnectAsync());
            return client;
        }

        internal static NpcCharacter Spawn(NpcClient client, string npc, string restore = null)
        {
            var options = new SpawnOptions { Sampling = new NpcSampling { Temperature = 0 }, Restore = restore };
            var card = new NpcCard(char.ToUpperInvariant(npc[0]) + npc.Substring(1), "Keeps the Crooked Lantern inn. Warm, dry, curious.");
            return Await.Result(client.SpawnAsync(npc, card, options));
        }

        /// <summary>Kills it as a crash does, and starts another over the same saves.</summary>
        internal void Restart(string model = null)
        {
            Signals.Send(Process.ProcessId, "KILL");
            Process.Dispose();
            Process = Start(_saves, model);
        }

        public void Dispose()
        {
            Process.Dispose();
            Assert.IsFalse(Signals.IsAlive(Process.ProcessId));
            Directory.Delete(_saves, true);
        }

        private static EngineProcess Start(string saves, string model, params string[] more) =>
            Await.Result(EngineProcess.StartAsync(Repository.Engine(saves, model, more)), 60);
    }
}
