namespace NpcEngine
{
    /// <summary>One thing that happened in a turn.</summary>
    public sealed class NpcTranscriptEntry
    {
        internal NpcTranscriptEntry()
        {
        }

        /// <summary>event, heard, said or reply; more may come.</summary>
        public string Kind { get; private set; } = "";

        /// <summary>As the character remembers it.</summary>
        public string Text { get; private set; } = "";

        /// <summary>Who said it, where that is known; or null.</summary>
        public string Speaker { get; private set; }

        internal static NpcTranscriptEntry Read(MsgpackReader reader)
        {
            var it = new NpcTranscriptEntry();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "kind": it.Kind = reader.ReadName(); break;
                    case "text": it.Text = reader.ReadText(); break;
                    case "speaker": it.Speaker = reader.ReadNameOrNull(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
