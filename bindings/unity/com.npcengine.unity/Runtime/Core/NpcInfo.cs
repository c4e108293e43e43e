namespace NpcEngine
{
    /// <summary>The state of one character in the engine.</summary>
    public sealed class NpcInfo
    {
        internal NpcInfo()
        {
        }

        /// <summary>Its name in the engine.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>The name on its card.</summary>
        public string CardName { get; private set; } = "";

        /// <summary>"resident" (in the KV cache), "parked" (in memory) or "frozen" (on disk).</summary>
        public string State { get; private set; } = "";

        /// <summary>Tokens that it holds.</summary>
        public int NTokens { get; private set; }

        /// <summary>Of these, those that are never evicted.</summary>
        public int NPinned { get; private set; }

        /// <summary>Tokens that it may hold.</summary>
        public int NWindow { get; private set; }

        /// <summary>Whether a say to it is being served.</summary>
        public bool Speaking { get; private set; }

        /// <summary>The priority of that say, or of the first that waits; or null.</summary>
        public string Priority { get; private set; }

        /// <summary>Says that wait for it.</summary>
        public int NWaiting { get; private set; }

        /// <summary>Events that wait until it has finished its line.</summary>
        public int NEvents { get; private set; }

        /// <summary>Of its tokens, those that are not read yet.</summary>
        public int NPending { get; private set; }

        /// <summary>The scene that it is in, or null.</summary>
        public string Scene { get; private set; }

        internal static NpcInfo Read(MsgpackReader reader)
        {
            var it = new NpcInfo();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "name": it.CardName = reader.ReadText(); break;
                    case "state": it.State = reader.ReadName(); break;
                    case "n_tokens": it.NTokens = reader.ReadInt(); break;
                    case "n_pinned": it.NPinned = reader.ReadInt(); break;
                    case "n_window": it.NWindow = reader.ReadInt(); break;
                    case "speaking": it.Speaking = reader.ReadBool(); break;
                    case "priority": it.Priority = reader.ReadNameOrNull(); break;
                    case "n_waiting": it.NWaiting = reader.ReadInt(); break;
                    case "n_events": it.NEvents = reader.ReadInt(); break;
                    case "n_pending": it.NPending = reader.ReadInt(); break;
                    case "scene": it.Scene = reader.ReadNameOrNull(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
