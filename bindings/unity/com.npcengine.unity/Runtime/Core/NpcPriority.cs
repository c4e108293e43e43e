namespace NpcEngine
{
    /// <summary>Whose reply is computed first.</summary>
    public enum NpcPriority
    {
        /// <summary>The player waits for it.</summary>
        Player,

        /// <summary>Speech near the player.</summary>
        Near,

        /// <summary>Chatter that nobody waits for; alone it takes at most half of the engine's time.</summary>
        Ambient,
    }
}
