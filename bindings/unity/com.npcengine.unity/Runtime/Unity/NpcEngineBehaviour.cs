using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using UnityEngine;
using UnityEngine.Events;

namespace NpcEngine
{
    /// <summary>
    /// The engine in a scene. It runs while this component is enabled: OnDisable ends it, and that comes
    /// with the end of play mode, of the game and of the scene, and before scripts that were compiled
    /// anew are loaded (it is then started again). Put it on an object of its own, with DontDestroyOnLoad
    /// if it is to outlive its scene. An engine that crashes is started again, three times.
    /// </summary>
    [AddComponentMenu("NPC Engine/Engine")]
    [DisallowMultipleComponent]
    [DefaultExecutionOrder(-100)]  // lines are handed out before the game's own Update
    public sealed class NpcEngineBehaviour : MonoBehaviour
    {
        /// <summary>Whether the engine is started as a child process; if not, one runs at Endpoint.</summary>
        [Header("An engine of the game's own")]
        [Tooltip("Start the engine as a child process. If not, one runs at Endpoint. IL2CPP builds cannot start processes.")]
        public bool StartsEngine = true;

        /// <summary>The program: a path in StreamingAssets, a whole path, or a name that the system finds.</summary>
        [Tooltip("A path in StreamingAssets, a whole path, or a name that the system finds.")]
        public string Executable = "npc-engine";

        /// <summary>The GGUF model: a path in StreamingAssets, or a whole path.</summary>
        [Tooltip("The GGUF file: a path in StreamingAssets, or a whole path.")]
        public string Model = "model.gguf";

        /// <summary>The folder of the saves: a path in Application.persistentDataPath, or a whole path.</summary>
        [Tooltip("A path in Application.persistentDataPath, or a whole path.")]
        public string SavesFolder = "npc-saves";

        /// <summary>More flags of npc-engine serve, each word by itself: "--window", "4096".</summary>
        [Tooltip("More flags of npc-engine serve, each word by itself.")]
        public string[] MoreArguments = new string[0];

        /// <summary>What stands between the program and "serve": "-m", "npc_engine" for a Python.</summary>
        [Tooltip("What stands between the program and \"serve\": -m, npc_engine for a Python.")]
        public string[] FirstArguments = new string[0];

        /// <summary>How long the engine may take until it is ready, in seconds.</summary>
        [Min(1)]
        [Tooltip("How long the engine may take until it is ready.")]
        public float ReadySeconds = 120;

        /// <summary>Where an engine listens that this component does not start.</summary>
        [Header("An engine that runs already")]
        [Tooltip("As on its READY line.")]
        public string Endpoint = "tcp://127.0.0.1:5757";

        /// <summary>Its token; a scene is no place for a secret: set it from a script, before OnEnable.</summary>
        [NonSerialized]
        public string Token;

        /// <summary>How long handing out lines and events may take in a frame, in milliseconds.</summary>
        [Header("Frames")]
        [Min(0)]
        [Tooltip("How many milliseconds of a frame lines and events may take.")]
        public float PumpMilliseconds = 2;

        /// <summary>The engine answers; again when it was lost and is back.</summary>
        public UnityEvent OnReady = new UnityEvent();

        /// <summary>What went wrong, in words for developers, and what to do. It is logged, too.</summary>
        public NpcTextEvent OnError = new NpcTextEvent();

        /// <summary>Save has written a slot; with the slot's name.</summary>
        public NpcTextEvent OnSaved = new NpcTextEvent();

        /// <summary>Load has brought the characters of a slot back; with the slot's name.</summary>
        public NpcTextEvent OnLoaded = new NpcTextEvent();

        private const int MostRestarts = 3;

        [NonSerialized]
        private readonly List<NpcCharacterBehaviour> _characters = new List<NpcCharacterBehaviour>();

        [NonSerialized]
        private readonly Gate<NpcClient> _gate = new Gate<NpcClient>(Disabled());

        [NonSerialized]
        private EngineRun _run;

        [NonSerialized]
        private bool _isStarted;

        [NonSerialized]
        private int _restarts;

        /// <summary>
        /// The connection, when the engine answers. Ends with an NpcException when it cannot be started, is
        /// lost, or when this component is not enabled. Ask again each time; what was lost may be back.
        /// </summary>
        public Task<NpcClient> Ready => _gate.Opened;

        /// <summary>The connection, or null while the engine is not there.</summary>
        public NpcClient Client => Ready.Status == TaskStatus.RanToCompletion ? Ready.Result : null;

        /// <summary>Writes all characters into a save slot; OnSaved or OnError tell how it went. For buttons.</summary>
        /// <param name="slot">The slot's name.</param>
        public void Save(string slot) => Watch(SaveAsync(slot));

