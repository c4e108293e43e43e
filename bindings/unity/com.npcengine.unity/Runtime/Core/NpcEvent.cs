using System;
using System.Runtime.ExceptionServices;

namespace NpcEngine
{
    /// <summary>
    /// Something that happens again and again, such as a line that is spoken. Handlers are called inside
    /// <see cref="NpcClient.Pump"/>, on the thread that calls that, in the order in which they came.
    /// </summary>
    /// <typeparam name="T">What a handler gets.</typeparam>
    public sealed class NpcEvent<T>
    {
        private static readonly Subscription[] None = new Subscription[0];

        private readonly object _gate = new object();
        private Subscription[] _subscriptions = None;

        internal NpcEvent()
        {
        }

        /// <summary>Whether anybody listens.</summary>
        public bool HasSubscribers => _subscriptions.Length > 0;

        /// <summary>
        /// Calls the handler each time until the result is disposed, also from inside a handler. A handler
        /// that throws keeps no other from being called; the exception then comes out of Pump.
        /// </summary>
        /// <param name="handler">What to call.</param>
        /// <returns>Dispose it to end the subscription, for instance in OnDestroy.</returns>
        public IDisposable Subscribe(Action<T> handler)
        {
            if (handler == null)
            {
                throw new NpcException(NpcErrorCode.BadCall, "The handler is null.", "Give a method to call.");
            }
            var subscription = new Subscription(this, handler);
            lock (_gate)
            {
                var longer = new Subscription[_subscriptions.Length + 1];
                Array.Copy(_subscriptions, longer, _subscriptions.Length);
                longer[_subscriptions.Length] = subscription;
                _subscriptions = longer;
            }
            return subscription;
        }

        internal void Raise(T value)
        {
            ExceptionDispatchInfo first = null;
            foreach (Subscription subscription in _subscriptions)
            {
                try
                {
                    subscription.Call(value);
                }
                catch (Exception e)
                {
                    first = first ?? ExceptionDispatchInfo.Capture(e);
                }
            }
            if (first != null)
            {
                first.Throw();
            }
        }

        private void Remove(Subscription subscription)
        {
            lock (_gate)
            {
                int at = Array.IndexOf(_subscriptions, subscription);
                if (at < 0)
                {
                    return;
                }
                var shorter = new Subscription[_subscriptions.Length - 1];
                Array.Copy(_subscriptions, shorter, at);
                Array.Copy(_subscriptions, at + 1, shorter, at, shorter.Length - at);
                _subscriptions = shorter;
            }
        }

        private sealed class Subscription : IDisposable
        {
            private readonly NpcEvent<T> _source;
            private volatile Action<T> _handler;

            internal Subscription(NpcEvent<T> source, Action<T> handler)
            {
                _source = source;
                _handler = handler;
            }

            public void Dispose()
            {
                _handler = null;
                _source.Remove(this);
            }

            internal void Call(T value) => _handler?.Invoke(value);
        }
    }
}
