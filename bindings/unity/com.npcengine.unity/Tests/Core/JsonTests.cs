using System.Collections.Generic;
using System.IO;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    [TestFixture]
    public sealed class JsonTests
    {
        [Test]
        public void EveryKindOfValueIsRead()
        {
            object value = Json.Parse(
                "\ufeff {\"a\": [1, -2, 1.0, 2e3, true, false, null, []], \"b\\n\\u00e9\\ud83d\\udc09\": {}, \"c\": 18446744073709551615}");
            var map = (Dictionary<string, object>)value;
            Assert.AreEqual(new List<object> { 1L, -2L, 1.0, 2000.0, true, false, null, new List<object>() }, map["a"]);
            Assert.AreEqual(new Dictionary<string, object>(), map["b\né🐉"]);
            Assert.AreEqual(ulong.MaxValue, map["c"]);
        }

        [TestCase("")]
        [TestCase("{")]
        [TestCase("[1,]")]
        [TestCase("{\"a\":1,}")]
        [TestCase("{\"a\" 1}")]
        [TestCase("\"a")]
        [TestCase("\"\\x\"")]
        [TestCase("\"\\u12\"")]
        [TestCase("nul")]
        [TestCase("1 2")]
        [TestCase("-")]
        [TestCase("1.2.3")]
        public void BadJsonIsRefused(string text)
        {
            Assert.AreEqual(NpcErrorCode.BadCard, MsgpackTests.Refused(() => NpcCard.FromJson(text)).Code);
        }

        [Test]
        public void DeepJsonIsRefused()
        {
            MsgpackTests.Refused(() => Json.Parse(new string('[', 100000)));
        }

        [Test]
        public void ACardFileThatIsNotThereIsNamed()
        {
            NpcException error = MsgpackTests.Refused(() => NpcCard.FromFile("/nowhere/mara.json"));
            Assert.AreEqual(NpcErrorCode.BadCard, error.Code);
            StringAssert.Contains("/nowhere/mara.json", error.Message);
        }

        /// <summary>The same files, and the same outcome, as in the engine's own tests and in Godot.</summary>
        [Test]
        public void FilesOfStrangersAreReadAsEverywhere()
        {
            string folder = Path.Combine(Repository.Vectors, "cards");
            var expected = (Dictionary<string, object>)Json.Parse(File.ReadAllText(Path.Combine(folder, "expected.json")));
            Assert.Greater(expected.Count, 60);
            foreach (KeyValuePair<string, object> file in expected)
            {
                var outcome = (Dictionary<string, object>)file.Value;
                string path = Path.Combine(folder, file.Key);
                if (outcome.TryGetValue("card", out object card))
                {
                    Assert.AreEqual(card, NpcCard.FromFile(path).Fields, file.Key);
                    continue;
                }
                NpcException error = MsgpackTests.Refused(() => NpcCard.FromFile(path));
                Assert.AreEqual(NpcErrorCode.BadCard, error.Code, file.Key);
                StringAssert.Contains(file.Key, error.Message);
                if ((long)outcome["line"] > 0)
                {
                    StringAssert.Contains("line " + outcome["line"], error.Message.ToLowerInvariant(), file.Key);
                }
            }
        }

        [Test]
        public void ATomlCardIsToldToBecomeJson()
        {
            string path = Path.Combine(Repository.NewFolder(), "mara.toml");
            File.WriteAllText(path, "name = 'Mara'");
            StringAssert.Contains("JSON", MsgpackTests.Refused(() => NpcCard.FromFile(path)).Message);
            Directory.Delete(Path.GetDirectoryName(path), true);
        }
    }
}
