using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>A real engine and a tiny model: what a game does with its characters.</summary>
    [TestFixture]
    [Timeout(60000)]
    public sealed class TalkTests : IDisposable
    {
        private static readonly SayOptions Short = new SayOptions { MaxTokens = 24 };

        private RealEngine _engine;
        private NpcClient _client;

        /// <summary>Ends the engine that all tests share, after the last of them.</summary>
        public void Dispose() => _engine?.Dispose();

        [SetUp]
        public void Connect()
        {
            _engine = _engine ?? new RealEngine();
            _client = _engine.Connected();
        }

        [TearDown]
        public void Disconnect()
        {
            foreach (NpcInfo npc in Await.Result(_client.ListAsync()))
            {
                Await.Done(_client.Character(npc.Npc).DespawnAsync());
            }
            _client.Dispose();
            Assert.AreEqual(0, _client.UnreadableFrames);
        }

        [Test]
        public void ATalkStreamsInOrderAndEndsWithTheWholeReply()
        {
            NpcCharacter mara = RealEngine.Spawn(_client, "mara");
            Assert.Greater(mara.Spawned.NPinned, 0);
            var records = new List<int>();
            string streamed = "";
            var lines = new List<NpcLine>();
            mara.TextStreamed.Subscribe(text => streamed += text.Text);
            mara.TextStreamed.Subscribe(text => records.Add(text.Seq));
            mara.LineSpoken.Subscribe(lines.Add);
            mara.LineSpoken.Subscribe(line => records.Add(line.Seq));
            mara.Gesture.Subscribe(gesture => records.Add(gesture.Seq));
            Task<NpcReply> say = mara.SayAsync("Who are you?", Short);
            Assert.IsTrue(mara.IsAnswering);
            NpcReply reply = Await.Pumped(_client, say);
            Assert.IsFalse(mara.IsAnswering);
            for (int i = 0; i < records.Count; i++)
            {
                Assert.AreEqual(i, records[i]);
            }
            Assert.AreEqual(NpcReason.Length, reply.Reason);
            Assert.AreEqual(24, reply.Stats.NDecoded);
            Assert.AreEqual(1, reply.Turn);
            Assert.Greater(lines.Count, 0);
            Assert.AreEqual(Squeezed(reply.Text), Squeezed(streamed));
            Assert.AreEqual(lines[0].Length, lines.Count > 1 ? lines[1].Start : lines[0].Length);
        }

        [Test]
        public void OnlyLinesComeWhereNobodyWantsText()
        {
            NpcCharacter mara = RealEngine.Spawn(_client, "mara");
            var other = _client.Character("mara");
            Assert.AreSame(mara, other);
            int lines = 0;
            using (mara.LineSpoken.Subscribe(_ => lines++))
            {
                Await.Pumped(_client, mara.SayAsync("Hello.", new SayOptions { MaxTokens = 24, Stream = NpcStream.None }));
                Assert.AreEqual(0, lines);
                Await.Pumped(_client, mara.SayAsync("Hello.", Short));
                Assert.Greater(lines, 0);
            }
        }

        [Test]
        public void EventsHearingAndAttentionReachACharacter()
        {
            NpcCharacter mara = RealEngine.Spawn(_client, "mara");
            RealEngine.Spawn(_client, "bo");
            Await.Done(mara.AttendAsync());
            Assert.AreEqual(2, Await.Result(_client.PerceiveAsync("The bell tolls.", null, 0.9, 60)));
            Await.Done(mara.PerceiveAsync("A dog barks."));
            Await.Done(mara.HearAsync("Who a"));
            Await.Pumped(_client, mara.SayAsync("Who are you?", Short));
            NpcTranscript talk = Await.Result(mara.TranscriptAsync());
            var kinds = new List<string>();
            foreach (NpcTranscriptEntry entry in talk.Turns[0].Entries)
            {
                kinds.Add(entry.Kind);
            }
            Assert.AreEqual(new[] { "event", "event", "said", "reply" }, kinds);
            Assert.AreEqual("The bell tolls.", talk.Turns[0].Entries[0].Text);
            Assert.AreEqual("Player", talk.Turns[0].Entries[2].Speaker);
            Assert.AreEqual("unknown_npc", Await.Error(_client.PerceiveAsync("A bell.", new[] { "nobody" })).Code);
        }

        [Test]
        public void AnInterruptCutsWhatTheCharacterRemembers()
        {
            NpcCharacter mara = RealEngine.Spawn(_client, "mara");
            NpcLine first = null;
            mara.LineSpoken.Subscribe(line => first = first ?? line);
            Task<NpcReply> say = mara.SayAsync("Tell me everything.", new SayOptions { MaxTokens = 256 });
            Await.Until(_client, () => first != null);
            Task<bool> cut = mara.InterruptAsync(first.HeardAt(5));
            NpcReply reply = Await.Pumped(_client, say);
            Assert.IsTrue(Await.Result(cut));
            Assert.AreEqual(NpcReason.Cancelled, reply.Reason);
            Assert.Less(reply.Text.Length, 12);
            StringAssert.StartsWith(first.Text.Substring(0, 4), reply.Text);
        }

        [Test]
        public void AnInterruptByDefaultKeepsWhatWasHandedOut()
        {
            NpcCharacter mara = RealEngine.Spawn(_client, "mara");
            Assert.IsFalse(Await.Result(mara.InterruptAsync()));
            Task<NpcReply> say = mara.SayAsync("Tell me everything.", new SayOptions { MaxTokens = 256 });
            Task<bool> cut = mara.InterruptAsync();  // nothing was handed out, whatever has come
            NpcReply reply = Await.Pumped(_client, say);
            Assert.IsTrue(Await.Result(cut));
            Assert.Less(reply.Text.Length, 3);
            Await.Pumped(_client, mara.SayAsync("Well?", Short));
            Assert.IsFalse(Await.Result(mara.InterruptAsync(0)));  // it was over, and is unsaid
            IReadOnlyList<NpcTranscriptEntry> entries = Await.Result(mara.TranscriptAsync(1)).Turns[0].Entries;
            Assert.AreEqual("Well?", entries[entries.Count - 1].Text);
        }

        [Test]
        public void ASceneIsToldToItsListenersAndTheCharacters()
        {
            NpcCharacter mara = RealEngine.Spawn(_client, "mara");
            RealEngine.Spawn(_client, "bo");
            RealEngine.Spawn(_client, "wren");
            NpcScene scene = _client.Scene("inn");
            int all = 0;
            int maras = 0;
            var turns = new List<NpcTurn>();
            scene.LineSpoken.Subscribe(_ => all++);
            scene.TurnEnded.Subscribe(turns.Add);
            mara.LineSpoken.Subscribe(_ => maras++);
            var options = new SceneOptions { About = "bread", Turns = 3, MaxTokens = 16, First = "mara" };
            NpcSceneEnd end = Await.Pumped(_client, scene.RunAsync(new[] { "mara", "bo" }, options));
            Assert.AreEqual("Turns 3", end.Reason + " " + end.NTurns);
            Assert.AreEqual(new[] { "mara", "bo", "mara" }, turns.ConvertAll(turn => turn.Npc));
            Assert.Greater(maras, 0);
            Assert.Greater(all, maras);
            Assert.AreEqual("unknown_target", Await.Error(scene.JoinAsync("wren")).Code);
        }

        [Test]
        public void ASceneIsJoinedLeftAndInterrupted()
        {
            RealEngine.Spawn(_client, "mara");
            RealEngine.Spawn(_client, "bo");
            RealEngine.Spawn(_client, "wren");
            NpcScene scene = _client.Scene("inn");
            Assert.IsFalse(Await.Result(scene.InterruptAsync()));
            int turns = 0;
            scene.TurnEnded.Subscribe(_ => turns++);
            Task<NpcSceneEnd> run = scene.RunAsync(new[] { "mara", "bo" }, new SceneOptions { Turns = 64, MaxTokens = 16 });
            Await.Until(_client, () => turns > 0);
            Await.Done(scene.JoinAsync("wren"));
            Await.Done(scene.LeaveAsync("bo"));
            Assert.AreEqual("busy", Await.PumpedError(_client, _client.Scene("hall").RunAsync(new[] { "mara", "bo" })).Code);
            Assert.IsTrue(Await.Pumped(_client, scene.InterruptAsync()));
            Assert.AreEqual(NpcReason.Cancelled, Await.Pumped(_client, run).Reason);
        }

        [Test]
        public void PinsAndRewindsChangeWhatACharacterRemembers()
        {
            NpcCharacter mara = RealEngine.Spawn(_client, "mara");
            int first = Await.Pumped(_client, mara.SayAsync("One.", Short)).Turn;
            Await.Pumped(_client, mara.SayAsync("Two.", Short));
            NpcPinned turn = Await.Result(mara.PinTurnAsync(first));
            NpcPinned fact = Await.Result(mara.PinAsync("The player owes you a sword."));
            Assert.Greater(fact.NPinned, turn.NPinned);
            Await.Done(mara.UnpinAsync(turn.Turn));
            Assert.AreEqual("unknown_target", Await.Error(mara.UnpinAsync(turn.Turn)).Code);
            Await.Pumped(_client, mara.SayAsync("Three.", Short));
            NpcRewound one = Await.Result(mara.RewindAsync(1));
            Assert.AreEqual(1, one.NForgotten);
            Assert.AreEqual(first, Await.Result(mara.RewindToAsync(first)).Turn);
            NpcTranscript talk = Await.Result(mara.TranscriptAsync());
            Assert.AreEqual(1, talk.Turns.Count);
            Assert.AreEqual("One.", talk.Turns[0].Entries[0].Text);
            Assert.AreEqual("bad_message", Await.Error(mara.RewindAsync(0)).Code);
            Assert.Greater(Await.Result(mara.WindowAsync()).Segments.Count, 3);
        }

        [Test]
        public void ErrorsOfTheEngineHaveTheirCodes()
        {
            NpcCharacter mara = RealEngine.Spawn(_client, "mara");
            NpcException error = Await.PumpedError(_client, _client.Character("nobody").SayAsync("Hello."));
            Assert.AreEqual(NpcErrorCode.UnknownNpc, error.Code);
            StringAssert.Contains("nobody", error.Problem);
            Assert.AreNotEqual("", error.Help);
            var card = new NpcCard("Mara", "Again.");
            Assert.AreEqual(NpcErrorCode.NpcExists, Await.Error(_client.SpawnAsync("mara", card)).Code);
            Assert.AreEqual(NpcErrorCode.BadCard, Await.Error(_client.SpawnAsync("x", NpcCard.FromJson("{}"))).Code);
            Assert.AreEqual(NpcErrorCode.UnknownSlot, Await.Error(mara.LoadAsync("no-such")).Code);
            Assert.AreEqual(NpcErrorCode.BadMessage, Await.Error(_client.SaveAsync("../x")).Code);
            Assert.AreEqual(NpcErrorCode.BadMessage, Await.Error(mara.HearAsync("x", "")).Code);
            Assert.AreEqual(NpcErrorCode.TooLarge, Await.Error(mara.PerceiveAsync(new string('x', 1 << 20))).Code);
            Assert.Greater(Await.Result(_client.StatsAsync()).Count, 3);
            Await.Done(_client.PingAsync());
        }

        [Test]
        public void AWrongTokenIsRefusedAndNotTriedAgain()
        {
            foreach (string token in new[] { "wrong", null })
            {
                var settings = new NpcClientSettings { Endpoint = _engine.Process.Endpoint, Token = token };
                using (var client = new NpcClient(settings))
                {
                    NpcException error = Await.Error(client.ConnectAsync(), 5);
                    Assert.AreEqual(NpcErrorCode.Unauthorized, error.Code);
                    Assert.AreEqual(NpcConnectionState.Disconnected, client.State);
                }
            }
        }

        [Test]
        public void FiftyRoundsLeaveNoThreadAndNoFile()
        {
            NpcCharacter first = RealEngine.Spawn(_client, "mara");
            const int Threads = 4;  // two of the engine's pipes, two of the first client
            Await.Until(null, () => Signals.OwnThreads() == Threads, 30);  // those of the test before end a little later
            int files = Signals.OpenFiles();
            for (int i = 0; i < 50; i++)
            {
                using (NpcClient client = _engine.Connected())
                {
                    Await.Done(client.PingAsync());
                    client.Character("mara").SayAsync("Hello.", Short);
                }
            }
            Await.Until(null, () => Signals.OwnThreads() == Threads, 30);
            Assert.LessOrEqual(Signals.OpenFiles(), files + 2);
            Assert.IsFalse(first.IsAnswering);
        }

        [Test]
        [Timeout(120000)]
        public void TenThousandRecordsOfAnEngineComeInOrderUnderASlowConsumer()
        {
            using (NpcClient client = _engine.Connected(s => s.MaxWaitingRecords = 64))
            {
                RealEngine.Spawn(client, "mara");
                RealEngine.Spawn(client, "bo");
                NpcScene scene = client.Scene("inn");
                int next = 0;
                scene.TextStreamed.Subscribe(text => InOrder(text.Seq, ref next));
                scene.LineSpoken.Subscribe(line => InOrder(line.Seq, ref next));
                scene.Gesture.Subscribe(gesture => InOrder(gesture.Seq, ref next));
                scene.TurnEnded.Subscribe(turn => InOrder(turn.Seq, ref next));
                var options = new SceneOptions { Turns = 60, MaxTokens = 200, Priority = NpcPriority.Player };
                Task<NpcSceneEnd> run = scene.RunAsync(new[] { "mara", "bo" }, options);
                while (!run.IsCompleted)
                {
                    Assert.LessOrEqual(client.WaitingRecords, 64);
                    client.Pump(1);
                    ((IAsyncResult)run).AsyncWaitHandle.WaitOne(5);
                }
                Assert.AreEqual(NpcReason.Turns, Await.Result(run).Reason);
                Assert.GreaterOrEqual(next, 10000);
            }
        }

        [Test]
        public void WhoBlocksTheMainThreadIsNotLockedOut()
        {
            SynchronizationContext before = SynchronizationContext.Current;
            SynchronizationContext.SetSynchronizationContext(new DeadContext());
            try
            {
                using (NpcClient client = _engine.Connected())
                {
                    NpcCharacter mara = RealEngine.Spawn(client, "mara");
                    Task<NpcReply> say = mara.SayAsync("Hello.", Short);
                    Await.Result(mara.InterruptAsync());
                    client.PumpUntil(say);
                    NpcException error = Await.Error(EngineProcess.StartAsync(Repository.Engine("/tmp", "/nowhere.gguf")), 20);
                    Assert.AreEqual(NpcErrorCode.Setup, error.Code);
                }
            }
            finally
            {
                SynchronizationContext.SetSynchronizationContext(before);
            }
        }

        private static void InOrder(int seq, ref int next)
        {
            Assert.AreEqual(next, seq);
            next++;
            if (next % 100 == 0)
            {
                Thread.SpinWait(200000);
            }
        }

        private static string Squeezed(string text) => text.Replace(" ", "").Replace("\n", "").Replace("*", "");

        /// <summary>A main thread that never comes back to what was posted to it.</summary>
        private sealed class DeadContext : SynchronizationContext
        {
            public override void Post(SendOrPostCallback callback, object state)
            {
            }
        }
    }
}
