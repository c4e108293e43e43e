namespace NpcEngine
{
    /// <summary>
    /// Gives back the string that it made before for the same ASCII bytes: keys, types and names come
    /// again in every record, and cost no allocation this way.
    /// </summary>
    internal sealed class TextCache
    {
        private const int MaxBytes = 64;

        private readonly string[] _texts = new string[256];

        /// <summary>The cached string, or null where the bytes are too long or not ASCII.</summary>
        internal string Find(byte[] bytes, int start, int n)
        {
            if (n > MaxBytes)
            {
                return null;
            }
            uint hash = 2166136261;
            for (int i = start; i < start + n; i++)
            {
                if (bytes[i] > 127)
                {
                    return null;
                }
                hash = (hash ^ bytes[i]) * 16777619;
            }
            uint place = (hash ^ (hash >> 16)) % (uint)_texts.Length;
            if (!Matches(_texts[place], bytes, start, n))
            {
                _texts[place] = System.Text.Encoding.ASCII.GetString(bytes, start, n);
            }
            return _texts[place];
        }

        private static bool Matches(string text, byte[] bytes, int start, int n)
        {
            if (text == null || text.Length != n)
            {
                return false;
            }
            for (int i = 0; i < n; i++)
            {
                if (text[i] != bytes[start + i])
                {
                    return false;
                }
            }
            return true;
        }
    }
}
