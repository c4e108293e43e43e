using System;
using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>How an engine is started. Read once, by StartAsync.</summary>
    public sealed class EngineProcessSettings
    {
        /// <summary>The program: a path, or a name that the system finds.</summary>
        public string Executable { get; set; } = "npc-engine";

        /// <summary>What stands between the program and "serve": "-m", "npc_engine" for a Python.</summary>
        public IReadOnlyList<string> FirstArguments { get; set; } = new string[0];

        /// <summary>The GGUF model.</summary>
        public string Model { get; set; }

        /// <summary>The folder of the save slots; null: the engine's default.</summary>
        public string SavesFolder { get; set; }

        /// <summary>More flags of npc-engine serve: "--window", "4096".</summary>
        public IReadOnlyList<string> MoreArguments { get; set; } = new string[0];

        /// <summary>Where the program starts; null: where the game did.</summary>
        public string WorkingFolder { get; set; }

        /// <summary>How long it may take until it is ready; a large model on a slow disk takes its time.</summary>
        public TimeSpan ReadyTimeout { get; set; } = TimeSpan.FromSeconds(120);
    }
}
