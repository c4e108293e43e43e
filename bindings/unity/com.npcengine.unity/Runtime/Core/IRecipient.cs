namespace NpcEngine
{
    /// <summary>Whoever gets a record inside Pump, on the thread that pumps.</summary>
    internal interface IRecipient
    {
        /// <summary>May throw what a handler of the user throws.</summary>
        void Deliver(object record);
    }
}
