namespace NpcEngine
{
    /// <summary>What a character will never forget.</summary>
    public sealed class NpcPinned
    {
        internal NpcPinned()
        {
        }

        /// <summary>Whose memory it is in.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>What UnpinAsync takes.</summary>
        public int Turn { get; private set; }

        /// <summary>Tokens of this pin.</summary>
        public int NTokens { get; private set; }

        /// <summary>Tokens of all that is pinned, persona included.</summary>
        public int NPinned { get; private set; }

        /// <summary>Tokens that further pins may have.</summary>
        public int NLeft { get; private set; }

        internal static NpcPinned Read(MsgpackReader reader)
        {
            var it = new NpcPinned();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "turn": it.Turn = reader.ReadInt(); break;
                    case "n_tokens": it.NTokens = reader.ReadInt(); break;
                    case "n_pinned": it.NPinned = reader.ReadInt(); break;
                    case "n_left": it.NLeft = reader.ReadInt(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
