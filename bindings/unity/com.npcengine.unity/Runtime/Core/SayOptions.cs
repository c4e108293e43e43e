using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>What may be told with a say. What is null is left to the engine.</summary>
    public sealed class SayOptions
    {
        /// <summary>Who says it, 1 to 64 characters; the engine's default is "Player".</summary>
        public string Speaker { get; set; }

        /// <summary>Whose reply is computed first; the engine's default is the player's.</summary>
        public NpcPriority? Priority { get; set; }

        /// <summary>The most tokens of the reply.</summary>
        public int? MaxTokens { get; set; }

        /// <summary>
        /// Which records come. Null: lines and gestures, and pieces of text when somebody has subscribed to
        /// TextStreamed.
        /// </summary>
        public NpcStream? Stream { get; set; }

        /// <summary>What counts for this turn alone and is then forgotten: "It is raining."</summary>
        public IReadOnlyList<string> Notes { get; set; }
    }
}
