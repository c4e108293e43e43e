using System;
using System.Threading.Tasks;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>An engine that is killed: what comes back, and what the game is told.</summary>
    [TestFixture]
    [Timeout(120000)]
    public sealed class SavesTests
    {
        [Test]
        public void ATalkGoesOnInANewEngineAsIfNothingHadHappened()
        {
            using (var engine = new RealEngine(Repository.TalkModel))
            {
                string before;
                string other;
                using (NpcClient client = engine.Connected())
                {
                    NpcCharacter mara = RealEngine.Spawn(client, "mara");
                    string lines = "";
                    mara.LineSpoken.Subscribe(line => lines += line.Text);
                    NpcReply reply = Await.Pumped(client, mara.SayAsync("My name is Tom. Who are you?"), 40);
                    Assert.Greater(lines.Length, 3);
                    Assert.Greater(reply.Stats.DecodeTps, 1);
                    NpcSaved saved = Await.Result(client.SaveAsync("slot-1"), 20);
                    Assert.AreEqual(new[] { "mara" }, saved.Npcs);
                    before = Words(client, mara);
                    other = Await.Pumped(client, mara.SayAsync("What do you sell?", Brief()), 40).Text;
                }
                engine.Restart(Repository.TalkModel);
                using (NpcClient client = engine.Connected())
                {
                    Assert.AreEqual(0, client.Welcome.Npcs.Count);
                    NpcLoaded loaded = Await.Result(client.LoadAsync("slot-1"), 20);
                    Assert.AreEqual("payload", loaded.Npcs[0].From);
                    NpcCharacter mara = client.Character("mara");
                    Assert.AreEqual(before, Words(client, mara));
                    Assert.AreEqual(other, Await.Pumped(client, mara.SayAsync("What do you sell?", Brief()), 40).Text);
                }
            }
        }

        [Test]
        public void OneCharacterIsSavedLoadedAndRestored()
        {
            using (var engine = new RealEngine())
            using (NpcClient client = engine.Connected())
            {
                NpcCharacter mara = RealEngine.Spawn(client, "mara");
                RealEngine.Spawn(client, "bo");
                Await.Pumped(client, mara.SayAsync("Hello.", Brief()));
                Assert.AreEqual(new[] { "mara" }, Await.Result(mara.SaveAsync("one")).Npcs);
                Await.Pumped(client, mara.SayAsync("Again.", Brief()));
                Assert.AreEqual(1, Await.Result(mara.LoadAsync("one")).Npcs.Count);
                Assert.AreEqual(1, Await.Result(mara.TranscriptAsync()).Turns.Count);
                Await.Done(mara.DespawnAsync());
                Assert.IsTrue(RealEngine.Spawn(client, "mara", "one").Spawned.Restored);
            }
        }

        [Test]
        public void AnEngineKilledInMidLineIsToldAndComesBack()
        {
            using (var engine = new RealEngine())
            using (NpcClient client = engine.Connected(s => s.Reconnect = false))
            {
                NpcCharacter mara = RealEngine.Spawn(client, "mara");
                int pieces = 0;
                NpcException news = null;
                client.Disconnected.Subscribe(e => news = e);
                mara.TextStreamed.Subscribe(_ => pieces++);
                Task<NpcReply> say = mara.SayAsync("Tell me everything.", new SayOptions { MaxTokens = 256 });
                Await.Until(client, () => pieces > 3);
                Signals.Send(engine.Process.ProcessId, "KILL");
                NpcException error = Await.PumpedError(client, say, 5);
                Assert.AreEqual(NpcErrorCode.ConnectionLost, error.Code);
                StringAssert.Contains("is gone", error.Problem);
                Await.Until(client, () => news != null);
                Assert.AreEqual(NpcErrorCode.ConnectionLost, Await.Error(mara.AttendAsync(), 1).Code);
                Await.Until(null, () => !engine.Process.IsRunning);
            }
        }

        [Test]
        public void AnEngineThatIsFrozenIsNoticed()
        {
            using (var engine = new RealEngine())
            using (NpcClient client = engine.Connected(Nervous))
            {
                Task ping = client.PingAsync();
                Await.Done(ping);
                Signals.Send(engine.Process.ProcessId, "STOP");
                try
                {
                    StringAssert.Contains("no sign of life", Await.Error(client.PingAsync(), 10).Message);
                }
                finally
                {
                    Signals.Send(engine.Process.ProcessId, "CONT");
                }
                Await.Result(client.ConnectAsync(), 10);
                Await.Done(client.PingAsync());
            }
        }

        [Test]
        public void AnEngineThatEndsAnswersWhatIsOpen()
        {
            using (var engine = new RealEngine())
            using (NpcClient client = engine.Connected())
            {
                NpcCharacter mara = RealEngine.Spawn(client, "mara");
                int pieces = 0;
                mara.TextStreamed.Subscribe(_ => pieces++);
                Task<NpcReply> say = mara.SayAsync("Tell me everything.", new SayOptions { MaxTokens = 256 });
                Await.Until(client, () => pieces > 0);
                Task stopping = engine.Process.StopAsync();
                Assert.AreEqual(NpcReason.Cancelled, Await.Pumped(client, say).Reason);
                Await.Done(stopping, 5);
            }
        }

        private static string Words(NpcClient client, NpcCharacter character)
        {
            string words = "";
            foreach (NpcTranscriptTurn turn in Await.Result(character.TranscriptAsync()).Turns)
            {
                foreach (NpcTranscriptEntry entry in turn.Entries)
                {
                    words += entry.Kind + ": " + entry.Text + "\n";
                }
            }
            return words;
        }

        private static SayOptions Brief() => new SayOptions { MaxTokens = 16 };

        private static void Nervous(NpcClientSettings settings)
        {
            settings.HeartbeatInterval = TimeSpan.FromSeconds(0.3);
            settings.HeartbeatTimeout = TimeSpan.FromSeconds(1.5);
        }
    }
}
