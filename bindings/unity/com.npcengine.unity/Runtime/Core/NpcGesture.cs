namespace NpcEngine
{
    /// <summary>A stage direction such as "nods": to be shown or acted, never spoken.</summary>
    public sealed class NpcGesture
    {
        internal NpcGesture()
        {
        }

        /// <summary>Who speaks.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>The direction, without asterisks.</summary>
        public string Text { get; private set; } = "";

        /// <summary>Counts the records of a say, or of a scene, from 0.</summary>
        public int Seq { get; private set; }

        internal static NpcGesture Read(MsgpackReader reader)
        {
            var it = new NpcGesture();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "text": it.Text = reader.ReadText(); break;
                    case "seq": it.Seq = reader.ReadInt(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
