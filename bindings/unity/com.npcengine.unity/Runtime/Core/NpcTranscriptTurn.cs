using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>One turn of a transcript.</summary>
    public sealed class NpcTranscriptTurn
    {
        internal NpcTranscriptTurn()
        {
        }

        /// <summary>Its number.</summary>
        public int Turn { get; private set; }

        /// <summary>Whether it is never forgotten.</summary>
        public bool Pinned { get; private set; }

        /// <summary>What happened, in its order.</summary>
        public IReadOnlyList<NpcTranscriptEntry> Entries { get; private set; } = new NpcTranscriptEntry[0];

        internal static NpcTranscriptTurn Read(MsgpackReader reader)
        {
            var it = new NpcTranscriptTurn();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "turn": it.Turn = reader.ReadInt(); break;
                    case "pinned": it.Pinned = reader.ReadBool(); break;
                    case "entries": it.Entries = Replies.ReadList(reader, NpcTranscriptEntry.Read); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
