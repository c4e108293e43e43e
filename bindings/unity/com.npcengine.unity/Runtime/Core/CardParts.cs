using System;
using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>
    /// What of a card goes to the engine, and which part of a request is the largest. What no engine reads
    /// (pictures in assets, notes, books) may be megabytes, and a message may not. What is small goes along,
    /// so that a misspelt field is told of.
    /// </summary>
    internal static class CardParts
    {
        internal const int MaxUnread = 64 * 1024;

        private const int MaxPath = 8;
        private const int MaxKey = 64;

        /// <summary>What an engine reads, also by the names of older tools.</summary>
        private static readonly HashSet<string> Read = new HashSet<string>
        {
            "spec", "spec_version", "name", "nickname", "description", "personality", "scenario", "first_mes",
            "mes_example", "system_prompt", "post_history_instructions", "alternate_greetings", "tags", "char_name",
            "persona", "char_persona", "char_greeting", "world_scenario", "example_dialogue",
        };

        /// <summary>A card as it is sent.</summary>
        internal static Dictionary<string, object> ToSend(IDictionary<string, object> card)
        {
            var sent = new Dictionary<string, object>();
            foreach (KeyValuePair<string, object> field in card)
            {
                var inner = field.Value as IDictionary<string, object>;
                if (field.Key == "data" && inner != null)
                {
                    sent[field.Key] = ToSend(inner);
                }
                else if (Read.Contains(field.Key) || field.Key == "data" || Size(field.Value) <= MaxUnread)
                {
                    sent[field.Key] = field.Value;
                }
            }
            return sent;
        }

        /// <summary>Where most of a request is, such as card.data.description; "" when it is nowhere in particular.</summary>
        internal static string Heaviest(byte[] body)
        {
            var path = new List<string>();
            var reader = new MsgpackReader();
            reader.Start(body, 0, body.Length);
            while (path.Count < MaxPath && IsMap(body[reader.Position]))
            {
                string heaviest = null;
                int most = -1;
                int place = 0;
                for (int n = reader.ReadMap(); n > 0; n--)
                {
                    string key = reader.ReadText();
                    int from = reader.Position;
                    reader.Skip();
                    if (reader.Position - from > most)
                    {
                        heaviest = key;
                        most = reader.Position - from;
                        place = from;
                    }
                }
                if (heaviest == null || 4L * most < body.Length)
                {
                    break;
                }
                path.Add(heaviest.Substring(0, Math.Min(heaviest.Length, MaxKey)));
                reader.Seek(place);
            }
            return string.Join(".", path);
        }

        private static bool IsMap(byte lead) => (lead & 0xf0) == 0x80 || lead == 0xde || lead == 0xdf;

        private static int Size(object value)
        {
            try
            {
                var writer = new MsgpackWriter();
                writer.Value(value);
                return writer.Length;
            }
            catch (NpcException)
            {
                return 0;  // whoever sends it says what is wrong with it
            }
        }
    }
}
