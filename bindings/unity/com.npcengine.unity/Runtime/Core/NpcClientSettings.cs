using System;

namespace NpcEngine
{
    /// <summary>Where an engine is, and how long to wait for it. Read once, when a client is made.</summary>
    public sealed class NpcClientSettings
    {
        /// <summary>Where the engine listens, as on its READY line.</summary>
        public string Endpoint { get; set; } = "tcp://127.0.0.1:5757";

        /// <summary>The engine's token, or null if it has none.</summary>
        public string Token { get; set; }

        /// <summary>The game's name in the engine's log.</summary>
        public string ClientName { get; set; } = "csharp";

        /// <summary>How long ConnectAsync tries: an engine that is starting is waited for.</summary>
        public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(10);

        /// <summary>The limit of requests that are answered at once.</summary>
        public TimeSpan RequestTimeout { get; set; } = TimeSpan.FromSeconds(30);

        /// <summary>The longest silence of a say or scene, and the limit of pins and rewinds, which wait for a line.</summary>
        public TimeSpan SayTimeout { get; set; } = TimeSpan.FromSeconds(60);

        /// <summary>The limit of saving and loading.</summary>
        public TimeSpan FileTimeout { get; set; } = TimeSpan.FromSeconds(120);

        /// <summary>How often the client asks the connection for a sign of life.</summary>
        public TimeSpan HeartbeatInterval { get; set; } = TimeSpan.FromSeconds(5);

        /// <summary>After how long without one the engine counts as gone.</summary>
        public TimeSpan HeartbeatTimeout { get; set; } = TimeSpan.FromSeconds(15);

        /// <summary>Whether a connection that was lost is made again, as often as it takes.</summary>
        public bool Reconnect { get; set; } = true;

        /// <summary>
        /// How many records may wait for Pump. When there are more the client stops reading, and in the end
        /// the engine ends the says with NpcReason.SlowClient.
        /// </summary>
        public int MaxWaitingRecords { get; set; } = 1024;

        /// <summary>The longest message of the engine that is taken, in bytes; a longer one ends the connection.</summary>
        public int MaxMessageBytes { get; set; } = 4 * 1024 * 1024;

        internal NpcClientSettings Copy()
        {
            CheckPositive("ConnectTimeout", ConnectTimeout.TotalMilliseconds);
            CheckPositive("RequestTimeout", RequestTimeout.TotalMilliseconds);
            CheckPositive("SayTimeout", SayTimeout.TotalMilliseconds);
            CheckPositive("FileTimeout", FileTimeout.TotalMilliseconds);
            CheckPositive("HeartbeatInterval", HeartbeatInterval.TotalMilliseconds);
            CheckPositive("HeartbeatTimeout", HeartbeatTimeout.TotalMilliseconds);
            CheckPositive("MaxWaitingRecords", MaxWaitingRecords);
            CheckPositive("MaxMessageBytes", MaxMessageBytes);
            return (NpcClientSettings)MemberwiseClone();
        }

        private static void CheckPositive(string name, double value)
        {
            if (value < 1)
            {
                throw new NpcException(
                    NpcErrorCode.BadCall, name + " is " + value + ".", "Give one that is larger than 0.");
            }
        }
    }
}
