using System;
using System.IO;
using NUnit.Framework;

namespace NpcEngine.Tests
{
    /// <summary>What the tests need of the repository, named by the environment (see tools/test_unity.sh).</summary>
    internal static class Repository
    {
        internal static string Vectors => Named("NPC_VECTORS");

        internal static string TinyModel => Named("NPC_TINY_MODEL");

        internal static string TalkModel => Named("NPC_TALK_MODEL");

        internal static string Sources => Named("NPC_CORE_SOURCES");

        /// <summary>The folder of the Village Square sample.</summary>
        internal static string Village => Named("NPC_VILLAGE");

        /// <summary>The console sample: Mono and the path.</summary>
        internal static string Console => Named("NPC_CONSOLE");

        /// <summary>The engine's program and its first arguments.</summary>
        internal static string Program => Named("NPC_ENGINE");

        /// <summary>The settings of a real engine, small and without measuring anything.</summary>
        internal static EngineProcessSettings Engine(string saves, string model = null, params string[] more)
        {
            string[] words = Program.Split(' ');
            var first = new string[words.Length - 1];
            Array.Copy(words, 1, first, 0, first.Length);
            var arguments = new[]
            {
                "--kv-type", "f16", "--flash-attn", "off", "--threads", "1", "--window", "512",
                "--save-kv", "yes",  // else it depends on how fast this machine reads
            };
            var all = new string[arguments.Length + more.Length];
            arguments.CopyTo(all, 0);
            more.CopyTo(all, arguments.Length);
            return new EngineProcessSettings
            {
                Executable = words[0],
                FirstArguments = first,
                Model = model ?? TinyModel,
                SavesFolder = saves,
                MoreArguments = all,
                ReadyTimeout = TimeSpan.FromSeconds(60),
            };
        }

        internal static string NewFolder()
        {
            string path = Path.Combine(Path.GetTempPath(), "npc-test-" + Guid.NewGuid().ToString("N"));
            Directory.CreateDirectory(path);
            return path;
        }

        private static string Named(string name)
        {
            string value = Environment.GetEnvironmentVariable(name);
            if (string.IsNullOrEmpty(value))
            {
                Assert.Ignore(name + " is not set: run make test-unity.");
            }
            return value;
        }
    }
}
