using System.Collections.Generic;
using System.Text.RegularExpressions;

namespace NpcEngine
{
    /// <summary>The last lines of the engine's log.</summary>
    internal sealed class LogTail
    {
        private const int Kept = 200;
        private const int MaxLine = 4096;

        private readonly Queue<string> _lines = new Queue<string>();

        internal void Add(string line)
        {
            lock (_lines)
            {
                _lines.Enqueue(line.Length > MaxLine ? line.Substring(0, MaxLine) : line);
                if (_lines.Count > Kept)
                {
                    _lines.Dequeue();
                }
            }
        }

        internal string[] ToArray()
        {
            lock (_lines)
            {
                return _lines.ToArray();
            }
        }

        /// <summary>The last lines that say anything, as one sentence after the other.</summary>
        internal string LastWords()
        {
            var said = new List<string>();
            foreach (string line in ToArray())
            {
                if (line.Trim() != "" && !Regex.IsMatch(line, @"Loading .* \d+ %$"))
                {
                    said.Add(line.Trim());
                }
            }
            return string.Join(" ", said.GetRange(said.Count > 3 ? said.Count - 3 : 0, said.Count > 3 ? 3 : said.Count));
        }
    }
}
