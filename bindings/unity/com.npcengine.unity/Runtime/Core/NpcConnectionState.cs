namespace NpcEngine
{
    /// <summary>How it stands with the connection to the engine.</summary>
    public enum NpcConnectionState
    {
        /// <summary>There is none, and none is being made.</summary>
        Disconnected,

        /// <summary>The first one is being made.</summary>
        Connecting,

        /// <summary>The engine answers.</summary>
        Connected,

        /// <summary>It was lost and is being made again.</summary>
        Reconnecting,

        /// <summary>The client was disposed.</summary>
        Disposed,
    }
}
