"""Requests that wait because somebody they are for is being loaded.

Owns which those are, and their order. A load takes effect at its end; whatever is asked behind it
is for the characters that it brings. It knows no character and no file.

Rules
 1. Whoever is loaded is blocked. A request for one who is blocked waits, whoever sends it.
 2. Behind it also wait those of the same client for anybody else that it is for: no two requests of
    one client for one character change places.
 3. What asks for nothing of a character is never held up (`list`, `stats`, `ping`), nor `cancel`.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from npc_engine import protocol as m

__all__ = ["HeldRequests"]

Why = Literal["cancelled", "slow_client"]
Send = Callable[[bytes, m.Reply], None]

_Of_one = (
    m.Spawn
    | m.Say
    | m.Hear
    | m.Attend
    | m.Join
    | m.Leave
    | m.Pin
    | m.Unpin
    | m.Rewind
    | m.Despawn
    | m.Window
    | m.Transcript
)


@dataclass(eq=False)
class _Waiting:
    client: bytes
    request: m.Request
    received: float
    names: frozenset[str] | None  # None: everybody


class HeldRequests:
    """Holds up requests. `blocked`: who is loaded, and how many loads they wait for."""

    def __init__(self, send: Send, clock: Callable[[], float]) -> None:
        self.blocked: Counter[str] = Counter()
        self._send = send
        self._clock = clock
        self._waiting: list[_Waiting] = []

    def block(self, names: Collection[str]) -> None:
        """Hold up what is for these."""
        self.blocked.update(names)

    def unblock(self, names: Collection[str]) -> None:
        """Hold it up no longer; what waits comes out of `release`."""
        self.blocked -= Counter(names)

    def takes(self, client: bytes, request: m.Request) -> bool:
        """Take in a request that has to wait (rules 1 and 2); say whether it has."""
        if not self.blocked and not self._waiting:
            return False
        names = _names(request)
        if not (_meet(names, self.blocked) or self._is_behind(client, names)):
            return False
        self._waiting.append(_Waiting(client, request, self._clock(), names))
        return True

    def _is_behind(self, client: bytes, names: frozenset[str] | None) -> bool:
        return any(
            w.client == client and (w.names is None or _meet(names, w.names))
            for w in self._waiting
            if names is None or names
        )

    def release(self) -> list[tuple[bytes, m.Request]]:
        """Take out all that waits. What still has to is to come in again, in this order."""
        waiting, self._waiting = self._waiting, []
        return [(w.client, w.request) for w in waiting]

    def cancel(self, client: bytes, target: str) -> bool:
        """Answer a `say` or a `scene` that waits; False when there is none such."""
        for waiting in self._waiting:
            if (waiting.client, waiting.request.id) == (client, target):
                return self._end(waiting, "cancelled")
        return False

    def drop(self, client: bytes, why: Why) -> None:
        """Answer each `say` and `scene` of a client that waits. What else it asked stays."""
        for waiting in [w for w in self._waiting if w.client == client]:
            self._end(waiting, why)

    def _end(self, waiting: _Waiting, why: Why) -> bool:
        request = waiting.request
        if isinstance(request, m.Say):
            waited = (self._clock() - waiting.received) * 1000
            stats = m.DoneStats(queue_ms=waited, total_ms=waited)
            done: m.Reply = m.Done(
                id=request.id, npc=request.npc, text="", reason=why, truncated=False, stats=stats
            )
        elif isinstance(request, m.Scene):
            done = m.SceneDone(id=request.id, scene=request.scene, n_turns=0, reason=why)
        else:
            return False
        self._waiting.remove(waiting)
        self._send(waiting.client, done)
        return True


def _names(request: m.Request) -> frozenset[str] | None:
    """Return for whom a request is; None: for everybody."""
    if isinstance(request, _Of_one):
        return frozenset({request.npc})
    if isinstance(request, m.Scene):
        return frozenset(request.npcs)
    if isinstance(request, m.Event):
        return None if request.npcs == "*" else frozenset(request.npcs)
    if isinstance(request, m.Save | m.Load):
        return None if request.npcs is None else frozenset(request.npcs)
    return frozenset()


def _meet(names: frozenset[str] | None, others: Collection[str]) -> bool:
    return bool(others) if names is None else not names.isdisjoint(others)
