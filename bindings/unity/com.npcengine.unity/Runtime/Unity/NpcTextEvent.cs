using System;
using UnityEngine.Events;

namespace NpcEngine
{
    /// <summary>A UnityEvent with a text, to be wired in the inspector.</summary>
    [Serializable]
    public sealed class NpcTextEvent : UnityEvent<string>
    {
    }
}
