using System.Globalization;

namespace NpcEngine
{
    /// <summary>Where an engine listens: tcp://HOST:PORT.</summary>
    internal sealed class Endpoint
    {
        private Endpoint(string host, int port)
        {
            Host = host;
            Port = port;
        }

        internal string Host { get; }

        internal int Port { get; }

        internal static Endpoint Parse(string text)
        {
            string rest = text != null && text.StartsWith("tcp://", System.StringComparison.Ordinal) ? text.Substring(6) : "";
            int colon = rest.LastIndexOf(':');
            if (colon > 0
                && int.TryParse(rest.Substring(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port)
                && port > 0 && port <= 65535)
            {
                return new Endpoint(rest.Substring(0, colon).Trim('[', ']'), port);
            }
            throw new NpcException(
                NpcErrorCode.BadCall,
                "\"" + text + "\" is no endpoint to connect to.",
                "Use one such as tcp://127.0.0.1:5757, as on the engine's READY line.");
        }
    }
}
