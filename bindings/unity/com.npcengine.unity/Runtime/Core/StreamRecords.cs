namespace NpcEngine
{
    /// <summary>The records that come before the end of a say or scene.</summary>
    internal static class StreamRecords
    {
        /// <summary>The record, or null where its type is not known. `received` counts the lines' code points.</summary>
        internal static object Read(string type, MsgpackReader reader, ref int received)
        {
            switch (type)
            {
                case "line":
                    NpcLine line = NpcLine.Read(reader);
                    line.Start = received;
                    received += line.Length;
                    return line;
                case "gesture": return NpcGesture.Read(reader);
                case "text": return NpcText.Read(reader);
                case "turn": return NpcTurn.Read(reader);
                default: return null;
            }
        }
    }
}
