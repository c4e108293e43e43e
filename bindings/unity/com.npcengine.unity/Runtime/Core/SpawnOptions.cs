namespace NpcEngine
{
    /// <summary>What may be told when a character is brought to life.</summary>
    public sealed class SpawnOptions
    {
        /// <summary>How it chooses its words; null: as the card or the engine has it.</summary>
        public NpcSampling Sampling { get; set; }

        /// <summary>Tokens that it may hold, persona included; null: the engine's window.</summary>
        public int? Window { get; set; }

        /// <summary>A save slot to go on from, if that holds this character; or null.</summary>
        public string Restore { get; set; }
    }
}
