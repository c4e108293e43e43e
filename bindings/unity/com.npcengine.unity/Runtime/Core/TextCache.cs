namespace NpcEngine
{
    /// <summary>
    /// Gives back the string that it made before for the same ASCII bytes: keys, types and names come
    /// again in every record, and cost no allocation this way.
    /// </summary>
    internal sealed class TextCache
    {
        private const int MaxBytes = 64;
        private const uint Places = 8;

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
            return At(hash ^ (hash >> 16), bytes, start, n);
        }

        /// <summary>Looks in a few places, so that two keys that fall together do not drive each other out.</summary>
        private string At(uint hash, byte[] bytes, int start, int n)
        {
            uint place = 0;
            for (uint i = 0; i < Places; i++)
            {
                place = (hash + i) % (uint)_texts.Length;
                if (Matches(_texts[place], bytes, start, n))
                {
                    return _texts[place];
                }
                if (_texts[place] == null)
                {
                    break;
                }
            }
            _texts[place] = System.Text.Encoding.ASCII.GetString(bytes, start, n);
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
