using System;
using System.Diagnostics;
using System.IO;
using System.Text.RegularExpressions;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>The console sample, as a process of its own: it talks, and leaves nothing behind.</summary>
    [TestFixture]
    [Timeout(60000)]
    public sealed class ConsoleTests
    {
        private string _folder;

        [SetUp]
        public void MakeFolder() => _folder = Repository.NewFolder();

        [TearDown]
        public void RemoveFolder() => Directory.Delete(_folder, true);

        [Test]
        public void TheSampleTalksSavesAndLoads()
        {
            using (Process sample = Start(Repository.TalkModel))
            {
                sample.StandardInput.WriteLine("Who are you?");
                sample.StandardInput.WriteLine("/save");
                sample.StandardInput.WriteLine("What do you sell?");
                sample.StandardInput.WriteLine("/load");
                sample.StandardInput.WriteLine("/quit");
                string said = Await.Result(sample.StandardOutput.ReadToEndAsync(), 50);
                Assert.IsTrue(sample.WaitForExit(10000));
                Assert.AreEqual(0, sample.ExitCode, said);
                StringAssert.Contains("Mara: ", said);
                Assert.AreEqual(2, Regex.Matches(said, @"\[\d+ tokens, the first after").Count, said);
                StringAssert.Contains("Loaded: she remembers 1 turns.", said);
                Assert.IsFalse(Signals.IsAlive(EngineOf(said)));
            }
        }

        [Test]
        public void AnEngineEndsWhenItsGameIsKilled()
        {
            using (Process sample = Start(Repository.TinyModel))
            {
                int engine = EngineOf(Await.Result(sample.StandardOutput.ReadLineAsync(), 50));
                Assert.IsTrue(Signals.IsAlive(engine));
                Signals.Send(sample.Id, "KILL");
                Assert.IsTrue(sample.WaitForExit(10000));
                Await.Until(null, () => !Signals.IsAlive(engine));
            }
        }

        [Test]
        public void TheSampleSaysWhatIsWrong()
        {
            using (Process sample = Start("/nowhere/m.gguf"))
            {
                StringAssert.Contains("/nowhere/m.gguf", Await.Result(sample.StandardError.ReadToEndAsync(), 50));
                Assert.IsTrue(sample.WaitForExit(10000));
                Assert.AreEqual(1, sample.ExitCode);
            }
        }

        private Process Start(string model)
        {
            string[] words = Repository.Console.Split(' ');
            var start = new ProcessStartInfo
            {
                FileName = words[0],
                Arguments = CommandLine.Join(new[] { words[1], model }) + " " + Repository.Program,
                UseShellExecute = false,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            start.EnvironmentVariables["TMPDIR"] = _folder;  // where the sample saves
            return Process.Start(start);
        }

        private static int EngineOf(string said) => int.Parse(Regex.Match(said, @"process (\d+)").Groups[1].Value);
    }
}
