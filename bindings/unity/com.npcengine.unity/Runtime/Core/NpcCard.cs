using System;
using System.Collections.Generic;
using System.IO;

namespace NpcEngine
{
    /// <summary>
    /// Who a character is: a Character Card V2 or V3, or just a name and a description. The engine reads
    /// it, and says what is wrong with it when it is spawned.
    /// </summary>
    public sealed class NpcCard
    {
        private const int MaxCardBytes = 4 * 1024 * 1024;
        private const int MaxPictureBytes = 32 * 1024 * 1024;

        /// <summary>Makes a card of its short form.</summary>
        /// <param name="name">The character's name as others say it.</param>
        /// <param name="description">Who it is, in a few sentences.</param>
        public NpcCard(string name, string description)
            : this(new Dictionary<string, object> { { "name", name }, { "description", description } })
        {
        }

        /// <summary>Makes a card of its fields.</summary>
        /// <param name="fields">Text, numbers, bool, null, List of object and Dictionary of string and object.</param>
        public NpcCard(IDictionary<string, object> fields)
        {
            Fields = new Dictionary<string, object>(fields);
        }

        internal Dictionary<string, object> Fields { get; }

        /// <summary>Reads a card from JSON, such as the text of a TextAsset.</summary>
        /// <param name="json">The JSON.</param>
        /// <returns>The card. Throws NpcException with the code bad_card.</returns>
        public static NpcCard FromJson(string json)
        {
            object card = Json.Parse(json ?? "", NpcErrorCode.BadCard);
            if (card is Dictionary<string, object> fields)
            {
                return new NpcCard(fields);
            }
            throw new NpcException(
                NpcErrorCode.BadCard, "The JSON of the card is no map.", "It begins with { and has a name.");
        }

        /// <summary>Reads a card file: JSON, or a PNG picture that has its card inside.</summary>
        /// <param name="path">The file.</param>
        /// <returns>The card. Throws NpcException with the code bad_card.</returns>
        public static NpcCard FromFile(string path)
        {
            byte[] bytes = Read(path);
            try
            {
                bool isPicture = PngCard.IsPng(bytes);
                if (!isPicture && path.EndsWith(".png", StringComparison.OrdinalIgnoreCase))
                {
                    throw new NpcException(NpcErrorCode.BadCard, "It is no PNG picture.", PngCard.ExportAgain);
                }
                byte[] json = isPicture ? PngCard.Json(bytes, MaxCardBytes) : bytes;
                if (json.Length > MaxCardBytes)
                {
                    throw new NpcException(
                        NpcErrorCode.BadCard, "It has more than " + MaxCardBytes + " bytes.", "Is this a card? Make it smaller.");
                }
                if (!isPicture && path.EndsWith(".toml", StringComparison.OrdinalIgnoreCase))
                {
                    throw new NpcException(
                        NpcErrorCode.BadCard, "This client reads no TOML.", "Save the card as JSON: Card.load(a).save(b) in Python.");
                }
                return FromJson(Utf8Text.Of(json));
            }
            catch (NpcException e)
            {
                throw new NpcException(e.Code, "\"" + path + "\": " + e.Problem, e.Help, e);
            }
        }

        private static byte[] Read(string path)
        {
            try
            {
                if (new FileInfo(path).Length > MaxPictureBytes)
                {
                    throw new IOException("It has more than " + MaxPictureBytes + " bytes.");
                }
                return File.ReadAllBytes(path);
            }
            catch (Exception e) when (e is IOException || e is UnauthorizedAccessException
                || e is ArgumentException || e is NotSupportedException)
            {
                throw new NpcException(
                    NpcErrorCode.BadCard, "The card \"" + path + "\" cannot be read: " + e.Message, "Check its path.", e);
            }
        }
    }
}
