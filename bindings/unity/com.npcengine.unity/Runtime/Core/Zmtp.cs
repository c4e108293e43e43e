using System;
using System.Text;

namespace NpcEngine
{
    /// <summary>
    /// The bytes of ZMTP 3.1 (rfc.zeromq.org/spec/37) that a DEALER with the NULL mechanism needs: its
    /// greeting, READY, PING and PONG, and the header of a frame.
    /// </summary>
    internal static class Zmtp
    {
        internal const int GreetingLength = 64;
        internal const int More = 1;
        internal const int Long = 2;
        internal const int Command = 4;

        /// <summary>With a time to live of 0: the engine has a limit of its own for our silence.</summary>
        internal static readonly byte[] Ping = Framed(Command, Named("PING", new byte[2], 2));

        internal static byte[] Greeting()
        {
            var greeting = new byte[GreetingLength];
            greeting[0] = 0xff;
            greeting[9] = 0x7f;
            greeting[10] = 3;
            greeting[11] = 1;
            Encoding.ASCII.GetBytes("NULL", 0, 4, greeting, 12);
            return greeting;
        }

        /// <summary>Throws unless the other side speaks ZMTP 3 with the NULL mechanism.</summary>
        internal static void CheckGreeting(byte[] bytes, int start)
        {
            bool zmtp = bytes[start] == 0xff && (bytes[start + 9] & 1) == 1 && bytes[start + 10] >= 3;
            if (!zmtp || Encoding.ASCII.GetString(bytes, start + 12, 20).TrimEnd('\0') != "NULL")
            {
                throw Bad("What listens there does not speak ZMTP 3 with the NULL mechanism.");
            }
        }

        internal static byte[] Ready()
        {
            const string Properties = "\u000bSocket-Type\0\0\0\u0006DEALER\u0008Identity\0\0\0\0";
            byte[] bytes = Encoding.ASCII.GetBytes(Properties);
            return Framed(Command, Named("READY", bytes, bytes.Length));
        }

        /// <summary>Answers the body of a PING with its context.</summary>
        internal static byte[] Pong(byte[] body, int start, int n)
        {
            int context = Math.Max(0, n - 7);  // behind the name and two bytes of time to live
            var bytes = new byte[context];
            Buffer.BlockCopy(body, start + n - context, bytes, 0, context);
            return Framed(Command, Named("PONG", bytes, context));
        }

        /// <summary>Whether a command's body begins with that name.</summary>
        internal static bool IsNamed(string name, byte[] body, int start, int n)
        {
            if (n < name.Length + 1 || body[start] != name.Length)
            {
                return false;
            }
            for (int i = 0; i < name.Length; i++)
            {
                if (body[start + 1 + i] != name[i])
                {
                    return false;
                }
            }
            return true;
        }

        internal static byte[] Framed(int flags, byte[] body)
        {
            bool small = body.Length < 256;
            var frame = new byte[body.Length + (small ? 2 : 9)];
            frame[0] = (byte)(flags | (small ? 0 : Long));
            for (int at = small ? 1 : 8, n = body.Length; at > 0; at--, n >>= 8)
            {
                frame[at] = (byte)n;
            }
            Buffer.BlockCopy(body, 0, frame, frame.Length - body.Length, body.Length);
            return frame;
        }

        internal static NpcException Bad(string message) =>
            new NpcException(
                NpcErrorCode.BadMessage, message, "Is it an NPC Engine? Use the endpoint of its READY line.");

        private static byte[] Named(string name, byte[] rest, int n)
        {
            var body = new byte[1 + name.Length + n];
            body[0] = (byte)name.Length;
            Encoding.ASCII.GetBytes(name, 0, name.Length, body, 1);
            Buffer.BlockCopy(rest, 0, body, 1 + name.Length, n);
            return body;
        }
    }
}
