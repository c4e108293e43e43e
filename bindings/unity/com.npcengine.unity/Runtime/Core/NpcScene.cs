using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>
    /// Characters who talk with each other. What they say is told here, and at each character's own events.
    /// The player takes part by a say to one of them.
    /// </summary>
    public sealed class NpcScene
    {
        private static readonly SceneOptions Defaults = new SceneOptions();

        private readonly NpcClient _client;
        private SceneRequest _run;

        internal NpcScene(NpcClient client, string scene)
        {
            _client = client;
            Scene = scene;
        }

        /// <summary>The scene's name.</summary>
        public string Scene { get; }

        /// <summary>A sentence that one of them speaks.</summary>
        public NpcEvent<NpcLine> LineSpoken { get; } = new NpcEvent<NpcLine>();

        /// <summary>A stage direction of one of them.</summary>
        public NpcEvent<NpcGesture> Gesture { get; } = new NpcEvent<NpcGesture>();

        /// <summary>A piece of what one of them says. Subscribe before RunAsync.</summary>
        public NpcEvent<NpcText> TextStreamed { get; } = new NpcEvent<NpcText>();

        /// <summary>One of them has finished a turn.</summary>
        public NpcEvent<NpcTurn> TurnEnded { get; } = new NpcEvent<NpcTurn>();

        /// <summary>Lets them talk.</summary>
        /// <param name="npcs">Who takes part: 2 to 16 characters.</param>
        /// <param name="options">What about, how long, and so on; or null.</param>
        /// <param name="cancellation">Ends the Task and the scene at once.</param>
        /// <returns>How it ended, in Pump, behind its last event.</returns>
        public Task<NpcSceneEnd> RunAsync(
            IEnumerable<string> npcs,
            SceneOptions options = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            options = options ?? Defaults;
            NpcStream? stream = options.Stream
                ?? (TextStreamed.HasSubscribers ? NpcCharacter.Everything : (NpcStream?)null);
            SceneRequest request = _client.NewScene(this);
            request.Heard = NpcCharacter.HasLines(stream) ? 0 : (int?)null;
            Volatile.Write(ref _run, request);
            byte[] body = Requests.Scene(request.Id, Scene, npcs ?? new string[0], options, stream);
            _client.Post(request, request.Task, body, cancellation);
            return request.Task;
        }

        /// <summary>Ends it. They remember the lines that were handed out so far.</summary>
        /// <param name="cancellation">Gives up waiting for the engine's answer.</param>
        /// <returns>Whether it still ran. The Task of RunAsync ends with NpcReason.Cancelled.</returns>
        public Task<bool> InterruptAsync(CancellationToken cancellation = default(CancellationToken))
        {
            SceneRequest run = Volatile.Read(ref _run);
            return run == null ? Task.FromResult(false) : _client.CutAsync(run.Id, run.Heard, cancellation);
        }

        /// <summary>Ends it, and you know how much was heard.</summary>
        /// <param name="heard">Code points of all the scene's lines that were heard; see NpcLine.HeardAt.</param>
        /// <param name="cancellation">Gives up waiting for the engine's answer.</param>
        /// <returns>Whether it still ran.</returns>
        public Task<bool> InterruptAsync(int heard, CancellationToken cancellation = default(CancellationToken))
        {
            SceneRequest run = Volatile.Read(ref _run);
            return run == null ? Task.FromResult(false) : _client.CutAsync(run.Id, heard, cancellation);
        }

        /// <summary>Lets one more character take part.</summary>
        /// <param name="npc">Its name.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Ends when it has joined.</returns>
        public Task JoinAsync(string npc, CancellationToken cancellation = default(CancellationToken)) =>
            _client.Ask("ok", Replies.ReadOk, id => Requests.Join(id, Scene, npc), cancellation);

        /// <summary>Lets a character leave; with fewer than two left the scene ends.</summary>
        /// <param name="npc">Its name.</param>
        /// <param name="cancellation">Gives up waiting.</param>
        /// <returns>Ends when it has left.</returns>
        public Task LeaveAsync(string npc, CancellationToken cancellation = default(CancellationToken)) =>
            _client.Ask("ok", Replies.ReadOk, id => Requests.Leave(id, Scene, npc), cancellation);

        internal void Raise(object record)
        {
            string npc = null;
            if (record is NpcLine line)
            {
                npc = line.Npc;
                LineSpoken.Raise(line);
            }
            else if (record is NpcGesture gesture)
            {
                npc = gesture.Npc;
                Gesture.Raise(gesture);
            }
            else if (record is NpcText text)
            {
                npc = text.Npc;
                TextStreamed.Raise(text);
            }
            else if (record is NpcTurn turn)
            {
                TurnEnded.Raise(turn);
            }
            if (npc != null)
            {
                _client.FindCharacter(npc)?.Raise(record);
            }
        }
    }
}
