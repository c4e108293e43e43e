using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>What came back from a save slot.</summary>
    public sealed class NpcLoaded
    {
        internal NpcLoaded()
        {
        }

        /// <summary>The slot.</summary>
        public string Slot { get; private set; } = "";

        /// <summary>The characters that came back.</summary>
        public IReadOnlyList<NpcLoadedCharacter> Npcs { get; private set; } = new NpcLoadedCharacter[0];

        /// <summary>Milliseconds that it took.</summary>
        public double Ms { get; private set; }

        internal static NpcLoaded Read(MsgpackReader reader)
        {
            var it = new NpcLoaded();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "slot": it.Slot = reader.ReadName(); break;
                    case "npcs": it.Npcs = Replies.ReadList(reader, NpcLoadedCharacter.Read); break;
                    case "ms": it.Ms = reader.ReadDouble(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
