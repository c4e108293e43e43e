using System;
using System.Collections.Generic;
using System.IO;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>The golden vectors of the protocol, both ways.</summary>
    [TestFixture]
    public sealed class VectorTests
    {
        [Test]
        public void EveryFrameMeansWhatItsTwinSays()
        {
            List<string> names = Names();
            Assert.Greater(names.Count, 70);
            foreach (string name in names)
            {
                Assert.AreEqual(Twin(name), MsgpackTests.Read(Frame(name)), name);
            }
        }

        [Test]
        public void EveryTwinIsWrittenAsItsFrame()
        {
            foreach (string name in Names())
            {
                if (!name.EndsWith("-wide"))
                {
                    Assert.AreEqual(Frame(name), MsgpackTests.Written(Twin(name)), name);
                }
            }
        }

        [Test]
        public void EveryReplyHasAHead()
        {
            var types = new List<string>();
            foreach (string name in Names())
            {
                MsgpackReader reader = Reader(name);
                RecordHead head = RecordHead.Read(reader);
                var twin = (Dictionary<string, object>)Twin(name);
                Assert.AreEqual(twin["type"], head.Type, name);
                Assert.AreEqual(!twin.ContainsKey("seq"), head.IsTerminal, name);
                Assert.AreEqual(Id(twin), head.Id, name);
                types.Add(head.Type);
            }
            CollectionAssert.IsSubsetOf(new[] { "welcome", "turn", "rewound", "transcript" }, types);
        }

        [Test]
        public void RepliesAreReadIntoTheirTypes()
        {
            NpcWelcome welcome = NpcWelcome.Read(Reader("reply-welcome"));
            Assert.AreEqual("0.1.0", welcome.Engine);
            Assert.AreEqual(134515008L, welcome.Model["n_params"]);
            Assert.AreEqual(new[] { "mara" }, welcome.Npcs);
            NpcSpawned spawned = NpcSpawned.Read(Reader("reply-spawned-full"));
            Assert.AreEqual("mara 187 60 True", spawned.Npc + " " + spawned.NPinned + " " + spawned.NShared + " " + spawned.Restored);
            Assert.AreEqual("Come in, Player. Mind the step.", spawned.Greeting);
            StringAssert.StartsWith("The save was made", spawned.Notice);
            Assert.IsNull(NpcSpawned.Read(Reader("reply-spawned")).Notice);
            NpcReply done = NpcReply.Read(Reader("reply-done"));
            Assert.AreEqual(NpcReason.Stop, done.Reason);
            Assert.AreEqual(48.5, done.Stats.TtftMs);
            Assert.AreEqual(NpcReason.Cancelled, NpcReply.Read(Reader("reply-done-cancelled")).Reason);
            NpcException error = Replies.ReadError(Reader("reply-error"));
            Assert.AreEqual("unknown_npc|No character 'mara' is spawned.|Send a spawn first.", error.Code + "|" + error.Problem + "|" + error.Help);
            Assert.IsTrue(Replies.ReadCancelled(Reader("reply-ok-cancel")));
            Assert.Greater(Replies.ReadHeard(Reader("reply-ok-event")), 0);
        }

        [Test]
        public void WhatCharactersHoldIsReadIntoItsTypes()
        {
            IReadOnlyList<NpcInfo> infos = Replies.ReadInfos(Reader("reply-npcs"));
            Assert.AreEqual("mara player 17", infos[0].Npc + " " + infos[0].Priority + " " + infos[0].NPending);
            Assert.AreEqual("parked inn", infos[1].State + " " + infos[1].Scene);
            Assert.AreEqual(0, Replies.ReadInfos(Reader("reply-npcs-empty")).Count);
            Assert.AreEqual("Mara", Replies.ReadInfos(Reader("reply-npcs-older"))[0].CardName);
            NpcWindow window = NpcWindow.Read(Reader("reply-window"));
            Assert.AreEqual(871, window.NextPos);
            Assert.AreEqual(240, window.Segments[1].Start);
            Assert.IsTrue(window.Segments[1].Pinned);
            Assert.IsNull(window.Segments[window.Segments.Count - 1].Start);
            NpcTranscript transcript = NpcTranscript.Read(Reader("reply-transcript"));
            Assert.AreEqual(297, transcript.NForgotten);
            Assert.AreEqual("Bo: Who rings so late?", transcript.Turns[1].Entries[1].Speaker + ": " + transcript.Turns[1].Entries[1].Text);
            Assert.IsNull(transcript.Turns[2].Entries[0].Speaker);
        }

        [Test]
        public void TheOtherRepliesAreReadIntoTheirTypes()
        {
            Assert.AreEqual(400, NpcPinned.Read(Reader("reply-pinned")).NLeft);
            Assert.Greater(NpcRewound.Read(Reader("reply-rewound")).NForgotten, 0);
            Assert.Greater(NpcSaved.Read(Reader("reply-saved")).NBytes, 0);
            NpcLoaded loaded = NpcLoaded.Read(Reader("reply-loaded"));
            Assert.AreEqual("payload", loaded.Npcs[0].From);
            Assert.AreEqual("Made with another model.", loaded.Npcs[1].Notice);
            NpcTurn turn = NpcTurn.Read(Reader("reply-turn"));
            Assert.AreEqual("3 bo *shrugs* Ask Wren. 13", turn.Seq + " " + turn.Npc + " " + turn.Text + " " + turn.Turn);
            NpcSceneEnd end = NpcSceneEnd.Read(Reader("reply-scene-done"));
            Assert.AreEqual("inn 12 Turns", end.Scene + " " + end.NTurns + " " + end.Reason);
            Assert.AreEqual(ulong.MaxValue, Replies.ReadStats(Reader("reply-stats-int64"))["umax"]);
            NpcLine line = NpcLine.Read(Reader("reply-line-unicode"));
            Assert.Less(line.Length, line.Text.Length);
            Assert.AreEqual(line.Length, line.HeardAt(int.MaxValue));
        }

        [Test]
        public void RequestsAreWrittenAsTheirFrames()
        {
            var all = (NpcStream)7;
            var say = new SayOptions
            {
                Speaker = "Tom", Priority = NpcPriority.Near, MaxTokens = 64, Notes = new[] { "It is raining.", "Tom limps." },
            };
            var scene = new SceneOptions
            {
                About = "the missing bread", Turns = 12, First = "bo", Priority = NpcPriority.Near, MaxTokens = 48,
            };
            Same("request-hello", id => Requests.Hello(id, null, null));
            Same("request-say", id => Requests.Say(id, "mara", Text("request-say", "text"), new SayOptions(), null));
            Same("request-say-full", id => Requests.Say(id, "mara", "Who are you?", say, all));
            Same("request-say-quiet", id => Requests.Say(id, "mara", Text("request-say-quiet", "text"), new SayOptions(), NpcStream.None));
            Same("request-scene-full", id => Requests.Scene(id, "inn", new[] { "mara", "bo", "wren" }, scene, all));
            Same("request-attend", id => Requests.Attend(id, "mara"));
            Same("request-join", id => Requests.Join(id, "inn", "wren"));
            Same("request-leave", id => Requests.Leave(id, "inn", "wren"));
            Same("request-save", id => Requests.Save(id, "slot-1", null, false));
            Same("request-save-full", id => Requests.Save(id, "slot-1", new[] { "mara" }, true));
            Same("request-load-full", id => Requests.Load(id, "slot-1", new[] { "mara" }));
            Same("request-despawn", id => Requests.Despawn(id, "mara"));
            Same("request-list", Requests.List);
            Same("request-window", id => Requests.Window(id, "mara"));
            Same("request-transcript-full", id => Requests.Transcript(id, "mara", 2));
            Same("request-stats", Requests.Stats);
            Same("request-ping", Requests.Ping);
        }

        [Test]
        public void RequestsThatHoldTextsAreWrittenAsTheirFrames()
        {
            Same("request-hear-full", id => Requests.Hear(id, "mara", Text("request-hear-full", "text"), Text("request-hear-full", "speaker")));
            Same("request-pin", id => Requests.Pin(id, "mara", Text("request-pin", "text"), null));
            Same("request-pin-turn", id => Requests.Pin(id, "mara", null, Number("request-pin-turn", "turn")));
            Same("request-unpin", id => Requests.Unpin(id, "mara", Number("request-unpin", "turn")));
            Same("request-rewind", id => Requests.Rewind(id, "mara", Number("request-rewind", "turns"), null));
            Same("request-rewind-to-turn", id => Requests.Rewind(id, "mara", null, Number("request-rewind-to-turn", "to_turn")));
            Same("request-event", id => Requests.Event(id, null, Text("request-event", "text"), null, null));
            Same("request-cancel-full", id => Requests.Cancel(
                id, long.Parse(Text("request-cancel-full", "target")), Number("request-cancel-full", "heard")));
            var spawn = (Dictionary<string, object>)Twin("request-spawn-full");
            var options = new SpawnOptions
            {
                Sampling = new NpcSampling { Temperature = 0.7, TopK = 40, Seed = uint.MaxValue, Stop = new[] { "\n\n" } },
                Window = 2048, Restore = "autosave", KeepsSavedCard = true,
            };
            Same("request-spawn-full", id => Requests.Spawn(
                id, (string)spawn["npc"], new NpcCard((Dictionary<string, object>)spawn["card"]), options));
        }

        internal static List<string> Names()
        {
            var names = new List<string>();
            foreach (string path in Directory.GetFiles(Repository.Vectors, "*.msgpack"))
            {
                names.Add(Path.GetFileNameWithoutExtension(path));
            }
            names.Sort(string.CompareOrdinal);
            return names;
        }

        internal static byte[] Frame(string name) =>
            File.ReadAllBytes(Path.Combine(Repository.Vectors, name + ".msgpack"));

        private static object Twin(string name) =>
            Json.Parse(File.ReadAllText(Path.Combine(Repository.Vectors, name + ".json")));

        private static string Text(string name, string key) => (string)((Dictionary<string, object>)Twin(name))[key];

        private static int Number(string name, string key) => (int)(long)((Dictionary<string, object>)Twin(name))[key];

        private static long Id(Dictionary<string, object> twin) =>
            twin.TryGetValue("id", out object id) && long.TryParse((string)id, out long number) ? number : 0;

        private static MsgpackReader Reader(string name)
        {
            var reader = new MsgpackReader();
            byte[] frame = Frame(name);
            reader.Start(frame, 0, frame.Length);
            return reader;
        }

        /// <summary>By what they mean, since a map's keys have no order; and by their number of bytes.</summary>
        private static void Same(string name, Func<long, byte[]> made)
        {
            byte[] frame = Frame(name);
            byte[] own = made(long.Parse((string)((Dictionary<string, object>)Twin(name))["id"]));
            Assert.AreEqual(MsgpackTests.Read(frame), MsgpackTests.Read(own), name);
            Assert.AreEqual(frame.Length, own.Length, name);
        }
    }
}
