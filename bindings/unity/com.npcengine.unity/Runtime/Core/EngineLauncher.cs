using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.IO;
using System.Security.Cryptography;
using System.Text;

namespace NpcEngine
{
    /// <summary>Starts the program, and reads its READY line; everything that can be wrong with it has its words here.</summary>
    internal static class EngineLauncher
    {
        internal static Process Start(EngineProcessSettings settings)
        {
            var start = new ProcessStartInfo
            {
                FileName = Program(settings.Executable),
                Arguments = CommandLine.Join(Arguments(settings)),
                WorkingDirectory = settings.WorkingFolder ?? "",
                UseShellExecute = false,
                CreateNoWindow = true,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                StandardOutputEncoding = new UTF8Encoding(false),
                StandardErrorEncoding = new UTF8Encoding(false),
            };
            try
            {
                return Process.Start(start) ?? throw new NotSupportedException();
            }
            catch (Exception e) when (e is NotSupportedException || e is NotImplementedException || IsUnityRefusal(e))
            {
                throw Error(
                    "This build cannot start processes.",
                    "IL2CPP has no System.Diagnostics.Process: use the Mono backend, or start the engine otherwise.",
                    e);
            }
            catch (Exception e) when (e is Win32Exception || e is InvalidOperationException || e is IOException)
            {
                throw Error(
                    "The engine \"" + settings.Executable + "\" cannot be started: " + e.Message,
                    "Check EngineProcessSettings.Executable and WorkingFolder, and that the file may be executed.",
                    e);
            }
        }

        private static List<string> Arguments(EngineProcessSettings settings)
        {
            var arguments = new List<string>(settings.FirstArguments ?? new string[0]);
            arguments.AddRange(new[] { "serve", "--model", settings.Model, "--bind", "tcp://127.0.0.1:0" });
            arguments.AddRange(new[] { "--token-stdin", "--exit-on-stdin-eof" });
            if (settings.SavesFolder != null)
            {
                arguments.AddRange(new[] { "--saves", settings.SavesFolder });
            }
            arguments.AddRange(settings.MoreArguments ?? new string[0]);
            return arguments;
        }

        internal static string EndpointOf(string line)
        {
            try
            {
                var ready = Json.Parse(line.Substring("READY ".Length)) as Dictionary<string, object>;
                if (ready != null && ready.TryGetValue("endpoint", out object endpoint) && endpoint is string text)
                {
                    return text;
                }
            }
            catch (NpcException)
            {
                // It is said below.
            }
            throw Error("The engine's ready line is not as expected: " + line, "Use engine and package of the same version.");
        }

        internal static string NewToken()
        {
            var bytes = new byte[32];
            using (RandomNumberGenerator random = RandomNumberGenerator.Create())
            {
                random.GetBytes(bytes);
            }
            return BitConverter.ToString(bytes).Replace("-", "");
        }

        internal static NpcException Error(string message, string help, Exception inner = null) =>
            new NpcException(NpcErrorCode.Setup, message, help, inner);

        /// <summary>What Unity's runtime says where its own library is left out.</summary>
        private static bool IsUnityRefusal(Exception e) => e is Win32Exception && e.Message.Contains("io-layer");

        /// <summary>A name is for the system to find; a path is made whole, since WorkingFolder is another one.</summary>
        private static string Program(string executable)
        {
            if (string.IsNullOrEmpty(executable) || executable.IndexOfAny(new[] { '/', '\\' }) < 0)
            {
                return executable;
            }
            if (!File.Exists(executable) && !File.Exists(executable + ".exe"))
            {
                throw Error(
                    "The engine \"" + executable + "\" is not there.",
                    "Set EngineProcessSettings.Executable to the program npc-engine, or ship it with the game.");
            }
            return Path.GetFullPath(executable);
        }
    }
}
