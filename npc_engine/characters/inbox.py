"""What waits for one character, in the order in which it will be served.

Owns how much may wait, and what merges with what waits already. It serves nothing, and knows no
sequence, no batch and no socket.

What takes something back (`Unheard`, `Unsaid`) counts from the moment at which it was decided, and
not from when it is served: so it stands before every line that is yet to be answered. And what
waits of talk that is gone is not heard any more.
"""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from npc_engine.characters.unread_events import NEVER, Unread, end_of
from npc_engine.dialogue.dialogue import CUT_OFF
from npc_engine.dialogue.overheard import Cue, Overheard, Undoing, Unheard, Unsaid, on_its_way
from npc_engine.errors import Busy
from npc_engine.protocol import Event, Hear, Pin, Rewind, Say, Unpin
from npc_engine.scheduling.batching import Priority

__all__ = ["Heard", "Inbox", "Waiting", "priority_of"]

T = TypeVar("T")

Heard = Say | Hear | Event | Pin | Unpin | Rewind | Overheard | Unheard | Unsaid
"""What a character takes in, in order."""


@dataclass(eq=False)
class Waiting:
    """A request that waits for its character. `received`: seconds."""

    client: bytes
    request: Heard
    received: float
    order: int


class Inbox:
    """The requests that wait for `npc`. `unread` bounds its events."""

    def __init__(self, npc: str, unread: Unread) -> None:
        self._npc = npc
        self._unread = unread
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> Heard | None:
        """The request that is to be served next."""
        return self._waiting[0].request if self._waiting else None

    @property
    def has_only_events(self) -> bool:
        """Whether nothing but events waits, if anything does."""
        return all(isinstance(w.request, Event) for w in self._waiting)

    def all_of(self, *kinds: type[Any]) -> list[Waiting]:
        """Return what waits of some kinds, oldest first."""
        return [w for w in self._waiting if isinstance(w.request, kinds)]

    def events(self, now: float) -> list[tuple[str, float, float | None]]:
        """Return (text, importance, seconds left) of the events that wait and have not expired."""
        events = ((w.request, w.received) for w in self._waiting)
        ends = [(e, end_of(e, received)) for e, received in events if isinstance(e, Event)]
        return [
            (event.text, event.importance, None if end == NEVER else end - now)
            for event, end in ends
            if end > now
        ]

    def lines(self, known: Container[int] = ()) -> list[str]:
        """Return the lines of others that wait to be heard. `known`: what it has heard of."""
        return on_its_way([w.request for w in self._waiting], known)

    @property
    def undoing(self) -> list[Undoing]:
        """What is to be taken back, and waits for the end of a line."""
        return [w.request for w in self._waiting if isinstance(w.request, Undoing)]

    def put(self, new: Waiting, max_queue: int) -> None:
        """Take in a request. Raises Busy when too many that want an answer wait."""
        request, kind = new.request, type(new.request)
        same = self.all_of(kind)
        # A scene's cue is nobody's line; and nothing that is less urgent keeps a line out.
        n_same = sum(type(w.request) is kind and not _yields(w.request, request) for w in same)
        if kind in (Say, Pin, Unpin, Rewind) and n_same >= max_queue:
            raise Busy(
                f"{n_same} requests of this kind wait for {self._npc!r} already.",
                "Wait for an answer, or cancel a say, before you send more.",
            )
        if isinstance(request, Event):
            self._unread.put(self._waiting, new)
        elif isinstance(request, Unheard | Unsaid):
            self._put_undoing(new)
        elif not (isinstance(request, Overheard) and self._hears_on(request)):
            if isinstance(request, Hear) and same:
                self.remove(same[0])  # the newest counts
            self._waiting.append(new)

    @property
    def player_waits(self) -> bool:
        """Whether a line of the player waits."""
        says = self._requests(Say)
        return any(s.priority == "player" and not isinstance(s, Cue) for s in says)

    def _put_undoing(self, new: Waiting) -> None:
        if isinstance(new.request, Unsaid):
            self._forget(new.request.gone, Overheard, Unheard)
        says = (i for i, w in enumerate(self._waiting) if isinstance(w.request, Say))
        self._waiting.insert(next(says, len(self._waiting)), new)

    def cut(self, cut: Unheard, is_known: bool) -> None:
        """Let what waits of an utterance be no more than what is left of it.

        Nothing of it waits any more where it `is_known`: its beginning was heard.
        """
        for cue in self._requests(Cue):
            if cue.answers == cut.utterance:
                cue.text = cut.text
        parts = [p for p in self._requests(Overheard) if p.utterance == cut.utterance]
        if is_known or not cut.text:
            self._forget({cut.utterance}, Overheard)
        elif parts:
            heard = "".join(part.text for part in parts)
            for part in parts[1:]:
                part.text = ""
            parts[0].text = cut.text + CUT_OFF if len(cut.text) < len(heard) else heard

    def _forget(self, gone: Container[int], *kinds: type[Any]) -> None:
        """Let nothing of some kinds wait of these utterances."""
        for waiting in self.all_of(*kinds):
            if cast(Overheard, waiting.request).utterance in gone:
                self._waiting.remove(waiting)

    def _requests(self, kind: type[T]) -> list[T]:
        return [w.request for w in self._waiting if isinstance(w.request, kind)]

    def _hears_on(self, more: Overheard) -> bool:
        """Whether it is more of what waits as the last already: one of them is enough."""
        last = self._waiting[-1].request if self._waiting else None
        if not isinstance(last, Overheard) or last.utterance != more.utterance:
            return False
        last.text += more.text
        return True

    def take_first(self) -> Waiting:
        """Take out what is to be served next."""
        return self._waiting.popleft()

    def remove(self, waiting: Waiting) -> None:
        """Take one out of the middle."""
        self._waiting.remove(waiting)


def priority_of(say: Say) -> Priority:
    """Return how urgent a line is by itself."""
    return Priority[say.priority.upper()]


def _yields(waiting: Any, new: Any) -> bool:
    """Whether what waits is a line less urgent than the new one."""
    return isinstance(new, Say) and priority_of(new) < priority_of(waiting)
