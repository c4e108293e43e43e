// The attributes that the Unity layer uses; see UnityEngine.cs.
using System;

namespace UnityEngine
{
    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/AddComponentMenu.html
    public sealed class AddComponentMenu : Attribute
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/AddComponentMenu.html
        public AddComponentMenu(string menuName)
        {
        }
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/DisallowMultipleComponent.html
    [AttributeUsage(AttributeTargets.Class, Inherited = false)]
    public sealed class DisallowMultipleComponent : Attribute
    {
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/DefaultExecutionOrder.html
    [AttributeUsage(AttributeTargets.Class)]
    public class DefaultExecutionOrder : Attribute
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/DefaultExecutionOrder.html
        public DefaultExecutionOrder(int order)
        {
            this.order = order;
        }

        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/DefaultExecutionOrder.html
        public int order { get; }
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/PropertyAttribute.html
    [AttributeUsage(AttributeTargets.Field, Inherited = true, AllowMultiple = false)]
    public abstract class PropertyAttribute : Attribute
    {
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/HeaderAttribute.html
    [AttributeUsage(AttributeTargets.Field, Inherited = true, AllowMultiple = true)]
    public class HeaderAttribute : PropertyAttribute
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/HeaderAttribute.html
        public HeaderAttribute(string header)
        {
        }
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/TooltipAttribute.html
    [AttributeUsage(AttributeTargets.Field, Inherited = true, AllowMultiple = false)]
    public class TooltipAttribute : PropertyAttribute
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/TooltipAttribute.html
        public TooltipAttribute(string tooltip)
        {
        }
    }

    // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/MinAttribute.html
    [AttributeUsage(AttributeTargets.Field, Inherited = true, AllowMultiple = false)]
    public sealed class MinAttribute : PropertyAttribute
    {
        // https://docs.unity3d.com/2021.3/Documentation/ScriptReference/MinAttribute.html
        public MinAttribute(float min)
        {
        }
    }
}
