using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>What a game asks of an engine beside what it asks of a character.</summary>
    public sealed partial class NpcClient
    {
        private const int MostRequestBytes = 16 * 1024 * 1024;  // engines end a connection beyond 64 MiB

        private static readonly SpawnOptions SpawnDefaults = new SpawnOptions();

        /// <summary>Brings a character to life.</summary>
        /// <param name="npc">What it is called from now on: 1 to 64 of A-Z a-z 0-9 _ . -, no dot first.</param>
        /// <param name="card">Who it is.</param>
        /// <param name="options">How it chooses its words, a save to go on from; or null.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>The character; its Spawned has the greeting.</returns>
        public async Task<NpcCharacter> SpawnAsync(
            string npc,
            NpcCard card,
            SpawnOptions options = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            if (card == null)
            {
                throw new NpcException(NpcErrorCode.BadCall, "The card is null.", "Read one with NpcCard.FromFile.");
            }
            NpcSpawned spawned = await Ask(
                "spawned", NpcSpawned.Read, id => Requests.Spawn(id, npc, card, options ?? SpawnDefaults), cancellation)
                .ConfigureAwait(false);
            NpcCharacter character = Character(npc);
            character.Spawned = spawned;
            return character;
        }

        /// <summary>The object for a character, whether or not it is there yet: the same one each time.</summary>
        /// <param name="npc">Its name in the engine.</param>
        /// <returns>The character.</returns>
        public NpcCharacter Character(string npc)
        {
            lock (_characters)
            {
                if (!_characters.TryGetValue(npc ?? "", out NpcCharacter character))
                {
                    character = new NpcCharacter(this, npc ?? "");
                    _characters.Add(npc ?? "", character);
                }
                return character;
            }
        }

        /// <summary>A scene that is to be run.</summary>
        /// <param name="scene">What it is called.</param>
        /// <returns>The scene; nothing happens before its RunAsync.</returns>
        public NpcScene Scene(string scene) => new NpcScene(this, scene);

        /// <summary>Lets characters perceive something that they do not answer.</summary>
        /// <param name="text">What happens, seen from outside: "The bell tolls."</param>
        /// <param name="npcs">Who perceives it; null: everybody.</param>
        /// <param name="importance">0 to 1: how long it is remembered; null: as words, 0.5.</param>
        /// <param name="expiresSeconds">After that an event that no reply has taken in no longer matters.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>How many characters perceived it.</returns>
        public Task<int> PerceiveAsync(
            string text,
            IEnumerable<string> npcs = null,
            double? importance = null,
            double? expiresSeconds = null,
            CancellationToken cancellation = default(CancellationToken)) =>
            Ask("ok", Replies.ReadHeard, id => Requests.Event(id, npcs, text ?? "", importance, expiresSeconds), cancellation);

        /// <summary>Writes characters into a save slot; a power cut leaves the old save or the new one, whole.</summary>
        /// <param name="slot">The slot's name.</param>
        /// <param name="npcs">Who is written; null: the slot then holds all that there are.</param>
        /// <param name="journal">Whether what they do from then on is written to the slot as well, as it happens.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>When it is safe on the disk.</returns>
        public Task<NpcSaved> SaveAsync(
            string slot,
            IEnumerable<string> npcs = null,
            bool journal = false,
            CancellationToken cancellation = default(CancellationToken)) =>
            AskWithin(
                _settings.FileTimeout,
                "saved",
                NpcSaved.Read,
                id => Requests.Save(id, slot, npcs, journal),
                cancellation);

        /// <summary>Brings characters back from a save slot; what those of the same names say is cancelled.</summary>
        /// <param name="slot">The slot's name.</param>
        /// <param name="npcs">Who comes back; null: all of the slot.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>How they came back. Character gives the objects for them.</returns>
        public Task<NpcLoaded> LoadAsync(
            string slot,
            IEnumerable<string> npcs = null,
            CancellationToken cancellation = default(CancellationToken)) =>
            AskWithin(_settings.FileTimeout, "loaded", NpcLoaded.Read, id => Requests.Load(id, slot, npcs), cancellation);

        /// <summary>Every character that is there.</summary>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Their states.</returns>
        public Task<IReadOnlyList<NpcInfo>> ListAsync(CancellationToken cancellation = default(CancellationToken)) =>
            Ask("npcs", Replies.ReadInfos, Requests.List, cancellation);

        /// <summary>The engine's counters, for people and dashboards; rely on no key.</summary>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Numbers and texts by their names.</returns>
        public Task<IReadOnlyDictionary<string, object>> StatsAsync(
            CancellationToken cancellation = default(CancellationToken)) =>
            Ask("stats", Replies.ReadStats, Requests.Stats, cancellation);

        /// <summary>Ends when the engine itself, not just its socket, has answered.</summary>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Ends with the answer.</returns>
        public Task PingAsync(CancellationToken cancellation = default(CancellationToken)) =>
            Ask("pong", Replies.ReadOk, Requests.Ping, cancellation);

        internal Task<T> Ask<T>(
            string type, Func<MsgpackReader, T> read, Func<long, byte[]> body, CancellationToken cancellation) =>
            AskWithin(_settings.RequestTimeout, type, read, body, cancellation);

        /// <summary>For what waits until the character has finished its line.</summary>
        internal Task<T> AskLater<T>(
            string type, Func<MsgpackReader, T> read, Func<long, byte[]> body, CancellationToken cancellation) =>
            AskWithin(_settings.SayTimeout, type, read, body, cancellation);

        /// <summary>Cuts a say or scene short. That it is over already is no error.</summary>
        internal async Task<bool> CutAsync(long target, int? heard, CancellationToken cancellation)
        {
            try
            {
                return await Ask("ok", Replies.ReadCancelled, id => Requests.Cancel(id, target, heard), cancellation)
                    .ConfigureAwait(false);
            }
            catch (NpcException e) when (e.Code == NpcErrorCode.UnknownTarget)
            {
                return false;
            }
        }

        internal SpeechRequest NewSpeech(NpcCharacter character) =>
            new SpeechRequest(_open.NewId(), Clock.Ms(_settings.SayTimeout), _queue, _open, character);

        internal SceneRequest NewScene(NpcScene scene) =>
            new SceneRequest(_open.NewId(), Clock.Ms(_settings.SayTimeout), _queue, _open, scene);

        internal NpcCharacter FindCharacter(string npc)
        {
            lock (_characters)
            {
                return _characters.TryGetValue(npc, out NpcCharacter character) ? character : null;
            }
        }

        /// <summary>Sends a request. Whatever keeps it from being sent ends its Task.</summary>
        internal void Post(OpenRequest request, Task task, byte[] body, CancellationToken cancellation)
        {
            if (cancellation.IsCancellationRequested)
            {
                request.Abandon(cancellation);
                return;
            }
            try
            {
                Send(request, body);
            }
            catch (NpcException e)
            {
                request.Abandon(e);
                return;
            }
            OnCancelled(cancellation, task, () =>
            {
                GiveUp(request);
                request.Abandon(cancellation);
            });
        }

        private static void OnCancelled(CancellationToken cancellation, Task task, Action give)
        {
            if (!cancellation.CanBeCanceled)
            {
                return;
            }
            CancellationTokenRegistration registration = cancellation.Register(give);
            task.ContinueWith(
                _ => registration.Dispose(),
                CancellationToken.None,
                TaskContinuationOptions.ExecuteSynchronously,
                TaskScheduler.Default);
        }

        private Task<T> AskWithin<T>(
            TimeSpan limit,
            string type,
            Func<MsgpackReader, T> read,
            Func<long, byte[]> body,
            CancellationToken cancellation)
        {
            var request = new AnswerRequest<T>(_open.NewId(), Clock.Ms(limit), type, read);
            try
            {
                Post(request, request.Task, body(request.Id), cancellation);
            }
            catch (NpcException e)
            {
                request.Abandon(e);  // a card that cannot be sent
            }
            return request.Task;
        }

        private void Send(OpenRequest request, byte[] body)
        {
            lock (_gate)
            {
                if (_state != NpcConnectionState.Connected)
                {
                    throw NotConnected();
                }
                long most = MostBytes();
                if (body.Length > most)
                {
                    throw new NpcException(
                        NpcErrorCode.TooLarge,
                        "The request has " + body.Length + " bytes, most of them in '" + CardParts.Heaviest(body) + "'.",
                        "The engine takes " + most + ": max_message_bytes in Welcome.Limits.");
                }
                _open.Add(request);
                if (!_link.TrySend(body))
                {
                    _open.Remove(request.Id);
                    throw Lost.Unread();
                }
            }
        }

        private long MostBytes()
        {
            object limit = null;
            Welcome?.Limits.TryGetValue("max_message_bytes", out limit);
            return limit is long own ? Math.Min(own, MostRequestBytes) : MostRequestBytes;
        }

        private NpcException NotConnected() =>
            _state == NpcConnectionState.Disposed ? Lost.Closed()
            : new NpcException(
                NpcErrorCode.ConnectionLost,
                ("There is no connection to " + Endpoint + ". " + _lost?.Problem).TrimEnd(),
                _state == NpcConnectionState.Reconnecting ? "It is being made again: await ConnectAsync." : "Await ConnectAsync.");

        /// <summary>Forgets a request, and lets the engine stop at it.</summary>
        private void GiveUp(OpenRequest request)
        {
            _open.Remove(request.Id);
            if (request.IsCancelable)
            {
                SendCancel(request.Id);
            }
        }

        /// <summary>Lets the engine stop at a request; its answer interests nobody.</summary>
        private void SendCancel(long target)
        {
            lock (_gate)
            {
                if (_state == NpcConnectionState.Connected)
                {
                    _link.TrySend(Requests.Cancel(_open.NewId(), target, null));
                }
            }
        }
    }
}
