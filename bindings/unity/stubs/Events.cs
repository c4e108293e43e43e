// The events that the Unity layer uses; see UnityEngine.cs.
namespace UnityEngine.Events
{
    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityAction.html
    public delegate void UnityAction();

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityAction_1.html
    public delegate void UnityAction<T0>(T0 arg0);

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEventBase.html
    public abstract class UnityEventBase
    {
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEvent.html
    public class UnityEvent : UnityEventBase
    {
        private UnityAction _calls = delegate { };

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEvent-ctor.html
        public UnityEvent()
        {
        }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEvent.AddListener.html
        public void AddListener(UnityAction call) => _calls += call;

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEvent.Invoke.html
        public void Invoke() => _calls();
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEvent_1.html
    public class UnityEvent<T0> : UnityEventBase
    {
        private UnityAction<T0> _calls = delegate { };

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEvent_1.html
        public UnityEvent()
        {
        }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEvent_1.html
        public void AddListener(UnityAction<T0> call) => _calls += call;

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/Events.UnityEvent_1.html
        public void Invoke(T0 arg0) => _calls(arg0);
    }
}
