using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>The talk as a character remembers it.</summary>
    public sealed class NpcTranscript
    {
        internal NpcTranscript()
        {
        }

        /// <summary>Whose memory it is.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>Its turns, the oldest first.</summary>
        public IReadOnlyList<NpcTranscriptTurn> Turns { get; private set; } = new NpcTranscriptTurn[0];

        /// <summary>How many turns have left its window.</summary>
        public int NForgotten { get; private set; }

        internal static NpcTranscript Read(MsgpackReader reader)
        {
            var it = new NpcTranscript();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "turns": it.Turns = Replies.ReadList(reader, NpcTranscriptTurn.Read); break;
                    case "n_forgotten": it.NForgotten = reader.ReadInt(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
