using System.Diagnostics;

namespace NpcEngine
{
    /// <summary>A clock that nobody sets: milliseconds since some moment.</summary>
    internal static class Clock
    {
        internal static long NowMs => (long)(Stopwatch.GetTimestamp() * 1000.0 / Stopwatch.Frequency);

        internal static int Ms(System.TimeSpan span) => (int)System.Math.Min(int.MaxValue, span.TotalMilliseconds);
    }
}
