using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>What the game thread gets, when, and at what cost.</summary>
    [TestFixture]
    [Timeout(60000)]
    public sealed class PumpTests
    {
        private const int N = 10000;
        private const int Bound = 64;

        [Test]
        public void TenThousandLinesComeInOrderUnderASlowConsumer()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = ClientTests.Connected(stub, s => s.MaxWaitingRecords = Bound))
            {
                NpcCharacter mara = client.Character("mara");
                int next = 0;
                mara.LineSpoken.Subscribe(line =>
                {
                    Assert.AreEqual(next, line.Seq);
                    Assert.AreEqual("Line " + next, line.Text);
                    next++;
                    if (next % 10 == 0)
                    {
                        Thread.SpinWait(200000);  // a slow frame
                    }
                });
                Task<NpcReply> say = mara.SayAsync("Hello.");
                object id = stub.Next("say")["id"];
                Task sending = Task.Run(() => SendLines(stub, id));
                double worst = 0;
                int most = 0;
                while (!say.IsCompleted)
                {
                    most = Math.Max(most, client.WaitingRecords);
                    var watch = Stopwatch.StartNew();
                    client.Pump(1);
                    worst = Math.Max(worst, watch.Elapsed.TotalMilliseconds);
                    Thread.Sleep(0);
                }
                Assert.AreEqual(NpcReason.Stop, Await.Result(say).Reason);
                Await.Done(sending);
                Assert.AreEqual(N, next);
                Assert.AreEqual(Bound, most);
                Console.WriteLine("{0} lines, at most {1} waiting, longest Pump(1): {2:F1} ms", N, most, worst);
                Assert.Less(worst, 500);  // generous: other programs take the cores, too
            }
        }

        [Test]
        public void AGameThatDoesNotPumpHoldsTheEngineBackAndNotMemory()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = ClientTests.Connected(stub, Patient))
            {
                stub.Socket.SendBufferSize = 64 * 1024;
                Task<NpcReply> say = client.Character("mara").SayAsync("Hello.");
                byte[] line = Line(stub.Next("say")["id"], 0);
                long before = GC.GetTotalMemory(true);
                stub.Socket.Blocking = false;
                long sent = 0;
                while (stub.Socket.Poll(1500000, SelectMode.SelectWrite))  // so long without room: it is held back
                {
                    sent += SendSome(stub.Socket, line);
                    Assert.Less(sent, 64 << 20, "nothing holds the engine back");
                }
                Assert.AreEqual(Bound, client.WaitingRecords);
                Assert.Less(GC.GetTotalMemory(true) - before, 2 << 20);
                Assert.AreEqual(NpcConnectionState.Connected, client.State);  // that it was not read is no silence
                Console.WriteLine("held back after {0} KB", sent / 1024);
                Assert.IsFalse(say.IsCompleted);
            }
        }

        [Test]
        public void AnEngineThatDoesNotReadNeverHoldsTheGameUp()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = ClientTests.Connected(stub))
            {
                string text = new string('x', 100000);
                NpcCharacter mara = client.Character("mara");
                double worst = 0;
                Task last = null;
                for (int i = 0; i < 300; i++)
                {
                    var watch = Stopwatch.StartNew();
                    last = mara.HearAsync(text);
                    worst = Math.Max(worst, watch.Elapsed.TotalMilliseconds);
                }
                Assert.AreEqual(NpcErrorCode.Busy, Await.Error(last, 1).Code);
                Console.WriteLine("longest HearAsync of 100 KB to an engine that does not read: {0:F1} ms", worst);
                Assert.Less(worst, 500);
                var closing = Stopwatch.StartNew();
                client.Dispose();
                Assert.Less(closing.Elapsed.TotalSeconds, 2);
            }
        }

        [Test]
        public void AReceivedLineCostsLittle()
        {
            byte[] frame = Line("17", 3);
            var reader = new MsgpackReader();
            var queue = new RecordQueue(Bound);
            using (var client = new NpcClient())
            {
                NpcCharacter mara = client.Character("mara");
                var speech = new SpeechRequest(17, 60000, queue, new OpenRequests(), mara);
                int n = 0;
                mara.LineSpoken.Subscribe(_ => n++);
                for (int i = 0; i < 100; i++)
                {
                    Receive(reader, frame, speech, queue);
                }
                long before = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < 1000; i++)
                {
                    Receive(reader, frame, speech, queue);
                }
                long each = (GC.GetAllocatedBytesForCurrentThread() - before) / 1000;
                Assert.AreEqual(1100, n);
                Console.WriteLine("{0} bytes for a line of 6 chars", each);
                Assert.Less(each, 160);  // the NpcLine and its text
                Assert.Greater(each, 50);
            }
        }

        [Test]
        public void AHandlerThatThrowsKeepsNobodyFromAnything()
        {
            var heard = new List<string>();
            using (var stub = new StubEngine())
            using (NpcClient client = ClientTests.Connected(stub))
            {
                NpcCharacter mara = client.Character("mara");
                mara.LineSpoken.Subscribe(_ => throw new InvalidOperationException("a fault of the game"));
                mara.LineSpoken.Subscribe(line => heard.Add(line.Text));
                Task<NpcReply> say = mara.SayAsync("Hello.");
                object id = stub.Next("say")["id"];
                stub.SendRaw(Line(id, 0));
                stub.SendRaw(Line(id, 1));
                ClientTests.Done(stub, id);
                Await.Until(null, () => client.WaitingRecords == 4);
                Assert.Throws<InvalidOperationException>(() => client.Pump(1000));
                Assert.Throws<InvalidOperationException>(() => client.Pump(1000));
                Assert.AreEqual(1, client.Pump(1000));
                Await.Result(say);
                Assert.AreEqual(new[] { "Line 0", "Line 1" }, heard);
            }
        }

        [Test]
        public void HandlersMayPumpUnsubscribeAndDispose()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = ClientTests.Connected(stub))
            {
                NpcCharacter mara = client.Character("mara");
                int pumped = -1;
                int after = 0;
                NpcException refused = null;
                IDisposable second = null;
                IDisposable first = mara.LineSpoken.Subscribe(_ =>
                {
                    pumped = client.Pump();
                    refused = MsgpackTests.Refused(() => client.PumpUntil(Task.Delay(1000)));
                    second.Dispose();
                    client.Dispose();
                });
                second = mara.LineSpoken.Subscribe(_ => after++);
                Task<NpcReply> say = mara.SayAsync("Hello.");
                object id = stub.Next("say")["id"];
                stub.SendRaw(Line(id, 0));
                stub.SendRaw(Line(id, 1));
                Await.Until(null, () => client.WaitingRecords == 3);
                Assert.AreEqual(2, client.Pump(1000));
                Assert.AreEqual(0, pumped);
                Assert.AreEqual(NpcErrorCode.BadCall, refused.Code);
                Assert.AreEqual(0, after);
                Assert.AreEqual(NpcErrorCode.Closed, Await.Error(say, 1).Code);
                first.Dispose();
                Assert.IsFalse(mara.LineSpoken.HasSubscribers);
            }
        }

        [Test]
        public void PumpUntilPumpsAndReturns()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = ClientTests.Connected(stub))
            {
                Task<NpcReply> say = client.Character("mara").SayAsync("Hello.");
                object id = stub.Next("say")["id"];
                Task later = Task.Delay(50).ContinueWith(_ => ClientTests.Done(stub, id));
                Assert.AreEqual("Yes.", client.PumpUntil(say).Text);
                Await.Done(later);
            }
        }

        private static void Patient(NpcClientSettings settings)
        {
            settings.MaxWaitingRecords = Bound;
            settings.HeartbeatInterval = TimeSpan.FromSeconds(0.1);
            settings.HeartbeatTimeout = TimeSpan.FromSeconds(0.8);
        }

        private static void Receive(MsgpackReader reader, byte[] frame, SpeechRequest speech, RecordQueue queue)
        {
            reader.Start(frame, 2, frame.Length - 2);  // behind the header
            RecordHead head = RecordHead.Read(reader);
            speech.OnReply(head.Type, head.IsTerminal, reader);
            queue.TryTake(out RecordQueue.Delivery next);
            next.To.Deliver(next.Record);
        }

        private static byte[] Line(object id, int i) =>
            StubEngine.Record(
                "type", "line", "id", id, "seq", (long)i, "npc", "mara", "index", (long)i, "text", "Line " + i);

        private static void SendLines(StubEngine stub, object id)
        {
            for (int i = 0; i < N; i++)
            {
                stub.SendRaw(Line(id, i));
            }
            ClientTests.Done(stub, id);
        }

        private static int SendSome(Socket socket, byte[] line)
        {
            int n = socket.Send(line, 0, line.Length, SocketFlags.None, out SocketError error);
            return error == SocketError.Success ? n : 0;
        }
    }
}
