using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using UnityEngine;

namespace NpcEngine
{
    /// <summary>
    /// One character of the engine in a scene. It is brought to life when the engine is ready, and again
    /// when an engine has no longer got it. Disabling it leaves the character in the engine, with all that
    /// it remembers; DespawnAsync of Character takes it out.
    /// </summary>
    [AddComponentMenu("NPC Engine/Character")]
    [DefaultExecutionOrder(-90)]
    public sealed class NpcCharacterBehaviour : MonoBehaviour
    {
        /// <summary>The engine.</summary>
        [Tooltip("The object with the NpcEngineBehaviour.")]
        public NpcEngineBehaviour Engine;

        /// <summary>What it is called in the engine and in saves: 1 to 64 of A-Z a-z 0-9 _ . -, no dot first.</summary>
        [Tooltip("What it is called in the engine and in saves: mara")]
        public string Npc = "";

        /// <summary>Its card, as JSON.</summary>
        [Tooltip("A Character Card as JSON.")]
        public TextAsset Card;

        /// <summary>Where there is no Card: a JSON or PNG file, as a path in StreamingAssets or a whole path.</summary>
        [Tooltip("Where there is no Card: a JSON or PNG file, as a path in StreamingAssets or a whole path.")]
        public string CardPath = "";

        /// <summary>A save slot to go on from, or empty.</summary>
        [Tooltip("A save slot to go on from, if it holds this character.")]
        public string RestoreSlot = "";

        /// <summary>Whether OnText comes; it costs a record for each token.</summary>
        [Tooltip("Whether OnText comes. It costs a record for each token.")]
        public bool StreamsText;

        /// <summary>It is there; with its greeting, which is empty when it goes on from a save.</summary>
        public NpcTextEvent OnReady = new NpcTextEvent();

        /// <summary>A sentence that it speaks.</summary>
        public NpcTextEvent OnLine = new NpcTextEvent();

        /// <summary>A stage direction, such as "nods".</summary>
        public NpcTextEvent OnGesture = new NpcTextEvent();

        /// <summary>A piece of what it says, if StreamsText is set before it is enabled.</summary>
        public NpcTextEvent OnText = new NpcTextEvent();

        /// <summary>The whole reply to a say of this component, when it is over.</summary>
        public NpcTextEvent OnReply = new NpcTextEvent();

        /// <summary>What went wrong, in words for developers, and what to do. It is logged, too.</summary>
        public NpcTextEvent OnError = new NpcTextEvent();

        [NonSerialized]
        private readonly List<IDisposable> _subscriptions = new List<IDisposable>();

        [NonSerialized]
        private readonly Gate<NpcCharacter> _gate = new Gate<NpcCharacter>(Disabled());

        [NonSerialized]
        private object _spawning;

        /// <summary>A sentence that it speaks, with what the inspector's OnLine leaves out.</summary>
        public event Action<NpcLine> LineSpoken;

        /// <summary>
        /// The character, when it is there. Ends with an NpcException when it cannot be, when the engine is
        /// lost, or when this component is not enabled. Ask again each time; what was lost may be back.
        /// </summary>
        public Task<NpcCharacter> Ready => _gate.Opened;

        /// <summary>The character, or null while it is not there.</summary>
        public NpcCharacter Character => Ready.Status == TaskStatus.RanToCompletion ? Ready.Result : null;

        /// <summary>Says something to it; waits until it is there, if it is on its way.</summary>
        /// <param name="text">What the player says.</param>
        /// <param name="options">Who says it, and how it is to be answered; or null.</param>
        /// <param name="cancellation">Ends the Task at once, and the reply; to cut in, use Interrupt.</param>
        /// <returns>The whole reply, behind its last event. Ends with an NpcException if there is none.</returns>
        public async Task<NpcReply> SayAsync(
            string text, SayOptions options = null, CancellationToken cancellation = default(CancellationToken))
        {
            NpcCharacter character = await _gate.WaitAsync(cancellation);
            NpcReply reply = await character.SayAsync(text, options, cancellation);
            RaiseReply(reply.Text);
            return reply;
        }

        /// <summary>Says something to it; an error goes to OnError. For buttons and text fields.</summary>
        /// <param name="text">What the player says.</param>
        public void Say(string text) => Watch(SayAsync(text));

        /// <summary>Lets it read the player's line while it is being typed. For a text field's OnValueChanged.</summary>
        /// <param name="text">The line so far.</param>
        public void Hear(string text)
        {
            if (Character != null)
            {
                Watch(Character.HearAsync(text));
            }
        }

        /// <summary>Lets it perceive something that it does not answer: "The bell tolls."</summary>
        /// <param name="text">What happens, seen from outside.</param>
        public void Perceive(string text) => Watch(PerceiveAsync(text));

