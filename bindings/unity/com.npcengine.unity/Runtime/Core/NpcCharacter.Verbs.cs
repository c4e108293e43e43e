using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>What a character is told and asked beside talk; each is answered once.</summary>
    public sealed partial class NpcCharacter
    {
        /// <summary>
        /// Lets it read the player's line so far, whole, while it is still being typed: the answer to the say
        /// comes sooner. Send it as often as you like, and without awaiting it.
        /// </summary>
        /// <param name="text">The line so far.</param>
        /// <param name="speaker">The same as in the say; null: "Player".</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Ends when the engine has taken it.</returns>
        public Task HearAsync(
            string text, string speaker = null, CancellationToken cancellation = default(CancellationToken)) =>
            _client.Ask("ok", Replies.ReadOk, id => Requests.Hear(id, Npc, text ?? "", speaker), cancellation);

        /// <summary>Tells that it is about to be spoken to: it is called in from where it is parked.</summary>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Ends at once.</returns>
        public Task AttendAsync(CancellationToken cancellation = default(CancellationToken)) =>
            _client.Ask("ok", Replies.ReadOk, id => Requests.Attend(id, Npc), cancellation);

        /// <summary>Lets it perceive something that it does not answer: "The bell tolls."</summary>
        /// <param name="text">What happens, seen from outside.</param>
        /// <param name="importance">0 to 1: how long it is remembered; null: as words, 0.5.</param>
        /// <param name="expiresSeconds">After that an event that no reply has taken in no longer matters.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Ends when the engine has taken it.</returns>
        public Task PerceiveAsync(
            string text,
            double? importance = null,
            double? expiresSeconds = null,
            CancellationToken cancellation = default(CancellationToken)) =>
            _client.PerceiveAsync(text, new[] { Npc }, importance, expiresSeconds, cancellation);

        /// <summary>Lets it never forget a fact: "You promised the player your sword."</summary>
        /// <param name="fact">The fact, in words.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>When it has finished its line. The turn is what UnpinAsync takes.</returns>
        public Task<NpcPinned> PinAsync(string fact, CancellationToken cancellation = default(CancellationToken)) =>
            _client.AskLater("pinned", NpcPinned.Read, id => Requests.Pin(id, Npc, fact, null), cancellation);

        /// <summary>Lets it never forget a turn.</summary>
        /// <param name="turn">The turn of an NpcReply.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>When it has finished its line.</returns>
        public Task<NpcPinned> PinTurnAsync(int turn, CancellationToken cancellation = default(CancellationToken)) =>
            _client.AskLater("pinned", NpcPinned.Read, id => Requests.Pin(id, Npc, null, turn), cancellation);

        /// <summary>Lets a pinned turn age like any other.</summary>
        /// <param name="turn">The turn of an NpcPinned.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Ends when that is done.</returns>
        public Task UnpinAsync(int turn, CancellationToken cancellation = default(CancellationToken)) =>
            _client.AskLater("ok", Replies.ReadOk, id => Requests.Unpin(id, Npc, turn), cancellation);

        /// <summary>Lets it forget its last turns: the player goes back in the talk.</summary>
        /// <param name="turns">How many.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>When it has finished its line; interrupt it first if it is not to.</returns>
        public Task<NpcRewound> RewindAsync(int turns, CancellationToken cancellation = default(CancellationToken)) =>
            _client.AskLater("rewound", NpcRewound.Read, id => Requests.Rewind(id, Npc, turns, null), cancellation);

        /// <summary>Lets it forget all that came after a turn.</summary>
        /// <param name="turn">The last turn to keep, of an NpcReply; 0: keep none.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>When it has finished its line.</returns>
        public Task<NpcRewound> RewindToAsync(int turn, CancellationToken cancellation = default(CancellationToken)) =>
            _client.AskLater("rewound", NpcRewound.Read, id => Requests.Rewind(id, Npc, null, turn), cancellation);

        /// <summary>Writes it into a save slot; the others of the slot stay as they are.</summary>
        /// <param name="slot">The slot's name.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>When it is safe on the disk.</returns>
        public Task<NpcSaved> SaveAsync(string slot, CancellationToken cancellation = default(CancellationToken)) =>
            _client.SaveAsync(slot, new[] { Npc }, cancellation: cancellation);

        /// <summary>Brings it back from a save slot; what it is saying is cancelled.</summary>
        /// <param name="slot">The slot's name.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>How it came back.</returns>
        public Task<NpcLoaded> LoadAsync(string slot, CancellationToken cancellation = default(CancellationToken)) =>
            _client.LoadAsync(slot, new[] { Npc }, cancellation);

        /// <summary>Takes it out of the engine; what was not saved is lost.</summary>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Ends when it is gone.</returns>
        public Task DespawnAsync(CancellationToken cancellation = default(CancellationToken)) =>
            _client.Ask("ok", Replies.ReadOk, id => Requests.Despawn(id, Npc), cancellation);

        /// <summary>The talk as it remembers it.</summary>
        /// <param name="last">Only so many turns, the newest; null: all.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Its turns, without a line that it is just speaking.</returns>
        public Task<NpcTranscript> TranscriptAsync(
            int? last = null, CancellationToken cancellation = default(CancellationToken)) =>
            _client.Ask("transcript", NpcTranscript.Read, id => Requests.Transcript(id, Npc, last), cancellation);

        /// <summary>What it has in its window, for developers' tools.</summary>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Its window.</returns>
        public Task<NpcWindow> WindowAsync(CancellationToken cancellation = default(CancellationToken)) =>
            _client.Ask("window", NpcWindow.Read, id => Requests.Window(id, Npc), cancellation);
    }
}
