using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace NpcEngine
{
    /// <summary>
    /// One character of the engine: talk to it, and hear it speak. There is one object for each name of a
    /// client, which stays good when the character is loaded from a save or spawned again.
    /// </summary>
    public sealed partial class NpcCharacter
    {
        private static readonly SayOptions Defaults = new SayOptions();

        private readonly NpcClient _client;
        private readonly List<SpeechRequest> _says = new List<SpeechRequest>();
        private SpeechRequest _last;

        internal NpcCharacter(NpcClient client, string npc)
        {
            _client = client;
            Npc = npc;
        }

        /// <summary>Its name in the engine.</summary>
        public string Npc { get; }

        /// <summary>What the engine said when this client spawned it; null when it did not.</summary>
        public NpcSpawned Spawned { get; internal set; }

        /// <summary>A sentence that it speaks, in an answer or in a scene.</summary>
        public NpcEvent<NpcLine> LineSpoken { get; } = new NpcEvent<NpcLine>();

        /// <summary>A stage direction, such as "nods".</summary>
        public NpcEvent<NpcGesture> Gesture { get; } = new NpcEvent<NpcGesture>();

        /// <summary>A piece of what it says, as it is decoded. Subscribe before the say.</summary>
        public NpcEvent<NpcText> TextStreamed { get; } = new NpcEvent<NpcText>();

        /// <summary>Whether a say to it is open.</summary>
        public bool IsAnswering
        {
            get
            {
                lock (_says)
                {
                    return _says.Count > 0;
                }
            }
        }

        /// <summary>Says something to it. What it answers comes as events, in Pump.</summary>
        /// <param name="text">What the player says; empty: nothing.</param>
        /// <param name="cancellation">
        /// Ends the Task at once, with no further events, and the reply in the engine. To let the player cut
        /// in, use InterruptAsync: then the character knows how much of it was heard.
        /// </param>
        /// <returns>The whole reply, in Pump, behind its last event.</returns>
        public Task<NpcReply> SayAsync(string text, CancellationToken cancellation = default(CancellationToken)) =>
            SayAsync(text, Defaults, cancellation);

        /// <summary>Says something to it, with options.</summary>
        /// <param name="text">What is said; empty: nothing.</param>
        /// <param name="options">Who says it, and how it is to be answered.</param>
        /// <param name="cancellation">As for the other SayAsync.</param>
        /// <returns>The whole reply, in Pump, behind its last event.</returns>
        public Task<NpcReply> SayAsync(
            string text, SayOptions options, CancellationToken cancellation = default(CancellationToken))
        {
            options = options ?? Defaults;
            NpcStream? stream = options.Stream ?? (TextStreamed.HasSubscribers ? Everything : (NpcStream?)null);
            SpeechRequest request = _client.NewSpeech(this);
            request.Heard = HasLines(stream) ? 0 : (int?)null;
            lock (_says)
            {
                _says.Add(request);
            }
            _client.Post(
                request, request.Task, Requests.Say(request.Id, Npc, text ?? "", options, stream), cancellation);
            return request.Task;
        }

        /// <summary>
        /// The player cuts in: what it is saying ends, and of it the character remembers the lines that were
        /// handed out so far. After the end of a reply, too: the player may not have read all of it.
        /// </summary>
        /// <param name="cancellation">Gives up waiting for the engine's answer.</param>
        /// <returns>Whether it was still speaking. The say's own Task ends with NpcReason.Cancelled.</returns>
        public Task<bool> InterruptAsync(CancellationToken cancellation = default(CancellationToken))
        {
            SpeechRequest target = Target();
            return target == null ? Task.FromResult(false) : _client.CutAsync(target.Id, target.Heard, cancellation);
        }

        /// <summary>The player cuts in, and you know how much was heard.</summary>
        /// <param name="heard">Code points of the reply's lines that were heard; see NpcLine.HeardAt.</param>
        /// <param name="cancellation">Gives up waiting for the engine's answer.</param>
        /// <returns>Whether it was still speaking.</returns>
        public Task<bool> InterruptAsync(int heard, CancellationToken cancellation = default(CancellationToken))
        {
            SpeechRequest target = Target();
            return target == null ? Task.FromResult(false) : _client.CutAsync(target.Id, heard, cancellation);
        }

        internal const NpcStream Everything = NpcStream.Text | NpcStream.Lines | NpcStream.Gestures;

        /// <summary>Whether lines come with these: the engine's own choice has them.</summary>
        internal static bool HasLines(NpcStream? stream) => !stream.HasValue || (stream.Value & NpcStream.Lines) != 0;

        internal void Raise(object record)
        {
            if (record is NpcLine line)
            {
                LineSpoken.Raise(line);
            }
            else if (record is NpcGesture gesture)
            {
                Gesture.Raise(gesture);
            }
            else if (record is NpcText text)
            {
                TextStreamed.Raise(text);
            }
        }

        internal void OnOver(SpeechRequest request, bool isAnswered)
        {
            lock (_says)
            {
                if (_says.Remove(request) && isAnswered)
                {
                    _last = request;
                }
            }
        }

        /// <summary>The say that it is answering, or else the last one that it has answered.</summary>
        private SpeechRequest Target()
        {
            lock (_says)
            {
                return _says.Count > 0 ? _says[0] : _last;
            }
        }
    }
}
