namespace NpcEngine
{
    /// <summary>A piece of a reply as it is decoded. The same words come as lines and gestures: show the one or the others.</summary>
    public sealed class NpcText
    {
        internal NpcText()
        {
        }

        /// <summary>Who speaks.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>The piece.</summary>
        public string Text { get; private set; } = "";

        /// <summary>Counts the records of a say, or of a scene, from 0.</summary>
        public int Seq { get; private set; }

        internal static NpcText Read(MsgpackReader reader)
        {
            var it = new NpcText();
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
