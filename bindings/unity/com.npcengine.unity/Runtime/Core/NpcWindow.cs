using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>What a character has in its window, for developers' tools. Counts are in tokens.</summary>
    public sealed class NpcWindow
    {
        internal NpcWindow()
        {
        }

        /// <summary>Its name.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>As in NpcInfo.</summary>
        public string State { get; private set; } = "";

        /// <summary>Whether a say to it is being served.</summary>
        public bool Speaking { get; private set; }

        /// <summary>The turn that is open.</summary>
        public int Turn { get; private set; }

        /// <summary>Tokens that it may hold.</summary>
        public int NWindow { get; private set; }

        /// <summary>Tokens that it holds.</summary>
        public int NTokens { get; private set; }

        /// <summary>Of these, those in the KV cache.</summary>
        public int NCells { get; private set; }

        /// <summary>Of these, those that are never evicted.</summary>
        public int NPinned { get; private set; }

        /// <summary>The position of the next token.</summary>
        public int NextPos { get; private set; }

        /// <summary>Positions that the model was trained for.</summary>
        public int NPos { get; private set; }

        /// <summary>From this position on a pause is used to close the holes.</summary>
        public int RenumberAt { get; private set; }

        /// <summary>Tokens evicted so far.</summary>
        public long NEvicted { get; private set; }

        /// <summary>How often the holes were closed so far.</summary>
        public int NRenumbered { get; private set; }

        /// <summary>Its parts, in the order in which they were said.</summary>
        public IReadOnlyList<NpcWindowSegment> Segments { get; private set; } = new NpcWindowSegment[0];

        internal static NpcWindow Read(MsgpackReader reader)
        {
            var it = new NpcWindow();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "state": it.State = reader.ReadName(); break;
                    case "speaking": it.Speaking = reader.ReadBool(); break;
                    case "turn": it.Turn = reader.ReadInt(); break;
                    case "n_window": it.NWindow = reader.ReadInt(); break;
                    case "n_tokens": it.NTokens = reader.ReadInt(); break;
                    case "n_cells": it.NCells = reader.ReadInt(); break;
                    case "n_pinned": it.NPinned = reader.ReadInt(); break;
                    case "next_pos": it.NextPos = reader.ReadInt(); break;
                    case "n_pos": it.NPos = reader.ReadInt(); break;
                    case "renumber_at": it.RenumberAt = reader.ReadInt(); break;
                    case "n_evicted": it.NEvicted = reader.ReadLong(); break;
                    case "n_renumbered": it.NRenumbered = reader.ReadInt(); break;
                    case "segments": it.Segments = Replies.ReadList(reader, NpcWindowSegment.Read); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
