namespace NpcEngine
{
    /// <summary>What the engine says of a character that it has brought to life.</summary>
    public sealed class NpcSpawned
    {
        internal NpcSpawned()
        {
        }

        /// <summary>The character's name in the engine.</summary>
        public string Npc { get; private set; } = "";

        /// <summary>Tokens of the persona, which never leave its window.</summary>
        public int NPinned { get; private set; }

        /// <summary>Of these, those that it shares with the world or another character.</summary>
        public int NShared { get; private set; }

        /// <summary>Whether it goes on from a save.</summary>
        public bool Restored { get; private set; }

        /// <summary>The card's first words, or empty. Show them if you like: it knows that it said them.</summary>
        public string Greeting { get; private set; } = "";

        /// <summary>Something to log, or null.</summary>
        public string Notice { get; private set; }

        internal static NpcSpawned Read(MsgpackReader reader)
        {
            var it = new NpcSpawned();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "npc": it.Npc = reader.ReadName(); break;
                    case "n_pinned": it.NPinned = reader.ReadInt(); break;
                    case "n_shared": it.NShared = reader.ReadInt(); break;
                    case "restored": it.Restored = reader.ReadBool(); break;
                    case "greeting": it.Greeting = reader.ReadText(); break;
                    case "notice": it.Notice = reader.ReadTextOrNull(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
