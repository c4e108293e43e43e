using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>What an engine is and serves.</summary>
    public sealed class NpcWelcome
    {
        internal NpcWelcome()
        {
        }

        /// <summary>The version of the protocol that it speaks.</summary>
        public int Protocol { get; private set; }

        /// <summary>Its own version.</summary>
        public string Engine { get; private set; } = "";

        /// <summary>Its model: name, arch, n_params and more, as docs/protocol.md has them.</summary>
        public IReadOnlyDictionary<string, object> Model { get; private set; } = new Dictionary<string, object>();

        /// <summary>Its limits: window, max_tokens and more.</summary>
        public IReadOnlyDictionary<string, object> Limits { get; private set; } = new Dictionary<string, object>();

        /// <summary>The characters that are there already.</summary>
        public IReadOnlyList<string> Npcs { get; private set; } = new string[0];

        internal static NpcWelcome Read(MsgpackReader reader)
        {
            var it = new NpcWelcome();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "protocol": it.Protocol = reader.ReadInt(); break;
                    case "engine": it.Engine = reader.ReadText(); break;
                    case "model": it.Model = Replies.ReadMap(reader); break;
                    case "limits": it.Limits = Replies.ReadMap(reader); break;
                    case "npcs": it.Npcs = reader.ReadNames(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
