using System.Collections.Generic;
using NUnit.Framework;
using UnityEngine;

namespace NpcEngine.Tests
{
    /// <summary>The sample's dialogue box: letter by letter, and what the player has heard of it.</summary>
    [TestFixture]
    [Timeout(60000)]
    public sealed class DialogueBoxTests
    {
        [Test]
        public void LinesComeLetterByLetterOneAfterTheOther()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.Alive(stub);
                var shown = new List<string>();
                NpcDialogueBox box = Box(scene, shown);
                box.PauseSeconds = 0;
                Lines(stub, box);
                ClientTests.Done(stub, _id);
                PlayMode.Until(() => shown.Contains("Line 1") && !box.IsShowing);
                CollectionAssert.IsSubsetOf(new[] { "", "L", "Li", "Lin", "Line", "Line 0", "Line 1" }, shown);
                Assert.Less(shown.IndexOf("Line 0"), shown.LastIndexOf("L"));
            }
        }

        [Test]
        public void WhoCutsInHasHeardWhatWasShown()
        {
            using (new PlayMode())
            using (var stub = new StubEngine())
            {
                Scene scene = Scene.Alive(stub);
                var shown = new List<string>();
                NpcDialogueBox box = Box(scene, shown);
                box.LettersPerSecond = 0;
                Lines(stub, box);
                PlayMode.Until(() => scene.Heard.Count == 2);
                Assert.AreEqual(new[] { "" }, shown);
                box.Next();
                box.Next();  // the second line: six letters of the first were heard
                box.Submit("Stop!");
                Dictionary<string, object> cut = stub.Next("cancel");
                Assert.AreEqual(_id, cut["target"]);
                Assert.AreEqual(6L, cut["heard"]);
                object answer = stub.Next("say")["id"];
                stub.SendRaw(LayerTests.Line(_id, 2));  // on its way when the player cut in
                ClientTests.Done(stub, _id);
                stub.SendRaw(LayerTests.Line(answer, 0));
                PlayMode.Until(() => scene.Heard.Contains("= Yes.") && scene.Heard.Count == 5);
                box.Next();
                Assert.AreEqual(new[] { "", "Line 0", "", "", "Line 0" }, shown);
            }
        }

        private object _id;

        private static NpcDialogueBox Box(Scene scene, List<string> shown)
        {
            GameObject balloon = PlayMode.Inactive("Balloon");
            var box = balloon.AddComponent<NpcDialogueBox>();
            box.OnShown.AddListener(shown.Add);
            box.Speaker = scene.Mara;
            balloon.SetActive(true);
            return box;
        }

        private void Lines(StubEngine stub, NpcDialogueBox box)
        {
            box.Submit("Hello.");
            _id = LayerTests.SayId(stub);
            stub.SendRaw(LayerTests.Line(_id, 0));
            stub.SendRaw(LayerTests.Line(_id, 1));
        }
    }
}
