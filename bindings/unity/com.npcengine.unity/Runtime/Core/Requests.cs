using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>The requests of docs/protocol.md, one method each, with their keys in its order.</summary>
    internal static class Requests
    {
        internal const int ProtocolVersion = 1;

        internal static byte[] Hello(long id, string client, string token) =>
            new Request("hello", id).Int("protocol", ProtocolVersion).Text("client", client).Text("token", token).Body();

        internal static byte[] Spawn(long id, string npc, NpcCard card, SpawnOptions options) =>
            Named("spawn", id, npc).Map("card", CardParts.ToSend(card.Fields)).Map("sampling", options.Sampling?.ToMap())
                .Int("window", options.Window).Text("restore", options.Restore)
                .Text("restore_card", options.KeepsSavedCard ? "saved" : null).Body();

        internal static byte[] Say(long id, string npc, string text, SayOptions options, NpcStream? stream) =>
            Named("say", id, npc).Text("text", text).Text("speaker", options.Speaker).Priority(options.Priority)
                .Int("max_tokens", options.MaxTokens).Stream(stream).Texts("notes", options.Notes).Body();

        internal static byte[] Hear(long id, string npc, string text, string speaker) =>
            Named("hear", id, npc).Text("text", text).Text("speaker", speaker).Body();

        internal static byte[] Attend(long id, string npc) => Named("attend", id, npc).Body();

        /// <summary>Null names mean everybody.</summary>
        internal static byte[] Event(
            long id, IEnumerable<string> npcs, string text, double? importance, double? expiresS)
        {
            var request = new Request("event", id);
            request = npcs == null ? request.Text("npcs", "*") : request.Texts("npcs", npcs);
            return request.Text("text", text).Float("importance", importance).Float("expires_s", expiresS).Body();
        }

        internal static byte[] Cancel(long id, long target, int? heard) =>
            new Request("cancel", id)
                .Text("target", target.ToString(System.Globalization.CultureInfo.InvariantCulture))
                .Int("heard", heard).Body();

        internal static byte[] Scene(
            long id, string scene, IEnumerable<string> npcs, SceneOptions options, NpcStream? stream) =>
            new Request("scene", id).Text("scene", scene).Texts("npcs", npcs).Text("about", options.About)
                .Int("turns", options.Turns).Text("first", options.First).Priority(options.Priority)
                .Int("max_tokens", options.MaxTokens).Stream(stream).Body();

        internal static byte[] Join(long id, string scene, string npc) =>
            new Request("join", id).Text("scene", scene).Text("npc", npc).Body();

        internal static byte[] Leave(long id, string scene, string npc) =>
            new Request("leave", id).Text("scene", scene).Text("npc", npc).Body();

        internal static byte[] Pin(long id, string npc, string text, int? turn) =>
            Named("pin", id, npc).Text("text", text).Int("turn", turn).Body();

        internal static byte[] Unpin(long id, string npc, int turn) => Named("unpin", id, npc).Int("turn", turn).Body();

        internal static byte[] Rewind(long id, string npc, int? turns, int? toTurn) =>
            Named("rewind", id, npc).Int("turns", turns).Int("to_turn", toTurn).Body();

        internal static byte[] Save(long id, string slot, IEnumerable<string> npcs, bool journal) =>
            new Request("save", id)
                .Text("slot", slot)
                .Texts("npcs", npcs)
                .Text("mode", journal ? "journal" : null)
                .Body();

        internal static byte[] Load(long id, string slot, IEnumerable<string> npcs) =>
            new Request("load", id).Text("slot", slot).Texts("npcs", npcs).Body();

        internal static byte[] Despawn(long id, string npc) => Named("despawn", id, npc).Body();

        internal static byte[] List(long id) => new Request("list", id).Body();

        internal static byte[] Window(long id, string npc) => Named("window", id, npc).Body();

        internal static byte[] Transcript(long id, string npc, int? last) =>
            Named("transcript", id, npc).Int("last", last).Body();

        internal static byte[] Stats(long id) => new Request("stats", id).Body();

        internal static byte[] Ping(long id) => new Request("ping", id).Body();

        private static Request Named(string type, long id, string npc) => new Request(type, id).Text("npc", npc);
    }
}
