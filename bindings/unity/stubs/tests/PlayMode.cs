using System;
using System.Diagnostics;
using System.IO;
using System.Threading;
using NUnit.Framework;
using UnityEngine;

namespace NpcEngine.Tests
{
    /// <summary>Play mode in a folder of its own, from construction to Dispose. Frames come every millisecond.</summary>
    internal sealed class PlayMode : IDisposable
    {
        private readonly string _folder = Repository.NewFolder();

        internal PlayMode()
        {
            Player.EnterPlayMode(_folder);
        }

        internal static NpcEngineBehaviour AddEngine(GameObject to, StubEngine stub = null)
        {
            var engine = to.AddComponent<NpcEngineBehaviour>();
            if (stub != null)
            {
                engine.StartsEngine = false;
                engine.Endpoint = stub.Endpoint;
                return engine;
            }
            EngineProcessSettings settings = Repository.Engine(null);
            engine.Executable = settings.Executable;
            engine.FirstArguments = new System.Collections.Generic.List<string>(settings.FirstArguments).ToArray();
            engine.MoreArguments = new System.Collections.Generic.List<string>(settings.MoreArguments).ToArray();
            engine.Model = Repository.TinyModel;
            return engine;
        }

        internal static NpcCharacterBehaviour AddMara(GameObject to, NpcEngineBehaviour engine)
        {
            var mara = to.AddComponent<NpcCharacterBehaviour>();
            mara.Engine = engine;
            mara.Npc = "mara";
            mara.Card = new TextAsset("{\"name\": \"Mara\", \"description\": \"Keeps the inn.\"}");
            return mara;
        }

        internal static GameObject Inactive(string name)
        {
            var it = new GameObject(name);
            it.SetActive(false);
            return it;
        }

        internal static void Until(Func<bool> holds, double seconds = 20)
        {
            var watch = Stopwatch.StartNew();
            while (!holds())
            {
                string seen = string.Join("\n", Player.Labels.ToArray()) + "\n" + string.Join("\n", Player.Log.ToArray());
                Assert.Less(watch.Elapsed.TotalSeconds, seconds, "it does not come true: " + seen);
                Player.Frame();
                Thread.Sleep(1);
            }
        }

        public void Dispose()
        {
            Player.ExitPlayMode();
            Directory.Delete(_folder, true);
            Await.Until(null, () => Signals.OwnThreads() == 0);
        }
    }
}
