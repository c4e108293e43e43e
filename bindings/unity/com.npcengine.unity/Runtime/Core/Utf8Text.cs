using System.Text;

namespace NpcEngine
{
    /// <summary>Bytes to text and back to what the wire can carry: nothing is replaced in silence.</summary>
    internal static class Utf8Text
    {
        private static readonly UTF8Encoding Strict = new UTF8Encoding(false, true);

        /// <summary>The text of a file. Throws NpcException with the line where it is none.</summary>
        internal static string Of(byte[] bytes)
        {
            try
            {
                string text = Strict.GetString(bytes);
                int nul = text.IndexOf('\0');
                return nul < 0 ? text : throw Bad("holds a NUL character", text.Substring(0, nul));
            }
            catch (DecoderFallbackException e)
            {
                throw Bad("is not UTF-8", Strict.GetString(bytes, 0, ValidLength(bytes, e.Index)));
            }
        }

        /// <summary>Text without NUL and without halves of surrogate pairs.</summary>
        internal static string Whole(string text)
        {
            StringBuilder rest = null;
            for (int i = 0; i < text.Length; i++)
            {
                bool pair = char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]);
                bool keep = pair || (text[i] != '\0' && !char.IsSurrogate(text[i]));
                if (!keep && rest == null)
                {
                    rest = new StringBuilder(text, 0, i, text.Length);
                }
                if (keep && rest != null)
                {
                    rest.Append(text, i, pair ? 2 : 1);
                }
                i += pair ? 1 : 0;
            }
            return rest == null ? text : rest.ToString();
        }

        private static int ValidLength(byte[] bytes, int index)
        {
            int length = index < 0 ? 0 : index;
            while (length > 0 && (bytes[length - 1] & 0x80) != 0)
            {
                length--;  // the index may lie behind the first byte of a sequence
            }
            return length;
        }

        private static NpcException Bad(string why, string before)
        {
            int line = 1;
            foreach (char c in before)
            {
                line += c == '\n' ? 1 : 0;
            }
            return new NpcException(
                NpcErrorCode.BadCard, "Line " + line + " of the card " + why + ".", "Save it again with the encoding UTF-8.");
        }
    }
}
