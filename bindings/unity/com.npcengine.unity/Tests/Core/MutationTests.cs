using System;
using System.Collections.Generic;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>Whatever a frame holds: a record, an NpcException, or it is passed over. Nothing else.</summary>
    [TestFixture]
    public sealed class MutationTests
    {
        private const int N = 20000;

        private readonly Random _random = new Random(7);

        [Test]
        public void MutatedFramesAreReadOrRefused()
        {
            List<byte[]> frames = Frames();
            var reader = new MsgpackReader();
            int refused = 0;
            long before = GC.GetTotalMemory(true);
            for (int i = 0; i < N; i++)
            {
                byte[] frame = Mutated(frames[_random.Next(frames.Count)]);
                refused += IsRead(reader, frame) ? 0 : 1;
            }
            Assert.Less(GC.GetTotalMemory(true) - before, 4 << 20);
            Assert.Greater(refused, N / 10);
            Assert.Less(refused, N);
        }

        [Test]
        public void AClientOutlivesMutatedFrames()
        {
            List<byte[]> frames = Frames();
            using (var stub = new StubEngine())
            using (NpcClient client = stub.NewClient())
            {
                var connecting = client.ConnectAsync();
                stub.Welcome();
                Await.Result(connecting);
                long before = GC.GetTotalMemory(true);
                var batch = new List<byte>();
                for (int i = 0; i < N; i++)
                {
                    if (i % 100 == 0)
                    {
                        Ask(client, i);  // so that ids of the frames are those of open requests
                    }
                    batch.AddRange(Zmtp.Framed(0, Mutated(WithId(frames[_random.Next(frames.Count)], i))));
                    if (batch.Count > 60000 || i == N - 1)
                    {
                        stub.SendRaw(batch.ToArray());
                        batch.Clear();
                        client.Pump(1000);
                    }
                }
                var ping = client.PingAsync();
                Dictionary<string, object> request;
                do
                {
                    request = stub.Any();
                }
                while ((string)request["type"] != "ping");
                stub.Send("type", "pong", "id", request["id"]);
                Await.Until(client, () => ping.IsCompleted);
                Await.Done(ping);
                Assert.Greater(client.UnreadableFrames, N / 20);
                Assert.AreEqual(NpcConnectionState.Connected, client.State);
                Assert.Less(GC.GetTotalMemory(true) - before, 16 << 20);
            }
        }

        private static void Ask(NpcClient client, int i)
        {
            NpcCharacter mara = client.Character("mara");
            switch (i / 100 % 4)
            {
                case 0: mara.SayAsync("Hello."); break;
                case 1: mara.WindowAsync(); break;
                case 2: client.ListAsync(); break;
                default: mara.TranscriptAsync(); break;
            }
        }

        private static List<byte[]> Frames()
        {
            var frames = new List<byte[]>();
            foreach (string name in VectorTests.Names())
            {
                if (name.StartsWith("reply-") && name != "reply-stats-lengths")
                {
                    frames.Add(VectorTests.Frame(name));
                }
            }
            return frames;
        }

        private byte[] WithId(byte[] frame, int i)
        {
            var record = (Dictionary<string, object>)MsgpackTests.Read(frame);
            record["id"] = (1 + _random.Next(2 + i / 100)).ToString();
            return MsgpackTests.Written(record);
        }

        private byte[] Mutated(byte[] frame)
        {
            var bytes = new List<byte>(frame);
            for (int n = _random.Next(4); n >= 0 && bytes.Count > 0; n--)
            {
                int at = _random.Next(bytes.Count);
                switch (_random.Next(5))
                {
                    case 0: bytes[at] = (byte)_random.Next(256); break;
                    case 1: bytes[at] ^= (byte)(1 << _random.Next(8)); break;
                    case 2: bytes.Insert(at, (byte)_random.Next(256)); break;
                    case 3: bytes.RemoveAt(at); break;
                    default: bytes.RemoveRange(at, _random.Next(bytes.Count - at)); break;
                }
            }
            return bytes.ToArray();
        }

        private static bool IsRead(MsgpackReader reader, byte[] frame)
        {
            try
            {
                reader.Start(frame, 0, frame.Length);
                RecordHead head = RecordHead.Read(reader);
                Read(head.Type, reader);
                reader.Seek(0);
                reader.ReadValue();
                return true;
            }
            catch (NpcException e)
            {
                Assert.AreEqual(NpcErrorCode.BadMessage, e.Code);
                return false;
            }
        }

        private static object Read(string type, MsgpackReader reader)
        {
            int received = 0;
            switch (type)
            {
                case "welcome": return NpcWelcome.Read(reader);
                case "spawned": return NpcSpawned.Read(reader);
                case "done": return NpcReply.Read(reader);
                case "scene_done": return NpcSceneEnd.Read(reader);
                case "pinned": return NpcPinned.Read(reader);
                case "rewound": return NpcRewound.Read(reader);
                case "saved": return NpcSaved.Read(reader);
                case "loaded": return NpcLoaded.Read(reader);
                case "npcs": return Replies.ReadInfos(reader);
                case "window": return NpcWindow.Read(reader);
                case "transcript": return NpcTranscript.Read(reader);
                case "stats": return Replies.ReadStats(reader);
                case "error": return Replies.ReadError(reader);
                case "ok": return Replies.ReadCancelled(reader);
                default: return StreamRecords.Read(type, reader, ref received);
            }
        }
    }
}
