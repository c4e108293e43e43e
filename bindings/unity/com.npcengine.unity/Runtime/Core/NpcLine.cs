using System;

namespace NpcEngine
{
    /// <summary>One spoken sentence, ready for a balloon or for speech.</summary>
    public sealed class NpcLine
    {
        internal NpcLine()
        {
        }

        /// <summary>Who speaks.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>The sentence.</summary>
        public string Text { get; private set; } = "";

        /// <summary>Counts the lines of a reply, or of a scene, from 0.</summary>
        public int Index { get; private set; }

        /// <summary>Counts the records of a say, or of a scene, from 0.</summary>
        public int Seq { get; private set; }

        /// <summary>Unicode code points of the lines before this one.</summary>
        public int Start { get; internal set; }

        /// <summary>Unicode code points of this line.</summary>
        public int Length => CodePoints(Text, Text.Length);

        /// <summary>
        /// What an interrupt takes when the player has heard the lines before this one, and of this one so
        /// many chars (UTF-16 units, as in <c>Text.Length</c>).
        /// </summary>
        /// <param name="chars">0 to Text.Length; what is beyond counts as the nearest of these.</param>
        /// <returns>The code points that were heard of the whole reply.</returns>
        public int HeardAt(int chars) => Start + CodePoints(Text, Math.Max(0, Math.Min(chars, Text.Length)));

        internal static NpcLine Read(MsgpackReader reader)
        {
            var it = new NpcLine();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "text": it.Text = reader.ReadText(); break;
                    case "index": it.Index = reader.ReadInt(); break;
                    case "seq": it.Seq = reader.ReadInt(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }

        private static int CodePoints(string text, int chars)
        {
            int n = chars;
            for (int i = 1; i < chars; i++)
            {
                n -= char.IsSurrogatePair(text[i - 1], text[i]) ? 1 : 0;
            }
            return n;
        }
    }
}