        /// <summary>Brings the characters of a save slot back; OnLoaded or OnError tell how it went. For buttons.</summary>
        /// <param name="slot">The slot's name.</param>
        public void Load(string slot) => Watch(LoadAsync(slot));

        internal void Add(NpcCharacterBehaviour character)
        {
            _characters.Add(character);
            if (Client != null)
            {
                character.Attach(Client);
            }
            else if (Ready.IsCompleted)
            {
                character.Detach(Failure());
            }
        }

        internal void Remove(NpcCharacterBehaviour character) => _characters.Remove(character);

        private static NpcException Disabled() => new NpcException(
            NpcErrorCode.Closed, "The NpcEngineBehaviour is not enabled.", "Enable it and its object first.");

        private void OnEnable()
        {
            _restarts = 0;
            Begin();
        }

        private void OnDisable() => End(Disabled());

        private void Update()
        {
            if (_run != null && !_isStarted && _run.Started.IsCompleted)
            {
                HeedStart();
            }
            if (_run != null && _isStarted)
            {
                Pump();
            }
            if (_run != null && _isStarted && _run.HasDied)
            {
                Restart();
            }
        }

        private void Begin()
        {
            _gate.Close();
            foreach (NpcCharacterBehaviour character in _characters.ToArray())
            {
                character.Await();
            }
            try
            {
                _run = new EngineRun(StartsEngine ? EngineSettings() : null, ClientSettings());
            }
            catch (NpcException e)
            {
                Fail(e);
            }
        }

        private void End(NpcException why)
        {
            EngineRun run = _run;
            _run = null;
            _isStarted = false;
            Lose(why);
            run?.Dispose();
        }

        private void HeedStart()
        {
            if (_run.Started.Status != TaskStatus.RanToCompletion)
            {
                Fail(_run.Started.Exception?.InnerException ?? Disabled());
                return;
            }
            _isStarted = true;
            NpcClient client = _run.Client;
            client.Connected.Subscribe(_ => Find(client));
            client.Disconnected.Subscribe(Miss);
            client.ErrorReceived.Subscribe(Report);
        }

        private void Pump()
        {
            try
            {
                _run.Client.Pump(PumpMilliseconds);
            }
            catch (Exception e)
            {
                Debug.LogException(e, this);  // of a handler of the game; nothing is lost by it
            }
        }

        private void Restart()
        {
            string last = _run.LastWords;
            if (_restarts == MostRestarts)
            {
                Fail(new NpcException(
                    NpcErrorCode.Setup,
                    ("The engine has ended " + (MostRestarts + 1) + " times by itself. " + last).Trim(),
                    "Run: npc-engine doctor, with the same model."));
                return;
            }
            _restarts++;
            Debug.LogWarning("The engine has ended by itself and is started again. " + last, this);
            End(new NpcException(NpcErrorCode.ConnectionLost, "The engine has ended by itself.", "It is started again."));
            if (isActiveAndEnabled)
            {
                Begin();
            }
        }

        private void Find(NpcClient client)
        {
            _gate.Open(client);
            foreach (NpcCharacterBehaviour character in _characters.ToArray())
            {
                character.Attach(client);
            }
            OnReady.Invoke();
        }

        private void Miss(NpcException why)
        {
            Lose(why);
            Report(why);
        }

        private void Lose(NpcException why)
        {
            _gate.Fail(why);
            foreach (NpcCharacterBehaviour character in _characters.ToArray())
            {
                character.Detach(why);
            }
        }

        private void Fail(Exception why)
        {
            NpcException error = why as NpcException
                ?? new NpcException(NpcErrorCode.Setup, "The engine cannot be started: " + why.Message, "", why);
            End(error);
            Report(error);
        }

        private void Report(NpcException error)
        {
            Debug.LogError(error.Message, this);
            OnError.Invoke(error.Message);
        }

        private NpcException Failure() => (NpcException)Ready.Exception.InnerException;

        private async Task SaveAsync(string slot)
        {
            await (await Ready).SaveAsync(slot);
            OnSaved.Invoke(slot);
        }

        private async Task LoadAsync(string slot)
        {
            await (await Ready).LoadAsync(slot);
            OnLoaded.Invoke(slot);
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
                    Report(e);
                }
            }
        }

        private EngineProcessSettings EngineSettings() => new EngineProcessSettings
        {
            Executable = NpcFiles.Program(Executable),
            FirstArguments = FirstArguments,
            Model = NpcFiles.Shipped(Model),
            SavesFolder = NpcFiles.Kept(SavesFolder),
            MoreArguments = MoreArguments,
            ReadyTimeout = TimeSpan.FromSeconds(ReadySeconds),
        };

        private NpcClientSettings ClientSettings() =>
            new NpcClientSettings { Endpoint = Endpoint, Token = Token, ClientName = "unity" };
    }
}
