using System;
using System.Collections.Generic;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    [TestFixture]
    public sealed class MsgpackTests
    {
        [Test]
        public void WhatIsWrittenIsReadAgain()
        {
            var values = new List<object>
            {
                null, true, false, "", "Grüß Gott, 旅人 🐉", new string('a', 300), new string('b', 70000), 0.0, -0.5, 1e300,
                0L, 127L, 128L, 255L, 256L, 65535L, 65536L, 4294967295L, 4294967296L, long.MaxValue, ulong.MaxValue,
                -1L, -32L, -33L, -128L, -129L, -32768L, -32769L, -2147483648L, -2147483649L, long.MinValue,
                new Dictionary<string, object> { { "a", new List<object> { 1L, "b" } }, { "", null } },
            };
            for (int i = 0; i < 70000; i += 69999)
            {
                values.Add(new List<object>(new object[i]));
            }
            foreach (object value in values)
            {
                Assert.AreEqual(value, Read(Written(value)));
            }
        }

        [Test]
        public void HalfASurrogatePairIsReplaced()
        {
            Assert.AreEqual("a\ufffd", Read(Written("a\ud83d")));
        }

        [Test]
        public void WhatIsNestedTooDeepIsRefusedBothWays()
        {
            object deep = 1L;
            var bytes = new byte[100];
            for (int i = 0; i < bytes.Length; i++)
            {
                deep = new List<object> { deep };
                bytes[i] = 0x91;
            }
            Assert.AreEqual(NpcErrorCode.BadMessage, Refused(() => Written(deep)).Code);
            StringAssert.Contains("nested", Refused(() => Read(bytes)).Message);
            StringAssert.Contains("nested", Refused(() => Reader(bytes).Skip()).Message);
        }

        [TestCase(new byte[] { 0xdd, 0x7f, 0xff, 0xff, 0xff, 0 })]
        [TestCase(new byte[] { 0xdf, 0xff, 0xff, 0xff, 0xff, 0 })]
        [TestCase(new byte[] { 0xdb, 0xff, 0xff, 0xff, 0xff, 0 })]
        public void ADeclaredLengthAloneCostsNothing(byte[] liar)
        {
            long before = GC.GetTotalMemory(true);
            StringAssert.Contains("too early", Refused(() => Read(liar)).Message);
            Assert.Less(GC.GetTotalMemory(true) - before, 1 << 20);
        }

        [Test]
        public void BytesAndExtensionsAreRefused()
        {
            Refused(() => Read(new byte[] { 0xc4, 1, 0 }));
            Refused(() => Read(new byte[] { 0xd4, 1, 0 }));
            Refused(() => Read(new byte[] { 0xc1 }));
            Refused(() => Read(new byte[] { 0x81, 1, 1 }));
        }

        [Test]
        public void WhatCannotBeSentIsNamed()
        {
            StringAssert.Contains("DateTime", Refused(() => Written(DateTime.MinValue)).Message);
        }

        internal static object Read(byte[] bytes)
        {
            MsgpackReader reader = Reader(bytes);
            object value = reader.ReadValue();
            Assert.IsTrue(reader.AtEnd);
            return value;
        }

        internal static byte[] Written(object value)
        {
            var writer = new MsgpackWriter();
            writer.Value(value);
            return writer.ToArray();
        }

        internal static NpcException Refused(Action act)
        {
            try
            {
                act();
            }
            catch (NpcException e)
            {
                return e;
            }
            Assert.Fail("nothing was refused");
            return null;
        }

        private static MsgpackReader Reader(byte[] bytes)
        {
            var reader = new MsgpackReader();
            reader.Start(bytes, 0, bytes.Length);
            return reader;
        }
    }
}
