using System;

namespace NpcEngine
{
    /// <summary>Which records come while a character speaks.</summary>
    [Flags]
    public enum NpcStream
    {
        /// <summary>None: only the whole reply at its end.</summary>
        None = 0,

        /// <summary>The reply as it is decoded, piece by piece.</summary>
        Text = 1,

        /// <summary>Spoken sentences.</summary>
        Lines = 2,

        /// <summary>Stage directions.</summary>
        Gestures = 4,
    }
}
