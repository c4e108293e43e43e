using System;
using System.Collections.Generic;
using System.IO;

namespace NpcEngine
{
    /// <summary>
    /// What the exit status of an engine that was ended by its system means, and what to do about it. The same
    /// numbers and sentences as in the Python package; tests/vectors/deaths.json holds them together.
    /// </summary>
    internal sealed class Death
    {
        private static readonly Death Instruction = new Death(
            "This computer's processor ({cpu}) lacks instructions that this build of the engine needs.",
            "Use a build that suits this processor: one that was made on this computer, or one that was "
            + "made for all (llama.cpp with GGML_NATIVE=OFF).");

        private static readonly Death Crash = new Death(
            "It crashed in native code.",
            "Run `npc-engine doctor` with the same model; if that crashes too, another build or file of "
            + "the model may not.");

        private static readonly Death Abort = new Death(
            "llama.cpp gave up.",
            "The last lines of the log say what it found; run `npc-engine doctor` with the same model.");

        private static readonly Death Memory = new Death(
            "It was ended from outside; mostly the system does that when memory runs out.",
            "Take a smaller model, --window or --slots, or close other programs.");

        private static readonly Death File = new Death(
            "A file could not be read to its end: the model was changed or its disk failed meanwhile, or "
            + "the disk is full.",
            "Let the file of the model alone while the engine runs, and look at the disk.");

        private static readonly Death Library = new Death(
            "A library that it needs is missing, or is made for another kind of computer.",
            "Keep the engine's folder whole; on Windows install the Visual C++ redistributable (x64).");

        private static readonly Death NotFound = new Death(
            "The program, its interpreter or a library of it was not found.",
            "Keep the engine's folder whole, and give the path of the program itself.");

        private static readonly Death NotProgram = new Death(
            "The file may not be executed, or is made for another system.",
            "Make it executable (chmod +x), and take the build for this system.");

        private static readonly Death Stopped = new Death(
            "Somebody ended it.",
            "Start it again.");

        private static readonly Death Forbidden = new Death(
            "A sandbox forbids a system call that it needs.",
            "Let the engine run outside of the sandbox, or allow what it asks for.");

        /// <summary>Signals by their numbers; SIGBUS on Linux (7) and on macOS (10).</summary>
        private static readonly Dictionary<int, Death> Signals = new Dictionary<int, Death>
        {
            { 2, Stopped }, { 4, Instruction }, { 6, Abort }, { 7, File }, { 8, Crash }, { 9, Memory }, { 10, File },
            { 11, Crash }, { 15, Stopped }, { 31, Forbidden },
        };

        /// <summary>NTSTATUS values.</summary>
        private static readonly Dictionary<uint, Death> Windows = new Dictionary<uint, Death>
        {
            { 0xC000001D, Instruction }, { 0xC0000096, Instruction }, { 0xC0000005, Crash }, { 0xC00000FD, Crash },
            { 0xC0000374, Crash }, { 0xC0000409, Abort }, { 0xC0000006, File }, { 0xC0000017, Memory },
            { 0xC000012D, Memory }, { 0xC0000135, Library }, { 0xC0000138, Library }, { 0xC0000139, Library },
            { 0xC0000142, Library }, { 0xC000007B, Library }, { 0xC000013A, Stopped },
        };

        private Death(string cause, string help)
        {
            Cause = cause;
            Help = help;
        }

        /// <summary>What happened.</summary>
        internal string Cause { get; }

        /// <summary>What to do.</summary>
        internal string Help { get; }

        /// <summary>What a status means; null for one that programs choose themselves.</summary>
        internal static Death Of(long status)
        {
            Death found;
            if (status < 0 || status > 0xff)
            {
                Windows.TryGetValue(unchecked((uint)status), out found);
            }
            else if (status == 126 || status == 127)
            {
                found = status == 126 ? NotProgram : NotFound;
            }
            else
            {
                Signals.TryGetValue((int)status - 128, out found);  // as Mono and shells tell of a signal
            }
            return found == null ? null : new Death(found.Cause.Replace("{cpu}", CpuName()), found.Help);
        }

        internal static string CpuName()
        {
            try
            {
                foreach (string line in System.IO.File.ReadLines("/proc/cpuinfo"))
                {
                    if (line.StartsWith("model name", StringComparison.Ordinal))
                    {
                        return line.Substring(line.IndexOf(':') + 1).Trim();
                    }
                }
            }
            catch (Exception e) when (e is IOException || e is UnauthorizedAccessException)
            {
                // Not Linux.
            }
            return Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER") ?? "of an unknown kind";
        }
    }
}
