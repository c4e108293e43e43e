using System;
using System.IO;
using System.Net.Sockets;

namespace NpcEngine
{
    /// <summary>Says in words what became of a connection.</summary>
    internal static class Lost
    {
        private const string StartIt = "Start it: npc-engine serve --model q4.gguf";

        internal static NpcException Translate(Exception e)
        {
            if (e is NpcException known)
            {
                return known;
            }
            string why = e is EndOfStreamException ? "it closed the connection" : e.Message.TrimEnd('.');
            if (e is SocketException socket)
            {
                why = socket.SocketErrorCode == SocketError.ConnectionRefused ? "nobody listens there"
                    : IsTimeout(socket) ? "no answer came in time" : socket.SocketErrorCode.ToString();
            }
            return new NpcException(NpcErrorCode.ConnectionLost, "The connection failed: " + why + ".", StartIt, e);
        }

        internal static NpcException Absent(string endpoint, NpcException last) =>
            new NpcException(
                NpcErrorCode.ConnectionLost,
                "No engine answers at " + endpoint + ". " + last.Problem,
                last.Help == "" ? StartIt : last.Help,
                last);

        internal static NpcException Gone(string endpoint, NpcException why) =>
            new NpcException(
                NpcErrorCode.ConnectionLost,
                "The engine at " + endpoint + " is gone. " + why.Problem,
                "Spawn or load the characters again once it is back.",
                why);

        internal static NpcException Silent(int ms) =>
            new NpcException(
                NpcErrorCode.ConnectionLost, "The engine has given no sign of life for " + ms + " ms.", StartIt);

        internal static NpcException Closed() =>
            new NpcException(NpcErrorCode.Closed, "The client is disposed.", "Make a new NpcClient.");

        internal static NpcException Unread() =>
            new NpcException(
                NpcErrorCode.Busy, "The engine reads nothing any more.", "Wait for open requests before making more.");

        private static bool IsTimeout(SocketException e) =>
            e.SocketErrorCode == SocketError.TimedOut || e.SocketErrorCode == SocketError.WouldBlock;
    }
}
