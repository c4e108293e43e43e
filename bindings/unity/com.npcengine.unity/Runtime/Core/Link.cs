using System;
using System.Threading;

namespace NpcEngine
{
    /// <summary>
    /// Keeps a connection to one engine: makes it, says hello, reads it, and makes it again with a growing
    /// pause when it is lost. All of that happens on one thread, which ends with Close or when it gives up.
    /// </summary>
    internal sealed class Link
    {
        private const int FirstPauseMs = 100;
        private const int LongestPauseMs = 5000;
        private const int StoppedMs = 2000;  // the whole process stood still: a debugger, a sleeping laptop

        private readonly Endpoint _endpoint;
        private readonly NpcClientSettings _settings;
        private readonly ILinkOwner _owner;
        private readonly Thread _thread;
        private readonly object _gate = new object();
        private Connection _connection;
        private NpcException _broken;
        private volatile bool _closed;
        private bool _hasBeenUp;
        private long _beatMs;
        private long _lookedMs = Clock.NowMs;
        private long _excusedMs;

        internal Link(Endpoint endpoint, NpcClientSettings settings, ILinkOwner owner)
        {
            _endpoint = endpoint;
            _settings = settings;
            _owner = owner;
            _thread = new Thread(Run) { IsBackground = true, Name = "npc-engine read" };
        }

        /// <summary>What the last try has failed with, or null.</summary>
        internal NpcException LastError { get; private set; }

        internal void Start() => _thread.Start();

        /// <summary>Sends one message; false when the engine does not read, or is not there.</summary>
        internal bool TrySend(byte[] body)
        {
            Connection connection = Current();
            return connection != null && connection.TrySend(Zmtp.Framed(0, body));
        }

        /// <summary>
        /// Sends a heartbeat when it is time, and ends a connection that gives no sign of life. blockedMs is
        /// when the reading thread was last kept from reading, which is no fault of the engine's.
        /// </summary>
        internal void Beat(long nowMs, long blockedMs)
        {
            _excusedMs = nowMs - _lookedMs > StoppedMs ? nowMs : _excusedMs;
            _lookedMs = nowMs;
            Connection connection = Current();
            if (connection == null)
            {
                return;
            }
            if (nowMs - _beatMs >= Clock.Ms(_settings.HeartbeatInterval))
            {
                _beatMs = nowMs;
                connection.TrySend(Zmtp.Ping);
            }
            long silentMs = nowMs - Math.Max(connection.HeardMs, Math.Max(blockedMs, _excusedMs));
            if (silentMs > Clock.Ms(_settings.HeartbeatTimeout))
            {
                Volatile.Write(ref _broken, Lost.Silent((int)silentMs));
                connection.Close();
            }
        }

        /// <summary>Ends the thread, and waits for it. What was sent gets a moment to leave.</summary>
        internal void Close()
        {
            Connection connection = CloseGate();
            connection?.Linger();
            connection?.Close();
            if (Thread.CurrentThread != _thread)
            {
                _thread.Join(2000);  // only a name server can hold it longer
            }
        }

        /// <summary>Lets the thread end, without waiting for it.</summary>
        internal void CloseSoon() => CloseGate()?.Close();

        private Connection CloseGate()
        {
            lock (_gate)
            {
                _closed = true;
                Monitor.PulseAll(_gate);
                return _connection;
            }
        }

        private void Run()
        {
            long giveUpMs = Clock.NowMs + Clock.Ms(_settings.ConnectTimeout);
            for (int pauseMs = FirstPauseMs; !_closed; pauseMs = Math.Min(2 * pauseMs, LongestPauseMs))
            {
                bool wasUp = false;
                try
                {
                    Greet(_hasBeenUp ? Clock.NowMs + Clock.Ms(_settings.ConnectTimeout) : giveUpMs);
                    wasUp = _hasBeenUp = true;
                    pauseMs = FirstPauseMs / 2;
                    ReadAll();
                }
                catch (Exception e)
                {
                    LastError = Volatile.Read(ref _broken) ?? Lost.Translate(e);
                }
                EndConnection();
                bool isFinal = IsFinal(wasUp, giveUpMs);
                if (wasUp || isFinal)
                {
                    _owner.OnDown(this, Words(wasUp), wasUp, isFinal);
                }
                if (isFinal)
                {
                    return;
                }
                Pause(pauseMs);
            }
        }

        private void Greet(long deadlineMs)
        {
            Connection connection = Connection.Open(_endpoint, _settings.MaxMessageBytes, deadlineMs, Show);
            connection.LimitReads(deadlineMs);
            byte[] hello = Requests.Hello(_owner.NewId(), _settings.ClientName, _settings.Token);
            connection.TrySend(Zmtp.Framed(0, hello));
            connection.ReadMessage();
            NpcWelcome welcome = Welcome(connection.Frame);
            connection.LimitReads(0);
            _owner.OnUp(this, welcome);
        }

        private static NpcWelcome Welcome(FrameReader frame)
        {
            var reader = new MsgpackReader();
            reader.Start(frame.Body, frame.Start, frame.Count);
            RecordHead head = RecordHead.Read(reader);
            if (head.Type == "error")
            {
                throw Replies.ReadError(reader);
            }
            if (head.Type != "welcome")
            {
                throw reader.Bad("\"welcome\" was expected and \"" + head.Type + "\" came");
            }
            NpcWelcome welcome = NpcWelcome.Read(reader);
            if (welcome.Protocol != Requests.ProtocolVersion)
            {
                throw new NpcException(
                    NpcErrorCode.ProtocolVersion,
                    "The engine speaks protocol " + welcome.Protocol + ", this client " + Requests.ProtocolVersion + ".",
                    "Use client and engine of the same version.");
            }
            return welcome;
        }

        private void ReadAll()
        {
            Connection connection = Current();
            while (connection != null && !_closed)
            {
                connection.ReadMessage();
                _owner.OnMessage(connection.Frame);
            }
        }

        /// <summary>An engine that says no will say no again; one that is not there may come.</summary>
        private bool IsFinal(bool wasUp, long giveUpMs)
        {
            string code = wasUp || LastError == null ? "" : LastError.Code;
            bool refused = code == NpcErrorCode.Unauthorized || code == NpcErrorCode.ProtocolVersion
                || code == NpcErrorCode.BadMessage;
            bool late = !_hasBeenUp && Clock.NowMs >= giveUpMs;
            return _closed || refused || late || (_hasBeenUp && !_settings.Reconnect);
        }

        private NpcException Words(bool wasUp)
        {
            NpcException last = LastError ?? Lost.Closed();
            return wasUp ? Lost.Gone(_settings.Endpoint, last)
                : last.Code == NpcErrorCode.ConnectionLost ? Lost.Absent(_settings.Endpoint, last) : last;
        }

        private void Show(Connection connection)
        {
            lock (_gate)
            {
                _broken = null;
                _connection = connection;
                if (_closed)
                {
                    throw Lost.Closed();
                }
            }
        }

        private Connection Current()
        {
            lock (_gate)
            {
                return _connection;
            }
        }

        private void EndConnection()
        {
            Connection connection;
            lock (_gate)
            {
                connection = _connection;
                _connection = null;
            }
            if (connection != null)
            {
                connection.Close();
                connection.Join();
            }
        }

        private void Pause(int ms)
        {
            lock (_gate)
            {
                if (!_closed)
                {
                    Monitor.Wait(_gate, ms);
                }
            }
        }
    }
}
