using System.Collections.Generic;
using System.Text;

namespace NpcEngine
{
    /// <summary>
    /// Puts arguments into one line as Windows programs take it apart again. Mono on Linux and macOS does
    /// so alike, but for two backslashes in a row.
    /// </summary>
    internal static class CommandLine
    {
        internal static string Join(IEnumerable<string> arguments)
        {
            var line = new StringBuilder();
            foreach (string argument in arguments)
            {
                if (line.Length > 0)
                {
                    line.Append(' ');
                }
                Append(line, argument ?? "");
            }
            return line.ToString();
        }

        private static void Append(StringBuilder line, string argument)
        {
            line.Append('"');
            int backslashes = 0;
            foreach (char c in argument)
            {
                if (c == '\\')
                {
                    backslashes++;
                    continue;
                }
                line.Append('\\', c == '"' ? 2 * backslashes + 1 : backslashes);
                backslashes = 0;
                line.Append(c);
            }
            line.Append('\\', 2 * backslashes);
            line.Append('"');
        }
    }
}
