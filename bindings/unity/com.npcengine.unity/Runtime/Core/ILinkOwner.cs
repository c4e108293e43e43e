namespace NpcEngine
{
    /// <summary>Whoever is told of a Link, on its reading thread.</summary>
    internal interface ILinkOwner
    {
        /// <summary>The engine has welcomed this client.</summary>
        void OnUp(Link link, NpcWelcome welcome);

        /// <summary>A message is in the frame, until the next one is read.</summary>
        void OnMessage(FrameReader frame);

        /// <summary>The connection is gone; with isFinal no other will be made.</summary>
        void OnDown(Link link, NpcException why, bool wasUp, bool isFinal);

        /// <summary>A new id for the hello.</summary>
        long NewId();
    }
}
