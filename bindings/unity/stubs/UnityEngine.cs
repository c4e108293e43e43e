// What the Unity layer uses of Unity, with the signatures of Unity 2021.3, so that it compiles without it.
// The line above each public member is its page in Unity's documentation; a test reads them.
// Bodies are just enough to play a scene in a test: see Player.cs.
using System;
using System.Collections.Generic;

namespace UnityEngine
{
    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Object.html
    public partial class Object
    {
        internal bool IsDestroyed;

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Object-name.html
        public string name { get; set; }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Object-operator_eq.html
        public static bool operator ==(Object x, Object y) => ReferenceEquals(Alive(x), Alive(y));

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Object-operator_ne.html
        public static bool operator !=(Object x, Object y) => !(x == y);

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Object.Destroy.html
        public static void Destroy(Object obj) => Player.Destroy(obj);

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Object.html
        public override bool Equals(object other) => this == other as Object;

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Object.html
        public override int GetHashCode() => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(this);

        private static Object Alive(Object x) => ReferenceEquals(x, null) || x.IsDestroyed ? null : x;
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Component.html
    public class Component : Object
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Component-gameObject.html
        public GameObject gameObject { get; internal set; }
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Behaviour.html
    public class Behaviour : Component
    {
        private bool _enabled = true;

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Behaviour-enabled.html
        public bool enabled
        {
            get => _enabled;
            set
            {
                _enabled = value;
                Player.Settle(this);
            }
        }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Behaviour-isActiveAndEnabled.html
        public bool isActiveAndEnabled => Player.IsRunning(this);
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/MonoBehaviour.html
    public class MonoBehaviour : Behaviour
    {
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GameObject.html
    public sealed class GameObject : Object
    {
        internal readonly List<Component> Components = new List<Component>();

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GameObject-ctor.html
        public GameObject(string name)
        {
            this.name = name;
        }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GameObject-activeSelf.html
        public bool activeSelf { get; private set; } = true;

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GameObject.SetActive.html
        public void SetActive(bool value)
        {
            activeSelf = value;
            Components.ForEach(Player.Settle);
        }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GameObject.AddComponent.html
        public T AddComponent<T>() where T : Component => Player.Add<T>(this);
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/TextAsset.html
    public class TextAsset : Object
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/TextAsset-ctor.html
        public TextAsset(string text)
        {
            this.text = text;
        }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/TextAsset-text.html
        public string text { get; }
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Resources.html
    public sealed class Resources
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Resources.Load.html
        public static T Load<T>(string path) where T : Object => (T)Player.Resource(path);
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Application.html
    public class Application
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Application-streamingAssetsPath.html
        public static string streamingAssetsPath => Player.StreamingAssets;

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Application-persistentDataPath.html
        public static string persistentDataPath => Player.PersistentData;
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Debug.html
    public class Debug
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Debug.LogWarning.html
        public static void LogWarning(object message, Object context) => Player.Log.Add("warning: " + message);

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Debug.LogError.html
        public static void LogError(object message, Object context) => Player.Log.Add("error: " + message);

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Debug.LogException.html
        public static void LogException(Exception exception, Object context) => Player.Log.Add("exception: " + exception.Message);
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Time.html
    public class Time
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Time-unscaledDeltaTime.html
        public static float unscaledDeltaTime => Player.FrameSeconds;
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Mathf.html
    public struct Mathf
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Mathf.FloorToInt.html
        public static int FloorToInt(float f) => (int)Math.Floor(f);

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Mathf.Min.html
        public static float Min(float a, float b) => Math.Min(a, b);
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GUILayoutOption.html
    public sealed class GUILayoutOption
    {
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GUILayout.html
    public class GUILayout
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GUILayout.Label.html
        public static void Label(string text, params GUILayoutOption[] options) => Player.Labels.Add(text);

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GUILayout.Button.html
        public static bool Button(string text, params GUILayoutOption[] options) => Player.Presses.Remove(text);

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GUILayout.TextField.html
        public static string TextField(string text, params GUILayoutOption[] options) => Player.TypeOver(text);

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GUILayout.BeginHorizontal.html
        public static void BeginHorizontal(params GUILayoutOption[] options)
        {
        }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/GUILayout.EndHorizontal.html
        public static void EndHorizontal()
        {
        }
    }
}
