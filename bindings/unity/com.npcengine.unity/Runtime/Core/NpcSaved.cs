using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>What was written into a save slot.</summary>
    public sealed class NpcSaved
    {
        internal NpcSaved()
        {
        }

        /// <summary>The slot.</summary>
        public string Slot { get; private set; } = "";

        /// <summary>The characters that were written.</summary>
        public IReadOnlyList<string> Npcs { get; private set; } = new string[0];

        /// <summary>Bytes on the disk.</summary>
        public long NBytes { get; private set; }

        /// <summary>Milliseconds that it took.</summary>
        public double Ms { get; private set; }

        internal static NpcSaved Read(MsgpackReader reader)
        {
            var it = new NpcSaved();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "slot": it.Slot = reader.ReadName(); break;
                    case "npcs": it.Npcs = reader.ReadNames(); break;
                    case "n_bytes": it.NBytes = reader.ReadLong(); break;
                    case "ms": it.Ms = reader.ReadDouble(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
