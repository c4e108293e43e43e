using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Text.RegularExpressions;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>What the sources must not use, so that IL2CPP and .NET Standard 2.0 compile them.</summary>
    [TestFixture]
    public sealed class SourceTests
    {
        private const string Forbidden =
            @"\bdynamic\b|System\.Reflection|\bDllImport\b|\bunsafe\b|System\.Linq|\bSpan<|\bMemory<|\bValueTask\b"
            + @"|Activator\.|GetType\(\)\.Get|typeof\(|UnityEngine|Thread\.Sleep|Thread\.Abort|\basync void\b";

        [Test]
        public void NothingForbiddenIsUsed()
        {
            string[] files = Directory.GetFiles(Repository.Sources, "*.cs");
            Assert.Greater(files.Length, 50);
            foreach (string file in files)
            {
                Match match = Regex.Match(Regex.Replace(File.ReadAllText(file), "//.*", ""), Forbidden);
                Assert.IsFalse(match.Success, Path.GetFileName(file) + " uses " + match.Value);
            }
        }

        [Test]
        public void EveryAwaitLeavesTheCallersContext()
        {
            foreach (string file in Directory.GetFiles(Repository.Sources, "*.cs"))
            {
                string text = Regex.Replace(File.ReadAllText(file), "\".*?\"|//.*", "");
                int awaits = Regex.Matches(text, @"\bawait [^;]*;").Count;
                int free = Regex.Matches(text, @"\bawait [^;]*\.ConfigureAwait\(false\);").Count;
                Assert.AreEqual(awaits, free, Path.GetFileName(file));
            }
        }

        [Test]
        public void OnlyTheCoreOfNetIsReferenced()
        {
            var names = new List<string>();
            foreach (AssemblyName name in typeof(NpcClient).Assembly.GetReferencedAssemblies())
            {
                names.Add(name.Name);
            }
            CollectionAssert.IsSubsetOf(names, new[] { "mscorlib", "System", "System.Core" });
        }

        [Test]
        public void PublicTypesAreSealed()
        {
            foreach (System.Type type in typeof(NpcClient).Assembly.GetExportedTypes())
            {
                Assert.IsTrue(type.IsSealed || type.IsEnum, type.Name);
            }
        }
    }
}
