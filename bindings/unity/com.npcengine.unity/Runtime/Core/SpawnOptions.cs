namespace NpcEngine
{
    /// <summary>What may be told when a character is brought to life.</summary>
    public sealed class SpawnOptions
    {
        /// <summary>How it chooses its words; null: as the engine has it, or as it was saved.</summary>
        public NpcSampling Sampling { get; set; }

        /// <summary>
        /// Tokens that it may hold, persona included; null: the engine's window, or the saved one.
        /// </summary>
        public int? Window { get; set; }

        /// <summary>A save slot to go on from, if that holds this character; or null.</summary>
        public string Restore { get; set; }

        /// <summary>
        /// Whether a restored character keeps the card that it was saved with; else the card given
        /// counts: a changed persona is read again, and the talk behind it kept.
        /// </summary>
        public bool KeepsSavedCard { get; set; }
    }
}
