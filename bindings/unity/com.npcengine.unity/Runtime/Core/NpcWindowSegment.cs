namespace NpcEngine
{
    /// <summary>A run of tokens that is kept or evicted as one.</summary>
    public sealed class NpcWindowSegment
    {
        internal NpcWindowSegment()
        {
        }

        /// <summary>persona, open, close, end, event, said, note, reply; more may come.</summary>
        public string Kind { get; private set; } = "";

        /// <summary>The turn that it belongs to.</summary>
        public int Turn { get; private set; }

        /// <summary>The position of its first token; null if none is in the cache.</summary>
        public int? Start { get; private set; }

        /// <summary>Tokens.</summary>
        public int NTokens { get; private set; }

        /// <summary>Of these, its first ones, in the cache.</summary>
        public int NCached { get; private set; }

        /// <summary>Whether it is never evicted.</summary>
        public bool Pinned { get; private set; }

        /// <summary>0 to 1.</summary>
        public double Importance { get; private set; }

        /// <summary>How it begins.</summary>
        public string Text { get; private set; } = "";

        internal static NpcWindowSegment Read(MsgpackReader reader)
        {
            var it = new NpcWindowSegment();
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "kind": it.Kind = reader.ReadName(); break;
                    case "turn": it.Turn = reader.ReadInt(); break;
                    case "start": it.Start = reader.ReadNil() ? (int?)null : reader.ReadInt(); break;
                    case "n_tokens": it.NTokens = reader.ReadInt(); break;
                    case "n_cached": it.NCached = reader.ReadInt(); break;
                    case "pinned": it.Pinned = reader.ReadBool(); break;
                    case "importance": it.Importance = reader.ReadDouble(); break;
                    case "text": it.Text = reader.ReadText(); break;
                    default: reader.Skip(); break;
                }
            }
            return it;
        }
    }
}
