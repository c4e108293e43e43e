"""All scenes that run: requests about them, and whose records are whose.

Owns their names and limits, and when a scene may go on. It knows characters by name only, no batch
and no socket. Scenes are not saved: their characters are.
"""

import itertools
import secrets
from collections.abc import Callable, Iterator

from npc_engine import protocol as m
from npc_engine.errors import BadMessage, Busy, UnknownTarget
from npc_engine.scenes.audience import Member
from npc_engine.scenes.scene import Scene, Send, Why

__all__ = ["Scenes"]

MAX_MEMBERS = 16
MAX_PAST = 16  # scenes that have ended and may still be cut back to what was heard


class Scenes:
    """The scenes of one stage, and the last few that have ended.

    `find` returns a character or raises UnknownNpc; `arrivals` numbers requests.
    """

    def __init__(self, find: Callable[[str], Member], send: Send, arrivals: Iterator[int]) -> None:
        self._find = find
        self._send = send
        self._arrivals = arrivals
        self._numbers = itertools.count(1)
        self._scenes: dict[bytes, Scene] = {}

    @property
    def running(self) -> list[Scene]:
        """The scenes that have not ended."""
        return [scene for scene in self._scenes.values() if not scene.is_over]

    # -- requests --------------------------------------------------------------------------

    def scene(self, client: bytes, request: m.Scene) -> None:
        """Begin a scene; its `scene_done` comes later."""
        members = [self._find(name) for name in dict.fromkeys(request.npcs)]
        _check(request, len(members))
        if any(scene.name == request.scene for scene in self.running):
            raise Busy(
                f"A scene {request.scene!r} runs already.", "Cancel it, or choose another name."
            )
        for member in members:
            _check_free(member)
        # Clients are known by names that they can choose: none can choose this one.
        key = secrets.token_bytes(16)
        scene = Scene(
            key, client, request, self._send, arrivals=self._arrivals, numbers=self._numbers
        )
        self._scenes[key] = scene
        scene.open(members)

    def join(self, _client: bytes, request: m.Join) -> m.Reply:
        """Let a character take part in a scene."""
        scene, member = self._named(request.scene), self._find(request.npc)
        if member.audience is not scene.audience:
            _check_free(member)
            if len(scene.members) >= MAX_MEMBERS:
                raise Busy(
                    f"{len(scene.members)} characters are in the scene {request.scene!r} already.",
                    "Let one leave first.",
                )
            scene.join(member)
        return m.Ok(id=request.id)

    def leave(self, _client: bytes, request: m.Leave) -> m.Reply:
        """Let a character leave a scene."""
        scene, member = self._named(request.scene), self._find(request.npc)
        if member.audience is not scene.audience:
            raise UnknownTarget(
                f"{request.npc!r} is not in the scene {request.scene!r}.",
                f"In it are: {', '.join(scene.members)}.",
            )
        scene.leave(request.npc)
        return m.Ok(id=request.id)

    def _named(self, name: str) -> Scene:
        for scene in self.running:
            if scene.name == name:
                return scene
        names = ", ".join(scene.name for scene in self.running) or "none"
        raise UnknownTarget(f"There is no scene {name!r}.", f"Scenes that run: {names}.")

    def cancel(self, client: bytes, target: str, heard: int | None) -> bool:
        """End a scene of this client; False when it has none such."""
        for scene in self.running:
            if (scene.client, scene.request.id) == (client, target):
                scene.end("cancelled", heard)
                return True
        return False

    def take_back(self, client: bytes, target: str, heard: int) -> bool:
        """Cut the scene of this id, which has ended already, to what the player heard."""
        for scene in self._scenes.values():
            if scene.is_over and (scene.client, scene.request.id) == (client, target):
                return scene.take_back_late(heard)
        return False

    def let_go(self, client: bytes, request_id: str) -> None:
        """An id is used again: it means no scene any more that has ended."""
        key = client, request_id
        past = [k for k, s in self._scenes.items() if s.is_over and (s.client, s.request.id) == key]
        for scene in past:
            del self._scenes[scene]

    # -- what happens around them ----------------------------------------------------------

    def drop(self, client: bytes | None, why: Why) -> None:
        """End every scene of a client (None: of everybody)."""
        for scene in self.running:
            if client in (None, scene.client):
                scene.end(why)

    def yield_to(self, npc: str) -> None:
        """A player speaks to this character: it breaks off what it says in a scene."""
        for scene in self.running:
            scene.yield_to(npc)

    def forget(self, npc: str) -> None:
        """A character is no more."""
        for scene in self.running:
            scene.leave(npc, gone=True)
        self._scenes = {
            key: s for key, s in self._scenes.items() if not s.is_over or npc not in s.members
        }

    def send(self, client: bytes, reply: m.Reply) -> None:
        """Send a character's record where it belongs: to a client, or to its scene."""
        scene = self._scenes.get(client)
        if scene is None:
            self._send(client, reply)
        else:
            scene.take(reply)

    def advance(self, may_speak: Callable[[], bool]) -> None:
        """Let the next one speak, where one is waited for."""
        past = [key for key, scene in self._scenes.items() if scene.is_over]
        for key in past[:-MAX_PAST]:
            del self._scenes[key]
        waiting = [scene for scene in self._scenes.values() if scene.is_waiting]
        if waiting and may_speak():
            for scene in waiting:
                scene.cue()


def _check(request: m.Scene, n_members: int) -> None:
    if not 2 <= n_members <= MAX_MEMBERS:
        raise BadMessage(
            f"A scene of {n_members} characters: {request.npcs!r}.",
            f"Name 2 to {MAX_MEMBERS} of them.",
        )
    if request.first is not None and request.first not in request.npcs:
        raise BadMessage(
            f"{request.first!r} is to speak first and is not in the scene.",
            "Name one of `npcs` as `first`.",
        )


def _check_free(member: Member) -> None:
    if member.audience is not None:
        raise Busy(
            f"{member.dialogue.name!r} is in the scene {member.audience.name!r}.",
            "Let it leave that one first, or wait for its scene_done.",
        )
