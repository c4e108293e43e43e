namespace NpcEngine
{
    /// <summary>A say: counts what has reached the player, for an interrupt.</summary>
    internal sealed class SpeechRequest : StreamRequest<NpcReply>
    {
        private readonly NpcCharacter _character;
        private int _received;

        internal SpeechRequest(long id, int limitMs, RecordQueue queue, OpenRequests open, NpcCharacter character)
            : base(id, limitMs, queue, open)
        {
            _character = character;
        }

        /// <summary>Code points of the lines that were handed out, or null when no lines were asked for.</summary>
        internal int? Heard { get; set; }

        protected override object ReadRecord(string type, MsgpackReader reader) =>
            StreamRecords.Read(type, reader, ref _received);

        protected override NpcReply ReadEnd(string type, MsgpackReader reader)
        {
            if (type != "done")
            {
                throw reader.Bad("\"done\" was expected and \"" + type + "\" came");
            }
            return NpcReply.Read(reader);
        }

        protected override void Raise(object record)
        {
            if (record is NpcLine line && Heard.HasValue)
            {
                Heard = line.Start + line.Length;
            }
            _character.Raise(record);
        }

        protected override void OnOver(bool isAnswered) => _character.OnOver(this, isAnswered);
    }
}
