namespace NpcEngine
{
    /// <summary>What a reply has cost. Times are in milliseconds.</summary>
    public sealed class NpcReplyStats
    {
        internal NpcReplyStats()
        {
        }

        /// <summary>Tokens that this turn added to the prompt.</summary>
        public int NPrompt { get; private set; }

        /// <summary>Tokens that were in the cache already.</summary>
        public int NCached { get; private set; }

        /// <summary>Tokens of the reply.</summary>
        public int NDecoded { get; private set; }

        /// <summary>Tokens that left the window.</summary>
        public int NEvicted { get; private set; }

        /// <summary>How long it waited for its turn.</summary>
        public double QueueMs { get; private set; }

        /// <summary>From the engine's receipt of the say to the first token.</summary>
        public double TtftMs { get; private set; }

        /// <summary>Tokens per second.</summary>
        public double DecodeTps { get; private set; }

        /// <summary>From the receipt to the end.</summary>
        public double TotalMs { get; private set; }

        internal static NpcReplyStats Read(MsgpackReader reader)
        {
            var it = new NpcReplyStats();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "n_prompt": it.NPrompt = reader.ReadInt(); break;
                    case "n_cached": it.NCached = reader.ReadInt(); break;
                    case "n_decoded": it.NDecoded = reader.ReadInt(); break;
                    case "n_evicted": it.NEvicted = reader.ReadInt(); break;
                    case "queue_ms": it.QueueMs = reader.ReadDouble(); break;
                    case "ttft_ms": it.TtftMs = reader.ReadDouble(); break;
                    case "decode_tps": it.DecodeTps = reader.ReadDouble(); break;
                    case "total_ms": it.TotalMs = reader.ReadDouble(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
