namespace NpcEngine
{
    /// <summary>How one character came back from a save.</summary>
    public sealed class NpcLoadedCharacter
    {
        internal NpcLoadedCharacter()
        {
        }

        /// <summary>Its name.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>"payload" (the KV cache came back whole) or "tokens" (the text is read again).</summary>
        public string From { get; private set; } = "";

        /// <summary>Why it is read again, to log; or null.</summary>
        public string Notice { get; private set; }

        internal static NpcLoadedCharacter Read(MsgpackReader reader)
        {
            var it = new NpcLoadedCharacter();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "from": it.From = reader.ReadName(); break;
                    case "notice": it.Notice = reader.ReadTextOrNull(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
