namespace NpcEngine
{
    /// <summary>What every record has: its type, whose it is, and whether others follow.</summary>
    internal struct RecordHead
    {
        internal string Type;
        internal long Id;
        internal bool IsTerminal;

        /// <summary>
        /// Reads all of a frame for its head, and goes back to its start. An id that is none of ours is 0.
        /// Throws NpcException for what is no record.
        /// </summary>
        internal static RecordHead Read(MsgpackReader reader)
        {
            var head = new RecordHead { IsTerminal = true };
            int start = reader.Position;
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "type": head.Type = reader.ReadName(); break;
                    case "id": head.Id = reader.ReadId(); break;
                    case "seq": head.IsTerminal = reader.ReadLong() < 0; break;
                    default: reader.Skip(); break;
                }
            }
            if (head.Type == null || !reader.AtEnd)
            {
                throw reader.Bad(head.Type == null ? "it has no type" : "more follows behind its end");
            }
            reader.Seek(start);
            return head;
        }
    }
}
