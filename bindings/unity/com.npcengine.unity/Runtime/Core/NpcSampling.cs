using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>How a character chooses its words. What is null is left to the engine.</summary>
    public sealed class NpcSampling
    {
        /// <summary>0: always the likeliest token.</summary>
        public double? Temperature { get; set; }

        /// <summary>Keeps the k likeliest tokens; 0: all.</summary>
        public int? TopK { get; set; }

        /// <summary>Nucleus sampling; 1: off.</summary>
        public double? TopP { get; set; }

        /// <summary>Relative to the likeliest token; 0: off.</summary>
        public double? MinP { get; set; }

        /// <summary>Against recent tokens; 1: off.</summary>
        public double? RepeatPenalty { get; set; }

        /// <summary>How many recent tokens that means.</summary>
        public int? RepeatLastN { get; set; }

        /// <summary>Against frequent tokens; 0: off.</summary>
        public double? FrequencyPenalty { get; set; }

        /// <summary>Against tokens that came already; 0: off.</summary>
        public double? PresencePenalty { get; set; }

        /// <summary>Against saying a whole phrase again; 0: off.</summary>
        public double? Dry { get; set; }

        /// <summary>The same seed, the same words.</summary>
        public uint? Seed { get; set; }

        /// <summary>Texts that end a reply.</summary>
        public IReadOnlyList<string> Stop { get; set; }

        internal Dictionary<string, object> ToMap()
        {
            var map = new Dictionary<string, object>();
            Put(map, "temperature", Temperature);
            Put(map, "top_k", TopK);
            Put(map, "top_p", TopP);
            Put(map, "min_p", MinP);
            Put(map, "repeat_penalty", RepeatPenalty);
            Put(map, "repeat_last_n", RepeatLastN);
            Put(map, "frequency_penalty", FrequencyPenalty);
            Put(map, "presence_penalty", PresencePenalty);
            Put(map, "dry", Dry);
            Put(map, "seed", Seed);
            Put(map, "stop", Stop == null ? null : new List<string>(Stop));
            return map;
        }

        private static void Put(Dictionary<string, object> map, string key, object value)
        {
            if (value != null)
            {
                map[key] = value;
            }
        }
    }
}
