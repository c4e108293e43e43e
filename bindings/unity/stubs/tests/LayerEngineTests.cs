using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Threading.Tasks;
using NUnit.Framework;
using UnityEngine;

namespace NpcEngine.Tests
{
    /// <summary>The Unity layer and its sample in a scene of Player, with a real engine.</summary>
    [TestFixture]
    [Timeout(240000)]
    public sealed class LayerEngineTests
    {
        [Test]
        public void TheVillageTalksHearsTheBellSavesAndLoads()
        {
            using (new PlayMode())
            {
                VillageSquare village = Village(Repository.TalkModel);
                PlayMode.Until(() => Shows("The village is awake"), 60);
                PlayMode.Until(() => Shows("mara: *wipes a mug"));
                PlayMode.Until(() => Type("Who are you?"));
                Press("Say");
                PlayMode.Until(() => Answers("mara"), 60);
                Press("Ring the bell");
                Press("Next");
                Press("Save");
                PlayMode.Until(() => Shows("Saved."), 60);
                Assert.IsTrue(File.Exists(Path.Combine(Player.PersistentData, "npc-saves", "village", "mara.npc")));
                Press("Load");
                PlayMode.Until(() => Shows("Loaded."), 60);
                Press("bram");
                PlayMode.Until(() => Type("Good day."));
                Press("Say");
                PlayMode.Until(() => Answers("bram"), 60);
                Assert.IsEmpty(Player.Log);
                var watch = Stopwatch.StartNew();
                UnityEngine.Object.Destroy(village);
                Console.WriteLine("OnDisable took {0} ms to end the engine", watch.ElapsedMilliseconds);
                Assert.AreEqual(0, Signals.Children());
            }
        }

        [Test]
        public void AnEngineThatCrashesIsStartedAgainThreeTimes()
        {
            using (new PlayMode())
            {
                GameObject village = PlayMode.Inactive("Village");
                NpcEngineBehaviour engine = PlayMode.AddEngine(village);
                NpcCharacterBehaviour mara = PlayMode.AddMara(village, engine);
                var errors = new List<string>();
                engine.OnError.AddListener(errors.Add);
                village.SetActive(true);
                for (int i = 0; i < 4; i++)
                {
                    PlayMode.Until(() => mara.Character != null, 60);
                    Task<NpcReply> say = mara.SayAsync("Hello.");
                    Signals.Send(OnlyChild(), "KILL");
                    PlayMode.Until(() => mara.Character == null);
                    PlayMode.Until(() => say.IsCompleted);
                }
                PlayMode.Until(() => errors.Exists(e => e.Contains("has ended 4 times by itself")));
                Assert.IsTrue(engine.Ready.IsFaulted);
                Assert.AreEqual(0, Signals.Children());
            }
        }

        [Test]
        public void PlayModeMayEndWhileTheEngineIsStarting()
        {
            using (new PlayMode())
            {
                GameObject village = PlayMode.Inactive("Village");
                PlayMode.AddEngine(village);
                village.SetActive(true);
                PlayMode.Until(() => Signals.Children() == 1);
                var watch = Stopwatch.StartNew();
                Player.ExitPlayMode();
                Console.WriteLine("OnDisable took {0} ms to end an engine that was starting", watch.ElapsedMilliseconds);
                Assert.Less(watch.Elapsed.TotalSeconds, 8);
                Assert.AreEqual(0, Signals.Children());
            }
        }

        [TestCase("npc-engine-that-is-not-there", "model.gguf", "cannot be started")]
        [TestCase(null, "model-that-is-not-there.gguf", "model-that-is-not-there.gguf")]
        [TestCase(null, "", "No model is given")]
        public void AnEngineThatCannotStartSaysWhy(string program, string model, string words)
        {
            using (new PlayMode())
            {
                GameObject village = PlayMode.Inactive("Village");
                NpcEngineBehaviour engine = PlayMode.AddEngine(village);
                NpcCharacterBehaviour mara = PlayMode.AddMara(village, engine);
                engine.Executable = program ?? engine.Executable;
                engine.Model = model;
                var errors = new List<string>();
                engine.OnError.AddListener(errors.Add);
                village.SetActive(true);
                Task<NpcReply> say = mara.SayAsync("Hello.");
                PlayMode.Until(() => errors.Count == 1 && say.IsCompleted, 60);
                StringAssert.Contains(words, errors[0]);
                Assert.AreEqual(NpcErrorCode.Setup, Await.Error(say).Code);
                Assert.AreEqual(0, Signals.Children());
            }
        }

        private static VillageSquare Village(string model)
        {
            string cards = Path.Combine(Repository.Village, "Resources", "NpcVillage");
            foreach (string card in Directory.GetFiles(cards, "*.json"))
            {
                Player.ResourceFiles["NpcVillage/" + Path.GetFileNameWithoutExtension(card)] = new TextAsset(File.ReadAllText(card));
            }
            GameObject square = PlayMode.Inactive("Square");
            var village = square.AddComponent<VillageSquare>();
            EngineProcessSettings settings = Repository.Engine(null, model, "--window", "1024", "--max-tokens", "24");
            village.Executable = settings.Executable;
            village.FirstArguments = new List<string>(settings.FirstArguments).ToArray();
            village.MoreArguments = new List<string>(settings.MoreArguments).ToArray();
            village.Model = model;
            square.SetActive(true);
            return village;
        }

        private static bool Shows(string words) => Player.Labels.Exists(said => said.Contains(words));

        /// <summary>A line that is no greeting, or a gesture.</summary>
        private static bool Answers(string npc) =>
            Shows("(" + npc + " ") || Player.Labels.Exists(s => s.StartsWith(npc + ": ") && s.Length > 12 && !s.Contains("*"));

        private static bool Type(string text)
        {
            Player.Typed = text;
            Player.Frame();
            return Player.Typed == null;
        }

        private static void Press(string button)
        {
            Player.Presses.Add(button);
            PlayMode.Until(() => Player.Presses.Count == 0);
        }

        private static int OnlyChild()
        {
            foreach (string folder in Directory.GetDirectories("/proc/self/task"))
            {
                string children = File.ReadAllText(folder + "/children").Trim();
                if (children != "")
                {
                    return int.Parse(children.Split(' ')[0]);
                }
            }
            Assert.Fail("there is no engine");
            return 0;
        }
    }
}
