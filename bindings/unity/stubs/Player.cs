using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Threading;

[assembly: InternalsVisibleTo("NpcEngine.Core.Tests")]

namespace UnityEngine
{
    /// <summary>
    /// Plays a scene for a test as Unity does: awaits go on between frames on the main thread, messages come
    /// in Unity's order, and what Unity does not keep over a domain reload is lost. Only Destroy is unlike
    /// Unity's: it happens at once. Not part of Unity.
    /// </summary>
    internal static class Player
    {
        internal const float FrameSeconds = 1f / 60;

        private static readonly List<MonoBehaviour> All = new List<MonoBehaviour>();
        private static readonly HashSet<MonoBehaviour> Running = new HashSet<MonoBehaviour>();
        private static FrameContext _context;

        internal static List<string> Log { get; } = new List<string>();

        internal static List<string> Labels { get; } = new List<string>();

        internal static HashSet<string> Presses { get; } = new HashSet<string>();

        internal static Dictionary<string, Object> ResourceFiles { get; } = new Dictionary<string, Object>();

        internal static string Typed { get; set; }

        internal static string StreamingAssets { get; set; }

        internal static string PersistentData { get; set; }

        internal static void EnterPlayMode(string folder)
        {
            Log.Clear();
            Presses.Clear();
            Typed = null;
            StreamingAssets = PersistentData = folder;
            _context = new FrameContext();
            SynchronizationContext.SetSynchronizationContext(_context);
        }

        /// <summary>What was posted for the main thread is dropped, as Unity does.</summary>
        internal static void ExitPlayMode()
        {
            foreach (MonoBehaviour it in Ordered())
            {
                Destroy(it);
            }
            _context = null;
            SynchronizationContext.SetSynchronizationContext(null);
        }

        internal static void Frame()
        {
            _context.Run();
            Labels.Clear();
            foreach (string message in new[] { "Update", "OnGUI" })
            {
                foreach (MonoBehaviour it in Ordered())
                {
                    if (Running.Contains(it))
                    {
                        Send(it, message);
                    }
                }
            }
        }

        internal static void ReloadDomain()
        {
            var running = new List<MonoBehaviour>(Running);
            running.ForEach(Stop);
            foreach (MonoBehaviour it in All)
            {
                ForgetFields(it);
            }
            _context.Clear();
            running.Sort((x, y) => Order(x).CompareTo(Order(y)));
            running.ForEach(Start);
        }

        internal static T Add<T>(GameObject to) where T : Component
        {
            var it = Activator.CreateInstance<T>();
            it.gameObject = to;
            it.name = to.name;
            to.Components.Add(it);
            if (it is MonoBehaviour behaviour)
            {
                All.Add(behaviour);
                Settle(it);
            }
            return it;
        }

        internal static void Destroy(Object it)
        {
            if (it is GameObject whole)
            {
                whole.Components.ForEach(Destroy);
            }
            if (it is MonoBehaviour behaviour)
            {
                Stop(behaviour);
                Send(behaviour, "OnDestroy");
                All.Remove(behaviour);
            }
            it.IsDestroyed = true;
        }

        internal static bool IsRunning(Behaviour it)
        {
            if (it.IsDestroyed)
            {
                throw new InvalidOperationException("MissingReferenceException");
            }
            return Running.Contains((MonoBehaviour)it);
        }

        /// <summary>Starts or stops it, as it is enabled now.</summary>
        internal static void Settle(Component it)
        {
            var behaviour = (MonoBehaviour)it;
            bool isOn = behaviour.enabled && behaviour.gameObject.activeSelf;
            if (isOn && !Running.Contains(behaviour))
            {
                Start(behaviour);
            }
            else if (!isOn)
            {
                Stop(behaviour);
            }
        }

        internal static Object Resource(string path) => ResourceFiles.TryGetValue(path, out Object it) ? it : null;

        internal static string TypeOver(string text)
        {
            string typed = Typed ?? text;
            Typed = null;
            return typed;
        }

        private static void Start(MonoBehaviour it)
        {
            Running.Add(it);
            Send(it, "OnEnable");
        }

        private static void Stop(MonoBehaviour it)
        {
            if (Running.Remove(it))
            {
                Send(it, "OnDisable");
            }
        }

        private static List<MonoBehaviour> Ordered()
        {
            var ordered = new List<MonoBehaviour>(All);
            ordered.Sort((x, y) => Order(x) != Order(y) ? Order(x).CompareTo(Order(y)) : All.IndexOf(x).CompareTo(All.IndexOf(y)));
            return ordered;
        }

        private static int Order(MonoBehaviour it) =>
            it.GetType().GetCustomAttribute<DefaultExecutionOrder>()?.order ?? 0;

        private static void Send(MonoBehaviour it, string message)
        {
            MethodInfo method = it.GetType().GetMethod(
                message, BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic, null, Type.EmptyTypes, null);
            try
            {
                method?.Invoke(it, null);
            }
            catch (TargetInvocationException e)
            {
                Log.Add("exception: " + e.InnerException);
            }
        }

        private static void ForgetFields(MonoBehaviour it)
        {
            object anew = Activator.CreateInstance(it.GetType());
            foreach (FieldInfo field in it.GetType().GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic))
            {
                if (field.IsNotSerialized || typeof(Delegate).IsAssignableFrom(field.FieldType))
                {
                    field.SetValue(it, field.GetValue(anew));
                }
            }
        }

        private sealed class FrameContext : SynchronizationContext
        {
            private readonly ConcurrentQueue<Action> _posts = new ConcurrentQueue<Action>();

            public override void Post(SendOrPostCallback d, object state) => _posts.Enqueue(() => d(state));

            internal void Run()
            {
                for (int n = _posts.Count; n > 0 && _posts.TryDequeue(out Action post); n--)
                {
                    try
                    {
                        post();
                    }
                    catch (Exception e)
                    {
                        Log.Add("exception: " + e);
                    }
                }
            }

            internal void Clear()
            {
                while (_posts.TryDequeue(out Action _))
                {
                }
            }
        }
    }
}
