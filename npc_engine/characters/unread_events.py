"""What a character has perceived and no reply has taken in yet: events, and how many may be.

Owns the rules of a flood, and counts what they cost. It knows what waits and the open turn, but no
batch and no socket.

Rules
 1. At most `most` events wait for a character or stand in its open turn; the newest are kept, and
    important ones longer than trivial ones (see `ledger`, rule 6).
 2. A text that is unread already counts once, where the later one stands: with the larger of the
    two importances and the later of the two ends. Not across a line that waits: whoever answers it
    is to know what came before it.
 3. What has expired is not read, and leaves the open turn before more of it is read.
"""

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from npc_engine.dialogue.open_turn import OpenTurn
from npc_engine.kvcache.ledger import oldest
from npc_engine.protocol import Event, Say

__all__ = ["NEVER", "Flood", "Unread", "Waiting", "end_of"]

NEVER = float("inf")


class Waiting(Protocol):
    """A request that waits, and when it came, in seconds."""

    request: Any
    received: float


@dataclass
class Flood:
    """How many events nobody ever read, and why."""

    n_dropped: int = 0
    n_coalesced: int = 0
    n_expired: int = 0


class Unread:
    """The events of one character. `most`: rule 1; `flood` counts for all of them.

    `next_end`: when the next event of the open turn is over.
    """

    def __init__(self, open_turn: OpenTurn, most: int, flood: Flood) -> None:
        self._open_turn = open_turn
        self._most = most
        self._flood = flood
        self.next_end = NEVER

    def put(self, inbox: MutableSequence[Any], new: Waiting) -> None:
        """Put an event at the end of what waits (rules 1 and 2)."""
        same = _same(inbox, new.request.text)
        if same is not None:
            new.request = _merged(same, new)
            inbox.remove(same)
            self._flood.n_coalesced += 1
        inbox.append(new)
        events = [w for w in inbox if isinstance(w.request, Event)]
        if len(events) > self._most:
            inbox.remove(events[oldest([w.request.importance for w in events])])
            self._flood.n_dropped += 1

    def perceive(self, event: Event, received: float, now: float) -> None:
        """Add an event to the open turn, unless it is over (rules 1 to 3)."""
        end = end_of(event, received)
        if end <= now:
            self._flood.n_expired += 1
            return
        self.next_end = min(self.next_end, end)
        expires = None if end == NEVER else end
        if self._open_turn.perceive(event.text, event.importance, expires):
            self._flood.n_coalesced += 1
        self._flood.n_dropped += self._open_turn.forget_events(self._most)

    def expire(self, now: float) -> None:
        """Let what is over leave the open turn (rule 3)."""
        if now >= self.next_end:
            n, next_end = self._open_turn.expire(now)
            self.next_end = NEVER if next_end is None else next_end
            self._flood.n_expired += n

    def look_again(self, now: float) -> None:
        """Events that a reply had taken in stand in the open turn again: some may be over."""
        self.next_end = now
        self.expire(now)


def end_of(event: Event, received: float) -> float:
    """Return the time from which on an event no longer matters."""
    return NEVER if event.expires_s is None else received + event.expires_s


def _same(inbox: Sequence[Waiting], text: str) -> Waiting | None:
    for waiting in reversed(inbox):
        if isinstance(waiting.request, Say):
            return None
        if isinstance(waiting.request, Event) and waiting.request.text == text:
            return waiting
    return None


def _merged(old: Waiting, new: Waiting) -> Event:
    """Return the later of two events of one text (rule 2)."""
    end = max(end_of(old.request, old.received), end_of(new.request, new.received))
    event: Event = msgspec.structs.replace(
        new.request,
        importance=max(old.request.importance, new.request.importance),
        expires_s=None if end == NEVER else end - new.received,
    )
    return event
