"""What a game asks of the characters on a stage, and the replies that are due at once.

Owns no state: what is asked waits in inboxes, and is answered when it is served. It knows no batch,
no socket and no file.
"""

from npc_engine import protocol as m
from npc_engine.characters.stage import Stage
from npc_engine.characters.window import info_of, window_of
from npc_engine.dialogue.history import transcript
from npc_engine.errors import UnknownTarget

__all__ = ["Requests"]


class Requests:
    """The requests to the characters of a stage. Each takes its client; None: the reply is late."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def say(self, client: bytes, request: m.Say) -> None:
        """Queue a line; its `done` comes later."""
        self.use_again(client, request.id)
        self._stage.queue(client, request)
        if request.priority == "player":
            self._stage.scenes.yield_to(request.npc)

    def scene(self, client: bytes, request: m.Scene) -> None:
        """Begin a scene; its `scene_done` comes later."""
        self.use_again(client, request.id)
        self._stage.scenes.scene(client, request)

    def use_again(self, client: bytes, request_id: str) -> None:
        """An id means what it was given to last, also where that came to nothing (`cancel`)."""
        for character in self._stage.characters.values():
            character.replies.let_go(client, request_id)
        self._stage.scenes.let_go(client, request_id)

    def hear(self, client: bytes, request: m.Hear) -> m.Reply:
        """Queue the player's line so far, and call its character in."""
        self._stage.queue(client, request)
        return self.attend(client, request)

    def attend(self, _client: bytes, request: m.Attend | m.Hear) -> m.Reply:
        """Call in a character that is about to be spoken to."""
        self._stage.call_in(request.npc)
        return m.Ok(id=request.id)

    def keep(self, client: bytes, request: m.Pin | m.Unpin | m.Rewind) -> None:
        """Queue what is to be kept or forgotten; the answer comes at the end of its line."""
        self._stage.queue(client, request)

    def event(self, client: bytes, request: m.Event) -> m.Reply:
        """Queue an event for all who perceive it; for nobody when one of them is unknown."""
        there = self._stage.characters
        names = list(there) if request.npcs == "*" else list(dict.fromkeys(request.npcs))
        for name in names:
            if name not in there:
                self._stage.find(name)
        self._stage.tell(client, request, names)
        return m.Ok(id=request.id, n_heard=len(names))

    def cancel(self, client: bytes, request: m.Cancel) -> m.Reply:
        """Cut a `say` of this client short, or end its scene.

        If it has ended, forget what was not heard of it.
        """
        target, heard = request.target, request.heard
        if any(c.cancel(client, target, heard) for c in self._stage.busy):
            return m.Ok(id=request.id, cancelled=True)
        if self._stage.scenes.cancel(client, target, heard):
            return m.Ok(id=request.id, cancelled=True)
        # Only then: an id is free again after its `done`, and may be that of an open say now.
        characters = self._stage.characters.values()
        if heard is not None and (
            any(c.replies.cut_back(client, target, heard) for c in characters)
            or self._stage.scenes.take_back(client, target, heard)
        ):
            return m.Ok(id=request.id, cancelled=False)
        raise UnknownTarget(
            f"You have no open say or scene with the id {request.target!r}.",
            "It may have ended already: its done is on the way.",
        )

    def list(self, _client: bytes, request: m.List) -> m.Reply:
        """Return what there is to know of every character."""
        return m.Npcs(id=request.id, npcs=[info_of(c) for c in self._stage.characters.values()])

    def show_window(self, _client: bytes, request: m.Window) -> m.Reply:
        """Return what a character's window holds."""
        return window_of(self._stage.find(request.npc), request.id)

    def show_transcript(self, _client: bytes, request: m.Transcript) -> m.Reply:
        """Return a character's talk as text."""
        character = self._stage.find(request.npc)
        character.catch_up()  # what was sent before this is in it
        return transcript(character.dialogue, request, self._stage.settings.max_message_bytes)
