using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using System.Text;

namespace NpcEngine
{
    /// <summary>
    /// Finds the card inside a PNG: the base64 of its JSON in a text chunk (plain or packed), "ccv3" (V3) before
    /// "chara" (V2), of two the last. The rest of the picture may be as damaged as it likes.
    /// </summary>
    internal static class PngCard
    {
        private const int MaxKeyword = 80;  // bytes, its NUL included
        internal const string ExportAgain = "Export it as a character card again.";

        private static readonly byte[] Signature = { 0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10 };

        internal static bool IsPng(byte[] bytes)
        {
            for (int i = 0; i < Signature.Length; i++)
            {
                if (i >= bytes.Length || bytes[i] != Signature[i])
                {
                    return false;
                }
            }
            return true;
        }

        /// <summary>Returns the card's JSON, of at most maxBytes.</summary>
        internal static byte[] Json(byte[] png, int maxBytes)
        {
            Dictionary<string, ArraySegment<byte>> found = Chunks(png);
            if (!found.TryGetValue("ccv3", out ArraySegment<byte> chunk) && !found.TryGetValue("chara", out chunk))
            {
                throw Bad("The picture has no card inside.");
            }
            try
            {
                byte[] card = Convert.FromBase64String(Encoding.ASCII.GetString(TextOf(chunk, 2 * maxBytes)));
                return card.Length <= maxBytes ? card : throw Bad("The card inside the picture is too large.");
            }
            catch (FormatException e)
            {
                throw Bad("The card inside the picture is damaged.", e);
            }
        }

        /// <summary>Returns the last chunk of each keyword that a card may have, its type before its body.</summary>
        private static Dictionary<string, ArraySegment<byte>> Chunks(byte[] png)
        {
            var found = new Dictionary<string, ArraySegment<byte>>();
            string kind = "";
            for (long at = Signature.Length; kind != "IEND";)
            {
                long size = at + 12 <= png.Length ? Number(png, at) : png.Length;
                if (at + 12 + size > png.Length)
                {
                    throw Bad("The picture breaks off at byte " + png.Length + ".");
                }
                kind = Encoding.ASCII.GetString(png, (int)at + 4, 4);
                var chunk = new ArraySegment<byte>(png, (int)at + 4, (int)size + 4);
                string keyword = kind == "tEXt" || kind == "zTXt" || kind == "iTXt" ? Keyword(chunk) : "";
                if (keyword == "ccv3" || keyword == "chara")
                {
                    if (Crc32(chunk) != Number(png, at + 8 + size))
                    {
                        throw Bad("The card inside the picture is damaged.");
                    }
                    found[keyword] = chunk;
                }
                at += 12 + size;
            }
            return found;
        }

        private static string Keyword(ArraySegment<byte> chunk)
        {
            int start = chunk.Offset + 4, length = 0;
            while (length < MaxKeyword && length < chunk.Count - 4 && chunk.Array[start + length] != 0)
            {
                length++;
            }
            return Encoding.ASCII.GetString(chunk.Array, start, length).ToLowerInvariant();
        }

        /// <summary>The text behind a chunk's keyword (PNG specification, 11.3.3).</summary>
        private static byte[] TextOf(ArraySegment<byte> chunk, int maxBytes)
        {
            byte[] bytes = chunk.Array;
            int end = chunk.Offset + chunk.Count;
            int at = Math.Min(Behind(bytes, chunk.Offset + 4, end), end);
            switch ((char)bytes[chunk.Offset])
            {
                case 'z': return Inflated(bytes, at + 1, end, maxBytes);
                case 'i':
                    bool packed = at < end && bytes[at] == 1;
                    at = Behind(bytes, Behind(bytes, at + 2, end), end);
                    return packed ? Inflated(bytes, at, end, maxBytes) : Part(bytes, at, end);
                default: return Part(bytes, at, end);
            }
        }

        /// <summary>Where a text that ends with NUL is over.</summary>
        private static int Behind(byte[] bytes, int at, int end)
        {
            while (at < end && bytes[at] != 0)
            {
                at++;
            }
            return at + 1;
        }

        private static byte[] Part(byte[] bytes, int at, int end)
        {
            var part = new byte[Math.Max(0, end - at)];
            Array.Copy(bytes, Math.Min(at, end), part, 0, part.Length);
            return part;
        }

        /// <summary>Unpacks zlib's format (RFC 1950), which is two bytes, deflate and a checksum.</summary>
        private static byte[] Inflated(byte[] bytes, int at, int end, int maxBytes)
        {
            if (end - at < 6 || (bytes[at] & 0x8f) != 8 || (bytes[at + 1] & 0x20) != 0
                || (bytes[at] << 8 | bytes[at + 1]) % 31 != 0)
            {
                throw Bad("The card inside the picture is damaged.");
            }
            try
            {
                using (var packed = new MemoryStream(bytes, at + 2, end - at - 2))
                using (var deflate = new DeflateStream(packed, CompressionMode.Decompress))
                {
                    var text = new MemoryStream();
                    var block = new byte[65536];
                    for (int n; (n = deflate.Read(block, 0, block.Length)) > 0 && text.Length <= maxBytes;)
                    {
                        text.Write(block, 0, n);
                    }
                    if (text.Length > maxBytes)
                    {
                        throw Bad("The card inside the picture is too large.");
                    }
                    byte[] all = text.ToArray();
                    return Adler32(all) == Number(bytes, end - 4) ? all : throw Bad("The card inside the picture is damaged.");
                }
            }
            catch (Exception e) when (e is InvalidDataException || e is IOException)
            {
                throw Bad("The card inside the picture is damaged.", e);
            }
        }

        private static long Number(byte[] bytes, long at) =>
            ((long)bytes[at] << 24) | ((long)bytes[at + 1] << 16) | ((long)bytes[at + 2] << 8) | bytes[at + 3];

        /// <summary>The sum at the end of zlib's format: DeflateStream does not look at it.</summary>
        private static uint Adler32(byte[] bytes)
        {
            ulong low = 1, high = 0;  // with room for the sums of 32 MiB
            foreach (byte b in bytes)
            {
                low += b;
                high += low;
            }
            return (uint)((high % 65521) << 16 | (low % 65521));
        }

        private static uint Crc32(ArraySegment<byte> bytes)
        {
            uint sum = 0xFFFFFFFF;
            for (int i = 0; i < bytes.Count; i++)
            {
                sum ^= bytes.Array[bytes.Offset + i];
                for (int bit = 0; bit < 8; bit++)
                {
                    sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0xEDB88320 : 0);
                }
            }
            return sum ^ 0xFFFFFFFF;
        }

        private static NpcException Bad(string problem, Exception cause = null) =>
            new NpcException(NpcErrorCode.BadCard, problem, ExportAgain, cause);
    }
}
