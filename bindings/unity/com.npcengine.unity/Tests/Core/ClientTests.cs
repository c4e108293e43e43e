using System;
using System.Collections.Generic;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>A client and an engine that does what a real one never does.</summary>
    [TestFixture]
    [Timeout(30000)]
    public sealed class ClientTests
    {
        [Test]
        public void AnEngineThatIsAbsentIsSaidToBe()
        {
            int port;
            using (var stub = new StubEngine())
            {
                port = stub.Port;
            }
            var settings = new NpcClientSettings
            {
                Endpoint = "tcp://localhost:" + port, ConnectTimeout = TimeSpan.FromSeconds(0.5),
            };
            using (var client = new NpcClient(settings))
            {
                NpcException error = Await.Error(client.ConnectAsync(), 3);
                Assert.AreEqual(NpcErrorCode.ConnectionLost, error.Code);
                StringAssert.Contains("No engine answers at tcp://localhost:" + port, error.Problem);
                StringAssert.Contains("nobody listens there", error.Problem);
                StringAssert.Contains("npc-engine serve", error.Help);
                Assert.AreEqual(NpcConnectionState.Disconnected, client.State);
                Assert.AreEqual(NpcErrorCode.ConnectionLost, Await.Error(client.PingAsync()).Code);
            }
        }

        [Test]
        public void AnEngineThatStartsLaterIsFound()
        {
            int port;
            using (var stub = new StubEngine())
            {
                port = stub.Port;
            }
            using (var client = new NpcClient(new NpcClientSettings { Endpoint = "tcp://127.0.0.1:" + port }))
            {
                Task<NpcWelcome> connecting = client.ConnectAsync();
                Await.Until(null, () => !connecting.IsCompleted && client.State == NpcConnectionState.Connecting);
                using (var stub = new StubEngine(port))
                {
                    stub.Welcome("mara");
                    Assert.AreEqual(new[] { "mara" }, Await.Result(connecting).Npcs);
                    Assert.AreSame(client.Welcome, Await.Result(client.ConnectAsync()));
                }
            }
        }

        [TestCase("127.0.0.1:5757")]
        [TestCase("ipc:///tmp/x")]
        [TestCase("tcp://127.0.0.1")]
        [TestCase("tcp://127.0.0.1:0")]
        [TestCase("tcp://:5757")]
        [TestCase("tcp://127.0.0.1:99999")]
        [TestCase(null)]
        public void WhatIsNoEndpointIsRefused(string endpoint)
        {
            NpcException error = MsgpackTests.Refused(() => new NpcClient(new NpcClientSettings { Endpoint = endpoint }));
            StringAssert.Contains("tcp://127.0.0.1:5757", error.Help);
        }

        [TestCase("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nno\r\n")]
        [TestCase("")]
        public void WhatDoesNotSpeakZmtpIsNamed(string says)
        {
            using (var stub = new StubEngine())
            using (NpcClient client = stub.NewClient(s => s.ConnectTimeout = TimeSpan.FromSeconds(0.5)))
            {
                Task<NpcWelcome> connecting = client.ConnectAsync();
                stub.AcceptRaw();
                stub.SendRaw(Encoding.ASCII.GetBytes(says));
                if (says != "")
                {
                    stub.Socket.Shutdown(SocketShutdown.Send);
                }
                NpcException error = Await.Error(connecting, 3);
                Assert.AreEqual(says == "" ? NpcErrorCode.ConnectionLost : NpcErrorCode.BadMessage, error.Code);
                StringAssert.Contains(says == "" ? "no answer came in time" : "does not speak ZMTP", error.Message);
            }
        }

        [Test]
        public void AWrongVersionIsFinal()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = stub.NewClient())
            {
                Task<NpcWelcome> connecting = client.ConnectAsync();
                stub.Accept();
                stub.Send("type", "welcome", "id", stub.Next("hello")["id"], "protocol", 2L);
                NpcException error = Await.Error(connecting);
                Assert.AreEqual(NpcErrorCode.ProtocolVersion, error.Code);
                StringAssert.Contains("protocol 2", error.Message);
                Assert.AreEqual(NpcConnectionState.Disconnected, client.State);
            }
        }

        [Test]
        public void ConnectingCanBeCancelledAndTriedAgain()
        {
            using (var stub = new StubEngine())
            using (var cancel = new CancellationTokenSource())
            using (NpcClient client = stub.NewClient())
            {
                Task<NpcWelcome> connecting = client.ConnectAsync(cancel.Token);
                stub.AcceptRaw();
                cancel.Cancel();
                Await.Cancelled(connecting, 1);
                Task<NpcWelcome> again = client.ConnectAsync();
                stub.Welcome();
                Await.Result(again);
                Assert.AreEqual(NpcConnectionState.Connected, client.State);
            }
        }

        [Test]
        public void ARequestThatIsNotAnsweredTimesOut()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub, s => s.RequestTimeout = TimeSpan.FromSeconds(0.3)))
            {
                NpcException error = Await.Error(client.PingAsync(), 2);
                Assert.AreEqual(NpcErrorCode.Timeout, error.Code);
                StringAssert.Contains("300 ms", error.Problem);
            }
        }

        [Test]
        public void ASayThatFallsSilentTimesOutAndIsCancelled()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub, s => s.SayTimeout = TimeSpan.FromSeconds(1)))
            {
                Task<NpcReply> say = client.Character("mara").SayAsync("Hello.");
                object id = stub.Next("say")["id"];
                for (int i = 0; i < 4; i++)
                {
                    ((IAsyncResult)say).AsyncWaitHandle.WaitOne(300);  // as slow as it may speak
                    stub.Send("type", "line", "id", id, "seq", (long)i, "npc", "mara", "index", (long)i, "text", "Yes.");
                    client.Pump();
                }
                Assert.IsFalse(say.IsCompleted);
                Assert.AreEqual(NpcErrorCode.Timeout, Await.Error(say, 5).Code);
                Assert.AreEqual(id, stub.Next("cancel")["target"]);
                Assert.IsFalse(client.Character("mara").IsAnswering);
            }
        }

        [Test]
        public void WhoForgetsToPumpIsTold()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub, s => s.SayTimeout = TimeSpan.FromSeconds(0.3)))
            {
                Task<NpcReply> say = client.Character("mara").SayAsync("Hello.");
                Done(stub, stub.Next("say")["id"]);
                StringAssert.Contains("Pump", Await.Error(say, 2).Help);
            }
        }

        [Test]
        public void CancellationEndsASayAtOnceAndInTheEngine()
        {
            using (var stub = new StubEngine())
            using (var cancel = new CancellationTokenSource())
            using (NpcClient client = Connected(stub))
            {
                NpcCharacter mara = client.Character("mara");
                int heard = 0;
                mara.LineSpoken.Subscribe(_ => heard++);
                Task<NpcReply> say = mara.SayAsync("Hello.", cancel.Token);
                object id = stub.Next("say")["id"];
                stub.Send("type", "line", "id", id, "seq", 0L, "npc", "mara", "index", 0L, "text", "Yes.");
                Await.Until(null, () => client.WaitingRecords == 2);  // the news that it is connected is one
                cancel.Cancel();
                Await.Cancelled(say, 1);
                Assert.AreEqual(id, stub.Next("cancel")["target"]);
                client.Pump();
                Assert.AreEqual(0, heard);
                Await.Cancelled(mara.SayAsync("Hello.", cancel.Token), 1);
                Await.Cancelled(client.PingAsync(cancel.Token), 1);
            }
        }

        [Test]
        public void ALostConnectionIsMadeAgainAndTold()
        {
            var news = new List<string>();
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub))
            {
                client.Connected.Subscribe(w => news.Add("connected " + w.Npcs.Count));
                client.Disconnected.Subscribe(e => news.Add(e.Code));
                NpcCharacter mara = client.Character("mara");
                mara.LineSpoken.Subscribe(line => news.Add(line.Text));
                Task<NpcReply> say = mara.SayAsync("Hello.");
                object id = stub.Next("say")["id"];
                Task ping = client.PingAsync();
                stub.Next("ping");
                stub.Send("type", "line", "id", id, "seq", 0L, "npc", "mara", "index", 0L, "text", "Yes.");
                Await.Until(null, () => client.WaitingRecords == 2);
                stub.Drop();
                Assert.AreEqual(NpcErrorCode.ConnectionLost, Await.Error(ping, 2).Code);
                Assert.IsFalse(say.IsCompleted);  // its line comes first
                Assert.AreEqual(NpcErrorCode.ConnectionLost, Await.PumpedError(client, say, 2).Code);
                stub.Welcome("mara", "bo");
                Await.Until(client, () => news.Count == 4);
                Assert.AreEqual("connected 0,Yes.,connection_lost,connected 2", string.Join(",", news));
            }
        }

        [Test]
        public void WithoutReconnectTheEndIsFinal()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub, s => s.Reconnect = false))
            {
                stub.Drop();
                Await.Until(client, () => client.State == NpcConnectionState.Disconnected);
                Task<NpcWelcome> again = client.ConnectAsync();
                stub.Welcome();
                Await.Result(again);
            }
        }

        [Test]
        public void APingIsAnsweredWithItsContext()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub))
            {
                stub.SendRaw(Zmtp.Framed(Zmtp.Command, Encoding.ASCII.GetBytes("\u0004PING\0\u0064context")));
                Assert.AreEqual("\u0004PONGcontext", Encoding.ASCII.GetString(stub.NextCommand("PONG")));
            }
        }

        [Test]
        public void AnEngineWithoutSignOfLifeIsLost()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub, Nervous))
            {
                stub.NextCommand("PING");
                Await.Until(client, () => client.State == NpcConnectionState.Reconnecting, 5);
                StringAssert.Contains("no sign of life", Await.Error(client.PingAsync()).Message);
            }
        }

        [Test]
        public void AFrameBeyondTheLimitEndsTheConnection()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub, s => s.MaxMessageBytes = 1000))
            {
                Task ping = client.PingAsync();
                stub.SendRaw(new byte[] { 2, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff });
                StringAssert.Contains("2147483647 bytes", Await.Error(ping).Message);
            }
        }

        [Test]
        public void AnErrorOfNoRequestAndUnknownRecordsDisturbNobody()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub))
            {
                NpcException told = null;
                client.ErrorReceived.Subscribe(e => told = e);
                Task<NpcReply> say = client.Character("mara").SayAsync("Hello.");
                object id = stub.Next("say")["id"];
                stub.Send("type", "error", "code", "bad_message", "message", "No.", "help", "Ask.");
                stub.Send("type", "smell", "id", id, "seq", 0L, "npc", "mara");
                stub.Send("type", "line", "id", "999", "seq", 0L, "npc", "mara", "index", 0L, "text", "Yes.");
                stub.SendRaw(Zmtp.Framed(0, new byte[] { 0xc1 }));
                Done(stub, id);
                Assert.AreEqual("Yes.", Await.Pumped(client, say).Text);
                Assert.AreEqual("No. Ask.", told.Message);
                Assert.AreEqual(1, client.UnreadableFrames);
            }
        }

        [Test]
        public void ABadAnswerEndsItsRequest()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub))
            {
                Task<NpcWindow> window = client.Character("mara").WindowAsync();
                stub.Send("type", "window", "id", stub.Next("window")["id"], "segments", 5L);
                Assert.AreEqual(NpcErrorCode.BadMessage, Await.Error(window).Code);
                Task ping = client.PingAsync();
                stub.Send("type", "ok", "id", stub.Next("ping")["id"]);
                StringAssert.Contains("\"pong\" was expected", Await.Error(ping).Message);
            }
        }

        [Test]
        public void DisposeEndsEverything()
        {
            using (var stub = new StubEngine())
            {
                NpcClient client = Connected(stub);
                Task<NpcReply> say = client.Character("mara").SayAsync("Hello.");
                Task ping = client.PingAsync();
                stub.Next("say");
                client.Dispose();
                client.Dispose();
                Assert.AreEqual(NpcErrorCode.Closed, Await.Error(say, 1).Code);
                Assert.AreEqual(NpcErrorCode.Closed, Await.Error(ping, 1).Code);
                Assert.AreEqual(NpcErrorCode.Closed, Await.Error(client.PingAsync(), 1).Code);
                Assert.AreEqual(NpcErrorCode.Closed, Await.Error(client.ConnectAsync(), 1).Code);
                Assert.AreEqual(0, client.Pump());
            }
        }

        [Test]
        public void ARefusalAfterALossIsToldAndFinal()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub))
            {
                var news = new List<string>();
                client.Disconnected.Subscribe(e => news.Add(e.Code));
                stub.Drop();
                stub.Accept();
                stub.Send("type", "error", "id", stub.Next("hello")["id"], "code", "unauthorized", "message", "No.", "help", "");
                Await.Until(client, () => news.Count == 2);
                Assert.AreEqual(new[] { NpcErrorCode.ConnectionLost, NpcErrorCode.Unauthorized }, news);
                Assert.AreEqual(NpcConnectionState.Disconnected, client.State);
            }
        }

        [Test]
        public void ABadRecordEndsItsSayAndCancelsIt()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub))
            {
                Task<NpcReply> say = client.Character("mara").SayAsync("Hello.");
                object id = stub.Next("say")["id"];
                stub.Send("type", "line", "id", id, "seq", 0L, "npc", "mara", "index", "zero", "text", "Yes.");
                Assert.AreEqual(id, stub.Next("cancel")["target"]);
                Assert.AreEqual(NpcErrorCode.BadMessage, Await.PumpedError(client, say).Code);
            }
        }

        [Test]
        public void ARequestThatNoEngineTakesIsNotSent()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub))
            {
                Task huge = client.Character("mara").HearAsync(new string('x', 17 << 20));
                Assert.AreEqual(NpcErrorCode.TooLarge, Await.Error(huge, 2).Code);
                client.PingAsync();
                stub.Next("ping");
            }
        }

        [Test]
        public void TooManyOpenRequestsAreRefused()
        {
            using (var stub = new StubEngine())
            using (NpcClient client = Connected(stub))
            {
                for (int i = 0; i < 1024; i++)
                {
                    client.PingAsync();
                }
                Assert.AreEqual(NpcErrorCode.Busy, Await.Error(client.PingAsync(), 1).Code);
            }
        }

        internal static NpcClient Connected(StubEngine stub, Action<NpcClientSettings> change = null)
        {
            NpcClient client = stub.NewClient(change);
            Task<NpcWelcome> connecting = client.ConnectAsync();
            stub.Welcome();
            Await.Result(connecting);
            return client;
        }

        internal static void Done(StubEngine stub, object id) =>
            stub.Send(
                "type", "done", "id", id, "npc", "mara", "text", "Yes.", "reason", "stop", "truncated", false,
                "stats", new Dictionary<string, object>(), "turn", 1L);

        private static void Nervous(NpcClientSettings settings)
        {
            settings.HeartbeatInterval = TimeSpan.FromSeconds(0.1);
            settings.HeartbeatTimeout = TimeSpan.FromSeconds(0.5);
        }
    }
}
