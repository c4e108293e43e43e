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

        [Test]
        public void ACardInsideAPictureIsFound()
        {
            string path = Path.Combine(Repository.NewFolder(), "mara.png");
            string coded = System.Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes("{\"name\": \"Mara\"}"));
            var png = new List<byte> { 0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10 };
            Add(png, "IHDR", "0123456789012");
            Add(png, "tEXt", "chara\0" + coded);
            File.WriteAllBytes(path, png.ToArray());
            Assert.AreEqual("Mara", NpcCard.FromFile(path).Fields["name"]);
            png.RemoveRange(40, png.Count - 40);
            File.WriteAllBytes(path, png.ToArray());
            StringAssert.Contains("no card inside", MsgpackTests.Refused(() => NpcCard.FromFile(path)).Message);
            Directory.Delete(Path.GetDirectoryName(path), true);
        }

        private static void Add(List<byte> png, string kind, string data)
        {
            png.AddRange(new byte[] { 0, 0, (byte)(data.Length >> 8), (byte)data.Length });
            png.AddRange(System.Text.Encoding.ASCII.GetBytes(kind + data + "crc4"));
        }
    }
}
