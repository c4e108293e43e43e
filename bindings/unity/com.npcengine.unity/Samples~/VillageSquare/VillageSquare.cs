using System;
using NpcEngine;
using UnityEngine;

/// <summary>
/// A whole game on one object: an engine and three villagers, made by code, and a plain window to talk with
/// them. Add this to an empty object of an empty scene, set Model, and press Play.
/// </summary>
[AddComponentMenu("NPC Engine/Samples/Village Square")]
public sealed class VillageSquare : MonoBehaviour
{
    private const string Slot = "village";

    private static readonly string[] Names = { "mara", "bram", "wren" };

    /// <summary>The GGUF model: a path in StreamingAssets, or a whole path.</summary>
    public string Model = "model.gguf";

    /// <summary>The engine's program: a path in StreamingAssets, a whole path, or a name that the system finds.</summary>
    public string Executable = "npc-engine";

    /// <summary>What stands between the program and "serve".</summary>
    public string[] FirstArguments = new string[0];

    /// <summary>More flags of npc-engine serve.</summary>
    public string[] MoreArguments = new string[0];

    [NonSerialized]
    private GameObject _village;

    [NonSerialized]
    private NpcEngineBehaviour _engine;

    [NonSerialized]
    private NpcCharacterBehaviour[] _villagers;

    [NonSerialized]
    private NpcDialogueBox _box;

    [NonSerialized]
    private string _said = "";

    [NonSerialized]
    private string _typed = "";

    [NonSerialized]
    private string _notice = "The engine is starting.";

    private void OnEnable()
    {
        // Built while it is inactive: a component reads its settings when it is enabled.
        _village = new GameObject("Village");
        _village.SetActive(false);
        _engine = AddEngine();
        _villagers = Array.ConvertAll(Names, AddVillager);
        _box = _village.AddComponent<NpcDialogueBox>();
        _box.OnShown.AddListener(text => _said = text);
        _village.SetActive(true);
        Approach(_villagers[0]);
    }

    private void OnDisable() => Destroy(_village);

    private void OnGUI()
    {
        GUILayout.Label(_notice);
        GUILayout.BeginHorizontal();
        foreach (NpcCharacterBehaviour villager in _villagers)
        {
            if (GUILayout.Button(villager.Npc))
            {
                Approach(villager);
            }
        }
        GUILayout.EndHorizontal();
        GUILayout.Label(_box.Speaker.Npc + ": " + _said);
        Type(GUILayout.TextField(_typed));
        GUILayout.BeginHorizontal();
        Buttons();
        GUILayout.EndHorizontal();
    }

    private void Buttons()
    {
        if (GUILayout.Button("Say"))
        {
            _box.Submit(_typed);
            _typed = "";
        }
        if (GUILayout.Button("Next"))
        {
            _box.Next();
        }
        if (GUILayout.Button("Ring the bell"))
        {
            Array.ForEach(_villagers, villager => villager.Perceive("The bell of the ferry rings."));
        }
        if (GUILayout.Button("Save"))
        {
            _engine.Save(Slot);
        }
        if (GUILayout.Button("Load"))
        {
            _engine.Load(Slot);
        }
    }

    private void Approach(NpcCharacterBehaviour villager)
    {
        _said = "";
        _box.TurnTo(villager);
    }

    private void Type(string typed)
    {
        if (typed != _typed)
        {
            _typed = typed;
            _box.Typing(typed);
        }
    }

    private NpcEngineBehaviour AddEngine()
    {
        var engine = _village.AddComponent<NpcEngineBehaviour>();
        engine.Model = Model;
        engine.Executable = Executable;
        engine.FirstArguments = FirstArguments;
        engine.MoreArguments = MoreArguments;
        engine.OnReady.AddListener(() => _notice = "The village is awake. Type, and press Say.");
        engine.OnSaved.AddListener(_ => _notice = "Saved.");
        engine.OnLoaded.AddListener(_ => _notice = "Loaded.");
        engine.OnError.AddListener(error => _notice = error);
        return engine;
    }

    private NpcCharacterBehaviour AddVillager(string npc)
    {
        var villager = _village.AddComponent<NpcCharacterBehaviour>();
        villager.Engine = _engine;
        villager.Npc = npc;
        villager.Card = Resources.Load<TextAsset>("NpcVillage/" + npc);
        villager.OnReady.AddListener(greeting => Greet(villager, greeting));
        villager.OnGesture.AddListener(gesture => _notice = "(" + npc + " " + gesture + ")");
        villager.OnError.AddListener(error => _notice = error);
        return villager;
    }

    private void Greet(NpcCharacterBehaviour villager, string greeting)
    {
        if (villager == _box.Speaker && greeting != "")
        {
            _said = greeting;
        }
    }
}
