namespace NpcEngine
{
    /// <summary>How a scene ended.</summary>
    public sealed class NpcSceneEnd
    {
        internal NpcSceneEnd()
        {
        }

        /// <summary>The scene's name.</summary>
        public string Scene { get; private set; } = "";

        /// <summary>How many turns were spoken.</summary>
        public int NTurns { get; private set; }

        /// <summary>Why it ended.</summary>
        public NpcReason Reason { get; private set; }

        internal static NpcSceneEnd Read(MsgpackReader reader)
        {
            var it = new NpcSceneEnd();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "scene": it.Scene = reader.ReadName(); break;
                    case "n_turns": it.NTurns = reader.ReadInt(); break;
                    case "reason": it.Reason = NpcReasons.Read(reader); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
