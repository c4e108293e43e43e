namespace NpcEngine
{
    /// <summary>The end of one character's turn in a scene.</summary>
    public sealed class NpcTurn
    {
        internal NpcTurn()
        {
        }

        /// <summary>Who spoke.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>All that it said, as it remembers it.</summary>
        public string Text { get; private set; } = "";

        /// <summary>The number of this turn, for PinTurnAsync.</summary>
        public int Turn { get; private set; }

        /// <summary>Counts the records of the scene from 0.</summary>
        public int Seq { get; private set; }

        internal static NpcTurn Read(MsgpackReader reader)
        {
            var it = new NpcTurn();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "text": it.Text = reader.ReadText(); break;
                    case "turn": it.Turn = reader.ReadInt(); break;
                    case "seq": it.Seq = reader.ReadInt(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