        /// <summary>The player cuts in: it remembers having said the lines that were handed out so far.</summary>
        public void Interrupt()
        {
            if (Character != null)
            {
                Watch(Character.InterruptAsync());
            }
        }

        /// <summary>The player cuts in, and you know how much was heard.</summary>
        /// <param name="heard">Code points of the reply's lines that were heard; see NpcLine.HeardAt.</param>
        public void InterruptAt(int heard)
        {
            if (Character != null)
            {
                Watch(Character.InterruptAsync(heard));
            }
        }

        /// <summary>The engine is being started.</summary>
        internal void Await()
        {
            Unsubscribe();
            _gate.Close();
        }

        /// <summary>The engine is there.</summary>
        internal void Attach(NpcClient client)
        {
            Await();
            NpcCharacter character = client.Character(Npc);
            _subscriptions.Add(character.LineSpoken.Subscribe(Hand));
            _subscriptions.Add(character.Gesture.Subscribe(gesture => OnGesture.Invoke(gesture.Text)));
            if (StreamsText)
            {
                _subscriptions.Add(character.TextStreamed.Subscribe(text => OnText.Invoke(text.Text)));
            }
            var spawning = new object();
            _spawning = spawning;
            Watch(SpawnAsync(client, spawning));
        }

        /// <summary>The engine is not there, or no more.</summary>
        internal void Detach(NpcException why)
        {
            Unsubscribe();
            _gate.Fail(why);
        }

        private static NpcException Disabled() => new NpcException(
            NpcErrorCode.Closed, "The NpcCharacterBehaviour is not enabled.", "Enable it and its object first.");

        private void OnEnable()
        {
            _gate.Close();
            if (Engine == null)
            {
                Detach(new NpcException(
                    NpcErrorCode.BadCall,
                    "The character \"" + name + "\" has no engine.",
                    "Drag the object with the NpcEngineBehaviour into its field Engine."));
                Watch(Ready);
                return;
            }
            Engine.Add(this);
        }

        private void OnDisable()
        {
            if (!ReferenceEquals(Engine, null))  // it may be destroyed already
            {
                Engine.Remove(this);
            }
            Detach(Disabled());
        }

        private async Task SpawnAsync(NpcClient client, object spawning)
        {
            try
            {
                string greeting = await SpawnOrFindAsync(client);
                if (_spawning == spawning)
                {
                    _gate.Open(client.Character(Npc));
                    OnReady.Invoke(greeting);
                }
            }
            catch (NpcException e) when (_spawning == spawning)
            {
                Detach(e);
                throw;
            }
        }

        private async Task<string> SpawnOrFindAsync(NpcClient client)
        {
            try
            {
                var options = new SpawnOptions { Restore = string.IsNullOrEmpty(RestoreSlot) ? null : RestoreSlot };
                return (await client.SpawnAsync(Npc, ReadCard(), options)).Spawned.Greeting;
            }
            catch (NpcException e) when (e.Code == NpcErrorCode.NpcExists)
            {
                return "";  // it was here before, and knows it
            }
        }

        private NpcCard ReadCard()
        {
            if (Card != null)
            {
                return NpcCard.FromJson(Card.text);
            }
            if (string.IsNullOrEmpty(CardPath))
            {
                throw new NpcException(
                    NpcErrorCode.BadCard, "The character \"" + Npc + "\" has no card.", "Set its Card or CardPath.");
            }
            return NpcCard.FromFile(NpcFiles.Shipped(CardPath));
        }

        private void Hand(NpcLine line)
        {
            OnLine.Invoke(line.Text);
            LineSpoken?.Invoke(line);
        }

        private async Task PerceiveAsync(string text) => await (await Ready).PerceiveAsync(text);

        private void Unsubscribe()
        {
            _spawning = null;
            foreach (IDisposable subscription in _subscriptions)
            {
                subscription.Dispose();
            }
            _subscriptions.Clear();
        }

        /// <summary>Tells of an error that nobody awaits. That this component is disabled meanwhile is none.</summary>
        private async void Watch(Task task)
        {
            try
            {
                await task;
            }
            catch (NpcException e)
            {
                if (this != null && (isActiveAndEnabled || e.Code != NpcErrorCode.Closed))
                {
                    Debug.LogError(e.Message, this);
                    OnError.Invoke(e.Message);
                }
            }
        }

        private void RaiseReply(string text)
        {
            try
            {
                OnReply.Invoke(text);
            }
            catch (Exception e)
            {
                Debug.LogException(e, this);  // a fault of the game: the say itself has ended well
            }
        }
    }
}
