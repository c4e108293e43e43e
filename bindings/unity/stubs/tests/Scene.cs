using System;
using System.Collections.Generic;
using UnityEngine;

namespace NpcEngine.Tests
{
    /// <summary>An engine and Mara, on objects of their own, and all that they tell.</summary>
    internal sealed class Scene
    {
        private StubEngine _stub;

        internal NpcEngineBehaviour Engine { get; private set; }

        internal NpcCharacterBehaviour Mara { get; private set; }

        internal string Greeting { get; private set; }

        internal List<string> Heard { get; } = new List<string>();

        internal List<string> Errors { get; } = new List<string>();

        internal static Scene New(StubEngine stub, Action<NpcCharacterBehaviour> change = null)
        {
            var scene = new Scene { _stub = stub };
            GameObject engine = PlayMode.Inactive("Engine");
            GameObject inn = PlayMode.Inactive("Inn");
            scene.Engine = PlayMode.AddEngine(engine, stub);
            scene.Mara = PlayMode.AddMara(inn, scene.Engine);
            change?.Invoke(scene.Mara);
            scene.Engine.OnError.AddListener(scene.Errors.Add);
            scene.Mara.OnError.AddListener(scene.Errors.Add);
            scene.Mara.OnReady.AddListener(greeting => scene.Greeting = greeting);
            scene.Mara.OnLine.AddListener(scene.Heard.Add);
            scene.Mara.OnGesture.AddListener(text => scene.Heard.Add("*" + text + "*"));
            scene.Mara.OnReply.AddListener(text => scene.Heard.Add("= " + text));
            engine.SetActive(true);
            inn.SetActive(true);
            return scene;
        }

        internal static Scene Alive(StubEngine stub)
        {
            Scene scene = New(stub);
            scene.Welcome();
            return scene;
        }

        internal void Connect()
        {
            _stub.Welcome();
            PlayMode.Until(() => Engine.Client != null);
        }

        internal void Welcome()
        {
            Connect();
            _stub.Send(
                "type", "spawned", "id", _stub.Next("spawn")["id"], "npc", "mara", "n_pinned", 5L,
                "greeting", "Boots on the mat.");
            PlayMode.Until(() => Mara.Character != null);
        }
    }
}
