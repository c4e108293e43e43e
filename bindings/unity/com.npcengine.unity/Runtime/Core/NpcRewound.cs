namespace NpcEngine
{
    /// <summary>To where a character has gone back.</summary>
    public sealed class NpcRewound
    {
        internal NpcRewound()
        {
        }

        /// <summary>Who has forgotten.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>The last turn that it knows of now; 0: none.</summary>
        public int Turn { get; private set; }

        /// <summary>How many turns of its window it has forgotten.</summary>
        public int NForgotten { get; private set; }

        internal static NpcRewound Read(MsgpackReader reader)
        {
            var it = new NpcRewound();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "turn": it.Turn = reader.ReadInt(); break;
                    case "n_forgotten": it.NForgotten = reader.ReadInt(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
