namespace NpcEngine
{
    /// <summary>A scene: its records go to the scene, and to the character who speaks.</summary>
    internal sealed class SceneRequest : StreamRequest<NpcSceneEnd>
    {
        private readonly NpcScene _scene;
        private int _received;

        internal SceneRequest(long id, int limitMs, RecordQueue queue, OpenRequests open, NpcScene scene)
            : base(id, limitMs, queue, open)
        {
            _scene = scene;
        }

        /// <summary>Code points of the lines that were handed out, or null when no lines were asked for.</summary>
        internal int? Heard { get; set; }

        protected override object ReadRecord(string type, MsgpackReader reader) =>
            StreamRecords.Read(type, reader, ref _received);

        protected override NpcSceneEnd ReadEnd(string type, MsgpackReader reader)
        {
            if (type != "scene_done")
            {
                throw reader.Bad("\"scene_done\" was expected and \"" + type + "\" came");
            }
            return NpcSceneEnd.Read(reader);
        }

        protected override void Raise(object record)
        {
            if (record is NpcLine line && Heard.HasValue)
            {
                Heard = line.Start + line.Length;
            }
            _scene.Raise(record);
        }

        protected override void OnOver(bool isAnswered)
        {
        }
    }
}
