using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    [TestFixture]
    [Timeout(60000)]
    public sealed class EngineProcessTests
    {
        private string _saves;

        [SetUp]
        public void MakeFolder() => _saves = Repository.NewFolder();

        [TearDown]
        public void RemoveFolder() => Directory.Delete(_saves, true);

        [Test]
        public void ItStartsServesAndEndsWithoutATrace()
        {
            int children = Signals.Children();
            for (int i = 0; i < 3; i++)
            {
                EngineProcess engine = Await.Result(EngineProcess.StartAsync(Repository.Engine(_saves)), 60);
                Assert.IsTrue(engine.IsRunning);
                StringAssert.StartsWith("tcp://127.0.0.1:", engine.Endpoint);
                using (NpcClient client = engine.CreateClient())
                {
                    Await.Result(client.ConnectAsync());
                }
                Assert.Greater(engine.RecentLog().Length, 0);
                engine.Dispose();
                engine.Dispose();
                Assert.IsFalse(engine.IsRunning);
                StringAssert.Contains("leaving", string.Join("\n", engine.RecentLog()));  // not by force
                Assert.IsFalse(Signals.IsAlive(engine.ProcessId));
            }
            Assert.AreEqual(children, Signals.Children());
            Await.Until(null, () => Signals.OwnThreads() == 0);
        }

        [Test]
        public void AProgramThatIsNotThereIsNamed()
        {
            foreach (string program in new[] { "/nowhere/npc-engine", "no-such-npc-engine" })
            {
                EngineProcessSettings settings = Repository.Engine(_saves);
                settings.Executable = program;
                NpcException error = Await.Error(EngineProcess.StartAsync(settings));
                Assert.AreEqual(NpcErrorCode.Setup, error.Code);
                StringAssert.Contains(program, error.Problem);
                StringAssert.Contains("Executable", error.Help);
            }
        }

        [Test]
        public void AFileThatMayNotBeExecutedIsNamed()
        {
            EngineProcessSettings settings = Repository.Engine(_saves);
            settings.Executable = Path.Combine(_saves, "engine");
            File.WriteAllText(settings.Executable, "no program");
            NpcException error = Await.Error(EngineProcess.StartAsync(settings));
            StringAssert.Contains("cannot be started", error.Problem);
            StringAssert.Contains(settings.Executable, error.Problem);
        }

        [Test]
        public void AFolderIsNoProgram()
        {
            EngineProcessSettings settings = Repository.Engine(_saves);
            settings.Executable = "/bin/";
            Assert.AreEqual(NpcErrorCode.Setup, Await.Error(EngineProcess.StartAsync(settings)).Code);
        }

        [Test]
        public void AModelThatIsNotThereIsSaidInTheEnginesWords()
        {
            NpcException error = Await.Error(EngineProcess.StartAsync(Repository.Engine(_saves, "/nowhere/a b.gguf")), 20);
            Assert.AreEqual(NpcErrorCode.Setup, error.Code);
            StringAssert.Contains("status 2", error.Problem);
            StringAssert.Contains("/nowhere/a b.gguf", error.Problem);
            StringAssert.Contains("doctor", error.Help);
        }

        [TestCase(4, "lacks instructions", "GGML_NATIVE=OFF")]
        [TestCase(9, "memory runs out", "smaller model")]
        public void ADeathByItsSystemIsExplained(int signal, string cause, string help)
        {
            EngineProcessSettings settings = Shell("echo Last words. >&2; kill -" + signal + " $$");
            NpcException error = Await.Error(EngineProcess.StartAsync(settings), 20);
            Assert.AreEqual(NpcErrorCode.Setup, error.Code);
            StringAssert.Contains(cause, error.Problem);
            StringAssert.EndsWith("Last words.", error.Problem);
            StringAssert.Contains(help, error.Help);
        }

        [Test]
        public void OneThatDiesLaterTellsHow()
        {
            EngineProcessSettings settings = Shell("echo 'READY {\"endpoint\": \"x\"}'; read token; read end");
            using (EngineProcess engine = Await.Result(EngineProcess.StartAsync(settings)))
            {
                Assert.IsNull(engine.Ended);
                System.Diagnostics.Process.GetProcessById(engine.ProcessId).Kill();
                Await.Until(null, () => engine.Ended != null);
                StringAssert.Contains("memory runs out", engine.Ended);
            }
        }

        [Test]
        public void EachStatusMeansTheSameAsInPython()
        {
            string path = Path.Combine(Repository.Vectors, "deaths.json");
            var all = (List<object>)Json.Parse(File.ReadAllText(path));
            Assert.Greater(all.Count, 30);
            foreach (Dictionary<string, object> expected in all)
            {
                long status = Convert.ToInt64(expected["status"]);
                Death found = Death.Of(status);
                expected.TryGetValue("cause", out object cause);
                expected.TryGetValue("help", out object help);
                Assert.AreEqual(cause, found?.Cause.Replace(Death.CpuName(), "{cpu}"), status.ToString());
                Assert.AreEqual(help, found?.Help, status.ToString());
                if (status > int.MaxValue)
                {
                    Assert.AreEqual(found?.Cause, Death.Of(unchecked((int)status))?.Cause);  // as .NET has it
                }
            }
        }

        [Test]
        public void WithoutAModelNothingIsStarted()
        {
            EngineProcessSettings settings = Repository.Engine(_saves);
            settings.Model = "";
            StringAssert.Contains("Model", Await.Error(EngineProcess.StartAsync(settings)).Help);
        }

        [Test]
        public void OneThatIsNeverReadyIsEnded()
        {
            EngineProcessSettings settings = Shell("echo 'loading for ever' >&2; echo $$ > \"$0.pid\"; exec sleep 1000");
            settings.ReadyTimeout = TimeSpan.FromSeconds(1);
            NpcException error = Await.Error(EngineProcess.StartAsync(settings), 10);
            StringAssert.Contains("not ready after 1 s. loading for ever", error.Problem);
            Assert.IsFalse(Signals.IsAlive(Pid()));
        }

        [Test]
        public void StartingCanBeCancelled()
        {
            using (var cancel = new CancellationTokenSource())
            {
                Task<EngineProcess> starting = EngineProcess.StartAsync(
                    Shell("echo $$ > \"$0.part\"; mv \"$0.part\" \"$0.pid\"; read token; read end"), cancel.Token);
                Await.Until(null, () => File.Exists(PidFile));
                cancel.Cancel();
                Await.Cancelled(starting, 10);
                Assert.IsFalse(Signals.IsAlive(Pid()));
            }
        }

        [TestCase("READY no json")]
        [TestCase("READY {\"port\": 1}")]
        public void AReadyLineThatCannotBeReadIsShown(string line)
        {
            NpcException error = Await.Error(EngineProcess.StartAsync(Shell("echo '" + line + "'; read token; read end")), 10);
            StringAssert.Contains(line, error.Problem);
        }

        [Test]
        public void ItGetsItsTokenAndArgumentsAsTheyAre()
        {
            EngineProcessSettings settings = Shell("shift 7; read token; echo \"READY {\\\"endpoint\\\": \\\"$token|$1|$2|$3\\\"}\"; read end");
            settings.SavesFolder = null;
            settings.MoreArguments = new[] { "a b", "it's", "$HOME `x`" };
            using (EngineProcess engine = Await.Result(EngineProcess.StartAsync(settings)))
            {
                Assert.AreEqual(engine.Token + "|a b|it's|$HOME `x`", engine.Endpoint);
                Assert.AreEqual(64, engine.Token.Length);
            }
        }

        [TestCase("plain", "\"plain\"")]
        [TestCase("", "\"\"")]
        [TestCase("a b", "\"a b\"")]
        [TestCase("say \"x\"", "\"say \\\"x\\\"\"")]
        [TestCase("C:\\a b\\", "\"C:\\a b\\\\\"")]
        [TestCase("a\\\"b", "\"a\\\\\\\"b\"")]
        public void ArgumentsAreQuotedAsWindowsTakesThem(string argument, string quoted)
        {
            Assert.AreEqual(quoted, CommandLine.Join(new[] { argument }));
        }

        private string PidFile => Path.Combine(_saves, "run.pid");

        private int Pid() => int.Parse(File.ReadAllText(PidFile).Trim());

        /// <summary>A shell in the engine's place; $0 is a path in the folder.</summary>
        private EngineProcessSettings Shell(string script) => new EngineProcessSettings
        {
            Executable = "/bin/sh",
            FirstArguments = new[] { "-c", script, Path.Combine(_saves, "run") },
            Model = "m.gguf",
        };
    }
}
