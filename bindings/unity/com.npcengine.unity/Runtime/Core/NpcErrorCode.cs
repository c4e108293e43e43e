namespace NpcEngine
{
    /// <summary>
    /// The codes of <see cref="NpcException"/>. Those of the engine are in docs/protocol.md; treat one
    /// that you do not know as <see cref="Internal"/>.
    /// </summary>
    public static class NpcErrorCode
    {
        /// <summary>A request or reply is not as the protocol wants it: log it.</summary>
        public const string BadMessage = "bad_message";

        /// <summary>The engine wants a token, and this client has not shown the right one.</summary>
        public const string Unauthorized = "unauthorized";

        /// <summary>Engine and client are of versions that do not go together.</summary>
        public const string ProtocolVersion = "protocol_version";

        /// <summary>A text, card or message is over its limit.</summary>
        public const string TooLarge = "too_large";

        /// <summary>No character of that name is spawned.</summary>
        public const string UnknownNpc = "unknown_npc";

        /// <summary>A character of that name is spawned already.</summary>
        public const string NpcExists = "npc_exists";

        /// <summary>A card cannot be read.</summary>
        public const string BadCard = "bad_card";

        /// <summary>There is no such save.</summary>
        public const string UnknownSlot = "unknown_slot";

        /// <summary>A save cannot be written, or is damaged.</summary>
        public const string BadSnapshot = "bad_snapshot";

        /// <summary>Too many requests wait: try again later.</summary>
        public const string Busy = "busy";

        /// <summary>A turn, scene or reply that is not there.</summary>
        public const string UnknownTarget = "unknown_target";

        /// <summary>The engine's own fault; its log has the details.</summary>
        public const string Internal = "internal";

        /// <summary>(client) The engine is gone, or was never there.</summary>
        public const string ConnectionLost = "connection_lost";

        /// <summary>(client) The engine did not answer in time.</summary>
        public const string Timeout = "timeout";

        /// <summary>(client) The client was disposed.</summary>
        public const string Closed = "closed";

        /// <summary>(client) The library was called in a way that cannot work.</summary>
        public const string BadCall = "bad_call";

        /// <summary>(client) The engine's process cannot be started, or ended too early.</summary>
        public const string Setup = "setup";
    }
}
