using System.Collections.Generic;
using System.IO;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>Of a card goes to the engine what it reads; what is too large nevertheless is named.</summary>
    [TestFixture]
    [Timeout(60000)]
    public sealed class CardPartsTests
    {
        private static readonly string Picture = "data:," + new string('A', 3000000);

        [Test]
        public void WhatNoEngineReadsIsNotSentWhereItIsLarge()
        {
            Dictionary<string, object> card = Card("Keeps the inn.");
            card["assets"] = new List<object> { new Dictionary<string, object> { { "uri", Picture } } };
            card["creator_notes"] = "Mine.";
            card["persona"] = new string('x', 100000);
            var whole = new Dictionary<string, object> { { "spec", "chara_card_v3" }, { "data", card }, { "avatar", Picture } };
            Dictionary<string, object> sent = CardParts.ToSend(whole);
            CollectionAssert.AreEquivalent(new[] { "spec", "data" }, sent.Keys);
            var inner = (Dictionary<string, object>)sent["data"];
            CollectionAssert.AreEquivalent(new[] { "name", "description", "creator_notes", "persona" }, inner.Keys);
            Assert.IsTrue(card.ContainsKey("assets"));
        }

        [Test]
        public void TheHeaviestPartIsNamed()
        {
            var whole = new Dictionary<string, object> { { "data", Card(new string('x', 5000)) } };
            byte[] body = Requests.Spawn(1, "mara", new NpcCard(whole), new SpawnOptions());
            Assert.AreEqual("card.data.description", CardParts.Heaviest(body));
            Assert.AreEqual("text", CardParts.Heaviest(Requests.Hear(1, "mara", new string('x', 500), null)));
        }

        [Test]
        public void OverTheWire()
        {
            string saves = Repository.NewFolder();
            try
            {
                using (EngineProcess engine = Await.Result(EngineProcess.StartAsync(Repository.Engine(saves)), 60))
                using (NpcClient client = engine.CreateClient())
                {
                    Await.Result(client.ConnectAsync());
                    Dictionary<string, object> card = Card("Keeps the inn.");
                    card["assets"] = Picture;
                    Await.Result(client.SpawnAsync("mara", new NpcCard(card)));
                    NpcException error = Await.Error(client.SpawnAsync("bo", new NpcCard(Card(Picture))));
                    Assert.AreEqual(NpcErrorCode.TooLarge, error.Code);
                    StringAssert.Contains("'card.description'", error.Problem);
                }
            }
            finally
            {
                Directory.Delete(saves, true);
            }
        }

        private static Dictionary<string, object> Card(string description) =>
            new Dictionary<string, object> { { "name", "Mara" }, { "description", description } };
    }
}
