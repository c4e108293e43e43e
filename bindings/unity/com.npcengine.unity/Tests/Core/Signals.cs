using System.Diagnostics;
using System.IO;

namespace NpcEngine.Tests
{
    /// <summary>What Linux tells of processes and threads, and does to them.</summary>
    internal static class Signals
    {
        internal static void Send(int process, string signal)
        {
            using (Process kill = Process.Start("/bin/kill", "-" + signal + " " + process))
            {
                kill.WaitForExit();
            }
        }

        /// <summary>Whether a process runs; one that has ended and is not waited for does not.</summary>
        internal static bool IsAlive(int process)
        {
            try
            {
                string stat = File.ReadAllText("/proc/" + process + "/stat");
                return stat[stat.LastIndexOf(')') + 2] != 'Z';
            }
            catch (IOException)
            {
                return false;
            }
        }

        /// <summary>How many threads of this process are ours.</summary>
        internal static int OwnThreads()
        {
            int n = 0;
            foreach (string folder in Directory.GetDirectories("/proc/self/task"))
            {
                try
                {
                    n += File.ReadAllText(folder + "/comm").StartsWith("npc-engine") ? 1 : 0;
                }
                catch (IOException)
                {
                    // It ended just now.
                }
            }
            return n;
        }

        /// <summary>How many children this process has that are not waited for, or run.</summary>
        internal static int Children()
        {
            int n = 0;
            foreach (string folder in Directory.GetDirectories("/proc/self/task"))
            {
                string children = folder + "/children";
                n += File.Exists(children) ? File.ReadAllText(children).Split(new[] { ' ' }, System.StringSplitOptions.RemoveEmptyEntries).Length : 0;
            }
            return n;
        }

        internal static int OpenFiles() => Directory.GetFileSystemEntries("/proc/self/fd").Length;
    }
}
