using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Reflection;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;
using NUnit.Framework;
using UnityEngine;

namespace NpcEngine.Tests
{
    /// <summary>The Unity layer in a scene of Player, and an engine that is played by the test.</summary>
    [TestFixture]
    [Timeout(60000)]
    public sealed class LayerTests
    {
        [Test]
        public void ASceneComesToLifeAndTalks()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.Alive(stub);
                Assert.AreEqual("Boots on the mat.", scene.Greeting);
                Task<NpcReply> say = scene.Mara.SayAsync("Hello.");
                object id = SayId(stub);
                stub.SendRaw(Line(id, 0));
                stub.Send("type", "gesture", "id", id, "seq", 1L, "npc", "mara", "text", "nods");
                ClientTests.Done(stub, id);
                PlayMode.Until(() => say.IsCompleted);
                Assert.AreEqual("Yes.", say.Result.Text);
                Assert.AreEqual(new[] { "Line 0", "*nods*", "= Yes." }, scene.Heard);
                Assert.IsEmpty(Player.Log);
            }
        }

        [Test]
        public void UpdateHandsOutNoLongerThanItsBudget()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.Alive(stub);
                scene.Engine.PumpMilliseconds = 4;
                scene.Mara.OnLine.AddListener(_ => Spin(2));
                Task<NpcReply> say = scene.Mara.SayAsync("Hello.");
                object id = SayId(stub);
                for (int i = 0; i < 50; i++)
                {
                    stub.SendRaw(Line(id, i));
                }
                ClientTests.Done(stub, id);
                Await.Until(null, () => scene.Engine.Client.WaitingRecords == 51);
                int most = 0;
                int before = 0;
                PlayMode.Until(() =>
                {
                    most = Math.Max(most, scene.Heard.Count - before);
                    before = scene.Heard.Count;
                    return say.IsCompleted;
                });
                Assert.AreEqual(51, scene.Heard.Count);
                Assert.LessOrEqual(most, 4);  // two lines, and the end of the say, which costs nothing
            }
        }

        [Test]
        public void ASayBeforeTheEngineIsThereWaitsForIt()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.New(stub);
                Task<NpcReply> say = scene.Mara.SayAsync("Hello.");
                using (var cancel = new CancellationTokenSource())
                {
                    Task<NpcReply> impatient = scene.Mara.SayAsync("Now!", null, cancel.Token);
                    Player.Frame();
                    cancel.Cancel();
                    PlayMode.Until(() => impatient.IsCompleted);
                    Assert.IsTrue(impatient.IsCanceled);
                }
                scene.Welcome();
                ClientTests.Done(stub, SayId(stub));
                PlayMode.Until(() => say.IsCompleted);
                Assert.AreEqual("Yes.", say.Result.Text);
            }
        }

        [Test]
        public void DisablingTheEngineEndsEverythingAndEnablingItBeginsAnew()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.Alive(stub);
                NpcClient client = scene.Engine.Client;
                Task<NpcReply> open = scene.Mara.SayAsync("Hello.");
                SayId(stub);
                scene.Engine.enabled = false;
                Assert.AreEqual(NpcConnectionState.Disposed, client.State);
                Await.Until(null, () => Signals.OwnThreads() == 0);
                Assert.IsNull(scene.Engine.Client);
                Assert.IsNull(scene.Mara.Character);
                Task<NpcReply> late = scene.Mara.SayAsync("Hello?");
                PlayMode.Until(() => open.IsCompleted && late.IsCompleted);
                Assert.AreEqual(NpcErrorCode.Closed, Await.Error(open).Code);
                StringAssert.Contains("is not enabled", Await.Error(late).Problem);
                scene.Engine.enabled = true;
                scene.Welcome();
                Assert.AreNotSame(client, scene.Engine.Client);
                Assert.IsEmpty(Player.Log);
            }
        }

        [Test]
        public void ADomainReloadBeginsAnewAndEveryLineComesOnce()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.Alive(stub);
                NpcClient client = scene.Engine.Client;
                Player.ReloadDomain();
                Assert.AreEqual(NpcConnectionState.Disposed, client.State);
                scene.Welcome();
                scene.Mara.Say("Hello.");
                object id = SayId(stub);
                stub.SendRaw(Line(id, 0));
                ClientTests.Done(stub, id);
                PlayMode.Until(() => scene.Heard.Count == 2);
                Assert.AreEqual(new[] { "Line 0", "= Yes." }, scene.Heard);
                Assert.IsEmpty(Player.Log);
            }
        }

        [Test]
        public void TheEndOfPlayModeEndsTheConnectionAtAnyMoment()
        {
            using (var stub = new StubEngine())
            {
                using (new PlayMode())
                {
                    Scene.New(stub);
                    stub.AcceptRaw();  // in the middle of the greeting
                    var watch = Stopwatch.StartNew();
                    Player.ExitPlayMode();
                    Assert.Less(watch.Elapsed.TotalSeconds, 2);
                    Await.Until(null, () => Signals.OwnThreads() == 0);
                }
                Assert.IsEmpty(Player.Log);
            }
        }

        [Test]
        public void AnEngineThatIsBackGetsItsCharacterAgain()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.Alive(stub);
                Task<NpcReply> say = scene.Mara.SayAsync("Hello.");
                SayId(stub);
                stub.Drop();
                PlayMode.Until(() => say.IsCompleted && scene.Mara.Character == null);
                Assert.AreEqual(NpcErrorCode.ConnectionLost, Await.Error(say).Code);
                Assert.AreEqual(1, scene.Errors.Count);
                scene.Welcome();
                scene.Mara.Say("Hello?");
                ClientTests.Done(stub, SayId(stub));
                PlayMode.Until(() => scene.Heard.Count == 1);
            }
        }

        [Test]
        public void ACharacterThatTheEngineHasIsFound()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.New(stub);
                scene.Connect();
                stub.Send(
                    "type", "error", "id", stub.Next("spawn")["id"], "code", "npc_exists", "message", "There is a mara.");
                PlayMode.Until(() => scene.Mara.Character != null);
                Assert.AreEqual("", scene.Greeting);
                Assert.IsEmpty(Player.Log);
            }
        }

        [Test]
        public void AFaultOfTheGameIsLoggedAndKeepsNothingFromComing()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.Alive(stub);
                scene.Mara.OnLine.AddListener(_ => { throw new InvalidOperationException("a fault in OnLine"); });
                scene.Mara.OnReply.AddListener(_ => { throw new InvalidOperationException("a fault in OnReply"); });
                Task<NpcReply> say = scene.Mara.SayAsync("Hello.");
                object id = SayId(stub);
                stub.SendRaw(Line(id, 0));
                stub.SendRaw(Line(id, 1));
                ClientTests.Done(stub, id);
                PlayMode.Until(() => say.IsCompleted);
                Assert.AreEqual("Yes.", say.Result.Text);
                Assert.AreEqual(new[] { "Line 0", "Line 1", "= Yes." }, scene.Heard);
                Assert.AreEqual(
                    new[] { "exception: a fault in OnLine", "exception: a fault in OnLine", "exception: a fault in OnReply" },
                    Player.Log);
            }
        }

        [Test]
        public void WhatIsMissingIsSaid()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.New(stub, mara => mara.Card = null);
                scene.Connect();
                PlayMode.Until(() => scene.Errors.Count == 1);
                StringAssert.Contains("Set its Card or CardPath", scene.Errors[0]);
                GameObject alone = PlayMode.Inactive("Stranger");
                NpcCharacterBehaviour stranger = PlayMode.AddMara(alone, null);
                stranger.OnError.AddListener(scene.Errors.Add);
                alone.SetActive(true);
                PlayMode.Until(() => scene.Errors.Count == 2);
                StringAssert.Contains("\"Stranger\" has no engine", scene.Errors[1]);
                Task<NpcReply> say = stranger.SayAsync("Hello.");
                PlayMode.Until(() => say.IsCompleted);
                Assert.AreEqual(NpcErrorCode.BadCall, Await.Error(say).Code);
            }
        }

        [Test]
        public void APathThatCannotBeIsAnError()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.New(stub, mara =>
                {
                    mara.Card = null;
                    mara.CardPath = "mara\0.json";
                });
                scene.Connect();
                Task<NpcReply> say = scene.Mara.SayAsync("Hello.");
                PlayMode.Until(() => say.IsCompleted && scene.Errors.Count > 0);
                Assert.AreEqual(NpcErrorCode.BadCall, Await.Error(say).Code);
                StringAssert.Contains("cannot be a path", scene.Errors[0]);
            }
        }

        [Test]
        public void ASettingThatCannotBeIsAnError()
        {
            using (new PlayMode())
            {
                GameObject village = PlayMode.Inactive("Village");
                NpcEngineBehaviour engine = PlayMode.AddEngine(village);
                engine.StartsEngine = false;
                engine.Endpoint = "nowhere";
                var errors = new List<string>();
                engine.OnError.AddListener(errors.Add);
                village.SetActive(true);
                PlayMode.Until(() => errors.Count == 1);
                StringAssert.Contains("nowhere", errors[0]);
                Assert.IsTrue(engine.Ready.IsFaulted);
            }
        }

        [Test]
        public void WhatAReloadMustNotKeepIsNotSerialized()
        {
            foreach (Type type in new[] { typeof(NpcEngineBehaviour), typeof(NpcCharacterBehaviour), typeof(NpcDialogueBox), typeof(VillageSquare) })
            {
                foreach (FieldInfo field in type.GetFields(BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.DeclaredOnly))
                {
                    bool isEvent = typeof(Delegate).IsAssignableFrom(field.FieldType);
                    bool isConstant = field.IsLiteral || (field.IsStatic && field.IsInitOnly);
                    Assert.IsTrue(field.IsNotSerialized || isEvent || isConstant, type.Name + "." + field.Name);
                }
            }
        }

        [Test]
        public void TheLayerKeepsToWhatIl2CppCompiles()
        {
            string[] files = Directory.GetFiles(Path.Combine(Repository.Sources, "..", "Unity"), "*.cs");
            Assert.Greater(files.Length, 5);
            foreach (string file in files)
            {
                Match match = Regex.Match(
                    File.ReadAllText(file), @"\bdynamic\b|System\.(Reflection|Linq)|DllImport|UnityEditor|Thread\.Sleep|typeof\(");
                Assert.IsFalse(match.Success, Path.GetFileName(file) + " uses " + match.Value);
            }
        }

        internal static byte[] Line(object id, int i) =>
            StubEngine.Record(
                "type", "line", "id", id, "seq", (long)i, "npc", "mara", "index", (long)i, "text", "Line " + i);

        /// <summary>Plays frames until the game has said something.</summary>
        internal static object SayId(StubEngine stub)
        {
            PlayMode.Until(() => stub.Socket.Available > 0);
            return stub.Next("say")["id"];
        }

        private static void Spin(double milliseconds)
        {
            for (var watch = Stopwatch.StartNew(); watch.Elapsed.TotalMilliseconds < milliseconds;)
            {
            }
        }
    }
}
