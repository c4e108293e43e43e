namespace NpcEngine
{
    /// <summary>The words of the wire for NpcReason.</summary>
    internal static class NpcReasons
    {
        internal static NpcReason Read(MsgpackReader reader)
        {
            switch (reader.ReadName())
            {
                case "stop": return NpcReason.Stop;
                case "length": return NpcReason.Length;
                case "cancelled": return NpcReason.Cancelled;
                case "slow_client": return NpcReason.SlowClient;
                case "turns": return NpcReason.Turns;
                case "alone": return NpcReason.Alone;
                default: return NpcReason.Other;
            }
        }
    }
}
