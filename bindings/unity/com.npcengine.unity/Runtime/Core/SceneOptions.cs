namespace NpcEngine
{
    /// <summary>What may be told of a scene. What is null is left to the engine.</summary>
    public sealed class SceneOptions
    {
        /// <summary>What they talk about, in a few words: "the missing bread".</summary>
        public string About { get; set; }

        /// <summary>How many turns it has, 1 to 64; the engine's default is 8.</summary>
        public int? Turns { get; set; }

        /// <summary>Who begins.</summary>
        public string First { get; set; }

        /// <summary>Of every turn; the engine's default is ambient.</summary>
        public NpcPriority? Priority { get; set; }

        /// <summary>The most tokens of each turn.</summary>
        public int? MaxTokens { get; set; }

        /// <summary>Which records come. Null: lines and gestures, and pieces of text when somebody listens.</summary>
        public NpcStream? Stream { get; set; }
    }
}
