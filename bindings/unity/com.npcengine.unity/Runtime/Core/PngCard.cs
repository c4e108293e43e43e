using System;
using System.Text;

namespace NpcEngine
{
    /// <summary>
    /// Finds the card inside a PNG: the base64 of its JSON in a tEXt chunk, "ccv3" (V3) before "chara" (V2).
    /// </summary>
    internal static class PngCard
    {
        private const int SignatureLength = 8;

        internal static bool IsPng(byte[] bytes) =>
            bytes.Length > SignatureLength && bytes[0] == 0x89 && bytes[1] == 'P' && bytes[2] == 'N' && bytes[3] == 'G';

        internal static string Json(byte[] png)
        {
            string coded = Text(png, "ccv3\0") ?? Text(png, "chara\0");
            if (coded == null)
            {
                throw new NpcException(
                    NpcErrorCode.BadCard, "The picture has no card inside.", "Export it as a character card again.");
            }
            try
            {
                return Encoding.UTF8.GetString(Convert.FromBase64String(coded));
            }
            catch (FormatException e)
            {
                throw new NpcException(
                    NpcErrorCode.BadCard, "The card inside the picture is damaged.", "Export it again.", e);
            }
        }

        private static string Text(byte[] png, string keyword)
        {
            for (long at = SignatureLength; at + 8 <= png.Length;)
            {
                long size = ((long)png[at] << 24) | ((long)png[at + 1] << 16) | ((long)png[at + 2] << 8) | png[at + 3];
                long data = at + 8;
                if (data + size > png.Length)
                {
                    return null;
                }
                if (Is(png, at + 4, "tEXt") && size > keyword.Length && Is(png, data, keyword))
                {
                    return Encoding.ASCII.GetString(png, (int)data + keyword.Length, (int)size - keyword.Length);
                }
                at = data + size + 4;  // behind it a checksum
            }
            return null;
        }

        private static bool Is(byte[] bytes, long at, string text)
        {
            for (int i = 0; i < text.Length; i++)
            {
                if (bytes[at + i] != text[i])
                {
                    return false;
                }
            }
            return true;
        }
    }
}
