using System;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;

namespace NpcEngine.Tests
{
    /// <summary>
    /// The engine's end of the wire, played step by step by a test: for what a real engine never does.
    /// Every wait has a limit of 10 s.
    /// </summary>
    internal sealed class StubEngine : IDisposable
    {
        private const int LimitMs = 10000;

        private readonly TcpListener _listener;
        private Socket _socket;
        private FrameReader _reader;

        internal StubEngine(int port = 0)
        {
            _listener = new TcpListener(IPAddress.Loopback, port);
            _listener.Server.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            _listener.Start();
        }

        internal int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        internal string Endpoint => "tcp://127.0.0.1:" + Port;

        /// <summary>The socket of the client that is connected.</summary>
        internal Socket Socket => _socket;

        internal NpcClient NewClient(Action<NpcClientSettings> change = null)
        {
            var settings = new NpcClientSettings { Endpoint = Endpoint };
            change?.Invoke(settings);
            return new NpcClient(settings);
        }

        /// <summary>Takes a connection, without a word.</summary>
        internal void AcceptRaw()
        {
            IAsyncResult accepting = _listener.BeginAcceptSocket(null, null);
            if (!accepting.AsyncWaitHandle.WaitOne(LimitMs))
            {
                throw new TimeoutException("nobody connects");
            }
            _socket = _listener.EndAcceptSocket(accepting);
            _socket.ReceiveTimeout = LimitMs;
            _socket.NoDelay = true;
            _reader = new FrameReader((b, at, n) => _socket.Receive(b, at, n, SocketFlags.None), 1 << 26);
        }

        /// <summary>Takes a connection and shakes hands.</summary>
        internal void Accept()
        {
            AcceptRaw();
            SendRaw(Zmtp.Greeting());
            _reader.ReadRaw(Zmtp.GreetingLength);
            byte[] ready = Zmtp.Ready();
            SendRaw(ready);
            _reader.Read();
        }

        /// <summary>Takes a connection and welcomes the client.</summary>
        internal void Welcome(params object[] npcs)
        {
            Accept();
            Dictionary<string, object> hello = Next("hello");
            Send(
                "type", "welcome", "id", hello["id"], "protocol", 1L, "engine", "stub",
                "model", new Dictionary<string, object>(), "limits", new Dictionary<string, object>(),
                "npcs", new List<object>(npcs));
        }

        /// <summary>Waits for the next request, which must be of that type; heartbeats are passed over.</summary>
        internal Dictionary<string, object> Next(string type)
        {
            Dictionary<string, object> request = Any();
            NUnit.Framework.Assert.AreEqual(type, request["type"]);
            return request;
        }

        internal Dictionary<string, object> Any()
        {
            do
            {
                _reader.Read();
            }
            while (_reader.IsCommand);
            var reader = new MsgpackReader();
            reader.Start(_reader.Body, _reader.Start, _reader.Count);
            return (Dictionary<string, object>)reader.ReadValue();
        }

        /// <summary>Waits for the next command of that name.</summary>
        internal byte[] NextCommand(string name)
        {
            do
            {
                _reader.Read();
            }
            while (!_reader.IsCommand || !Zmtp.IsNamed(name, _reader.Body, _reader.Start, _reader.Count));
            var body = new byte[_reader.Count];
            Buffer.BlockCopy(_reader.Body, _reader.Start, body, 0, body.Length);
            return body;
        }

        /// <summary>Sends a record of keys and values, one after the other.</summary>
        internal void Send(params object[] pairs) => SendRaw(Record(pairs));

        internal static byte[] Record(params object[] pairs)
        {
            var writer = new MsgpackWriter();
            writer.Map(pairs.Length / 2);
            foreach (object part in pairs)
            {
                writer.Value(part);
            }
            return Zmtp.Framed(0, writer.ToArray());
        }

        internal void SendRaw(byte[] bytes)
        {
            for (int sent = 0; sent < bytes.Length;)
            {
                sent += _socket.Send(bytes, sent, bytes.Length - sent, SocketFlags.None);
            }
        }

        /// <summary>Drops the client, as an engine that was killed does.</summary>
        internal void Drop()
        {
            _socket.LingerState = new LingerOption(true, 0);
            _socket.Close();
        }

        public void Dispose()
        {
            _listener.Stop();
            _socket?.Close();
        }
    }
}
