namespace NpcEngine
{
    /// <summary>Why a reply or a scene ended.</summary>
    public enum NpcReason
    {
        /// <summary>A reason that this version does not know.</summary>
        Other,

        /// <summary>The character had finished.</summary>
        Stop,

        /// <summary>The reply was as long as it may be.</summary>
        Length,

        /// <summary>It was interrupted, or the engine has ended.</summary>
        Cancelled,

        /// <summary>The game did not read what came.</summary>
        SlowClient,

        /// <summary>(scene) All its turns were spoken.</summary>
        Turns,

        /// <summary>(scene) Fewer than two characters are left.</summary>
        Alone,
    }
}
