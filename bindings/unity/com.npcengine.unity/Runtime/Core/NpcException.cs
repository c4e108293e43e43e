using System;

namespace NpcEngine
{
    /// <summary>Every error of this library: what went wrong, and what to do.</summary>
    public sealed class NpcException : Exception
    {
        /// <summary>Makes an error.</summary>
        /// <param name="code">A stable word for programs, one of <see cref="NpcErrorCode"/>.</param>
        /// <param name="message">A sentence for developers, with the bad value in it.</param>
        /// <param name="help">What to do about it.</param>
        /// <param name="inner">The error behind it, if there is one.</param>
        public NpcException(string code, string message, string help = "", Exception inner = null)
            : base(string.IsNullOrEmpty(help) ? message : message + " " + help, inner)
        {
            Code = code;
            Problem = message;
            Help = help;
        }

        /// <summary>A stable word for programs, one of <see cref="NpcErrorCode"/>.</summary>
        public string Code { get; }

        /// <summary>What went wrong, without the help (which <c>Message</c> has, too).</summary>
        public string Problem { get; }

        /// <summary>What to do about it; may be empty.</summary>
        public string Help { get; }
    }
}
