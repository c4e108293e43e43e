using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;

namespace NpcEngine
{
    /// <summary>
    /// One TCP connection that speaks ZMTP: made, greeted, read by the thread that made it, written by
    /// a thread of its own, and ended by anybody. It knows frames and nothing of what is in them.
    /// </summary>
    internal sealed class Connection
    {
        private const int ReceiveBufferBytes = 64 * 1024;  // a slow game holds the engine back, not memory
        private const int MaxQueuedBytes = 8 * 1024 * 1024;
        private const int LingerMs = 200;

        private readonly Socket _socket;
        private readonly FrameQueue _outgoing = new FrameQueue(MaxQueuedBytes);
        private readonly FrameReader _reader;
        private Thread _writer;
        private long _heardMs = Clock.NowMs;

        private Connection(Socket socket, int maxFrame)
        {
            _socket = socket;
            _reader = new FrameReader((buffer, at, n) => _socket.Receive(buffer, at, n, SocketFlags.None), maxFrame);
        }

        internal FrameReader Frame => _reader;

        /// <summary>When the engine last gave a sign of life.</summary>
        internal long HeardMs => Interlocked.Read(ref _heardMs);

        /// <summary>
        /// Connects and shakes hands, until the deadline. `made` gets the connection while it is still
        /// being made, so that another thread can end it. Throws NpcException or what sockets throw.
        /// </summary>
        internal static Connection Open(Endpoint endpoint, int maxFrame, long deadlineMs, Action<Connection> made)
        {
            Exception last = null;
            foreach (IPAddress address in Addresses(endpoint.Host))
            {
                var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
                var connection = new Connection(socket, maxFrame);
                try
                {
                    made(connection);
                    connection.Connect(new IPEndPoint(address, endpoint.Port), deadlineMs);
                    connection.ShakeHands(deadlineMs);
                    return connection;
                }
                catch (Exception e)
                {
                    connection.Close();
                    last = e;
                }
            }
            throw Lost.Translate(last ?? new SocketException((int)SocketError.HostNotFound));
        }

        /// <summary>Hands a frame to the writer; false when the engine does not read.</summary>
        internal bool TrySend(byte[] frame) => _outgoing.TryAdd(frame);

        /// <summary>Waits for the next message; answers PING on the way. Throws what sockets throw.</summary>
        internal void ReadMessage()
        {
            do
            {
                _reader.Read();
                Interlocked.Exchange(ref _heardMs, Clock.NowMs);
                if (_reader.IsCommand)
                {
                    HeedCommand();
                }
            }
            while (_reader.IsCommand);
        }

        /// <summary>How long a read may wait from now on; 0 is for ever.</summary>
        internal void LimitReads(long deadlineMs) =>
            _socket.ReceiveTimeout = deadlineMs == 0 ? 0 : (int)Math.Max(1, deadlineMs - Clock.NowMs);

        /// <summary>Ends it at once; whoever reads or writes gets an exception.</summary>
        internal void Close()
        {
            _outgoing.Close();
            try
            {
                _socket.Shutdown(SocketShutdown.Both);  // Close alone does not wake a reader everywhere
            }
            catch (SocketException)
            {
                // It was not connected.
            }
            catch (ObjectDisposedException)
            {
                // It was closed before.
            }
            _socket.Close();
        }

        /// <summary>Gives what was sent a moment to leave; then it is for Close.</summary>
        internal void Linger()
        {
            _outgoing.Close();
            if (_writer != null && _writer != Thread.CurrentThread)
            {
                _writer.Join(LingerMs);
            }
        }

        /// <summary>Waits for the writer, after Close.</summary>
        internal void Join()
        {
            if (_writer != null)
            {
                _writer.Join();
            }
        }

        private static IPAddress[] Addresses(string host)
        {
            if (IPAddress.TryParse(host, out IPAddress address))
            {
                return new[] { address };
            }
            try
            {
                return Dns.GetHostAddresses(host);
            }
            catch (SocketException e)
            {
                throw Lost.Translate(e);
            }
        }

        private void Connect(IPEndPoint where, long deadlineMs)
        {
            _socket.NoDelay = true;
            _socket.ReceiveBufferSize = ReceiveBufferBytes;
            IAsyncResult connecting = _socket.BeginConnect(where, null, null);
            if (!connecting.AsyncWaitHandle.WaitOne((int)Math.Max(1, deadlineMs - Clock.NowMs)))
            {
                throw new SocketException((int)SocketError.TimedOut);
            }
            _socket.EndConnect(connecting);
        }

        private void ShakeHands(long deadlineMs)
        {
            LimitReads(deadlineMs);
            _socket.SendTimeout = 5000;
            Send(Zmtp.Greeting());
            _reader.ReadRaw(Zmtp.GreetingLength);
            Zmtp.CheckGreeting(_reader.Body, _reader.Start);
            Send(Zmtp.Ready());
            _reader.Read();
            if (!_reader.IsCommand || !Zmtp.IsNamed("READY", _reader.Body, _reader.Start, _reader.Count))
            {
                throw Zmtp.Bad("What listens there refuses a DEALER.");
            }
            _socket.SendTimeout = 0;
            _writer = new Thread(Write) { IsBackground = true, Name = "npc-engine write" };
            _writer.Start();
        }

        private void Send(byte[] bytes)
        {
            for (int sent = 0; sent < bytes.Length;)
            {
                sent += _socket.Send(bytes, sent, bytes.Length - sent, SocketFlags.None);
            }
        }

        private void HeedCommand()
        {
            if (Zmtp.IsNamed("PING", _reader.Body, _reader.Start, _reader.Count))
            {
                TrySend(Zmtp.Pong(_reader.Body, _reader.Start, _reader.Count));
            }
            else if (Zmtp.IsNamed("ERROR", _reader.Body, _reader.Start, _reader.Count))
            {
                throw Zmtp.Bad("The engine has ended the connection with a ZMTP error.");
            }
        }

        private void Write()
        {
            try
            {
                for (byte[] frame = _outgoing.Take(); frame != null; frame = _outgoing.Take())
                {
                    Send(frame);
                }
            }
            catch (Exception e) when (e is SocketException || e is ObjectDisposedException)
            {
                Close();  // the reader says why
            }
        }
    }
}
