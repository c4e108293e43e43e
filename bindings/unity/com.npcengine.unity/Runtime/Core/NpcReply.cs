namespace NpcEngine
{
    /// <summary>How a character's answer to a say ended.</summary>
    public sealed class NpcReply
    {
        internal NpcReply()
        {
        }

        /// <summary>Who spoke.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>The whole reply as the character remembers it, gestures included.</summary>
        public string Text { get; private set; } = "";

        /// <summary>Why it ended.</summary>
        public NpcReason Reason { get; private set; }

        /// <summary>Whether what was said to it was too long and was cut.</summary>
        public bool Truncated { get; private set; }

        /// <summary>The number of this turn, for PinTurnAsync and RewindToAsync; 0: nothing was said.</summary>
        public int Turn { get; private set; }

        /// <summary>What it has cost.</summary>
        public NpcReplyStats Stats { get; private set; } = new NpcReplyStats();

        internal static NpcReply Read(MsgpackReader reader)
        {
            var it = new NpcReply();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "text": it.Text = reader.ReadText(); break;
                    case "reason": it.Reason = NpcReasons.Read(reader); break;
                    case "truncated": it.Truncated = reader.ReadBool(); break;
                    case "turn": it.Turn = reader.ReadInt(); break;
                    case "stats": it.Stats = NpcReplyStats.Read(reader); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
