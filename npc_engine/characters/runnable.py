"""Who has something to do: of a thousand characters, the few that a step has to look at.

Owns the groups, and who is in which. It knows no batch and no slot but whether one has its own.

Rules
 1. *Busy* is whoever speaks, is spoken to or called, or reads on in a slot. A step looks at all.
 2. *Fresh* is to whom something else has happened: events, or that it came. A step looks at
    MOST_AT_ONCE of these, the first first: an event for everybody is the work of several steps.
 3. *Waiting* is who wants to read on and has no slot: it is looked at where it could get one, and
    not again after a look at which nobody could, until something happens to somebody.
 4. Nobody looks at any other one, until something happens to it, or an event of it is over.
"""

import heapq
from collections.abc import Collection, Iterable

from npc_engine.characters.character import Character
from npc_engine.characters.unread_events import NEVER

__all__ = ["MOST_AT_ONCE", "Runnable"]

MOST_AT_ONCE = 32  # to perceive an event takes up to 0.1 ms


class Runnable:
    """The characters of a stage by what they have to do. `has_more`: there are fresh ones left."""

    def __init__(self) -> None:
        self.busy: dict[str, Character] = {}
        self.waiting: dict[str, Character] = {}
        self.has_more = False
        self._fresh: dict[str, Character] = {}
        self._ends: list[tuple[float, str]] = []  # of events
        self._next_ends: dict[str, float] = {}  # of those in the heap, each once

    def note(self, character: Character) -> None:
        """Note that something has happened to one."""
        name = character.dialogue.name
        if name in self.busy:
            return
        self.waiting.pop(name, None)
        if character.is_pressed:
            self._fresh.pop(name, None)
            self.busy[name] = character
        else:
            self._fresh[name] = character

    def forget(self, name: str) -> None:
        """Note that one has left."""
        for group in (self.busy, self._fresh, self.waiting, self._next_ends):
            group.pop(name, None)

    def take(
        self, there: dict[str, Character], paused: Collection[str], now: float
    ) -> list[Character]:
        """Return whom this step looks at, of those who are `there`; not who is `paused`."""
        while self._ends and self._ends[0][0] <= now:
            end, name = heapq.heappop(self._ends)
            if self._next_ends.get(name) == end:
                del self._next_ends[name]
            character = there.get(name)
            if character is not None and character.next_end <= now:
                self.note(character)
        taken = [c for name, c in self.busy.items() if name not in paused]
        n_fresh = 0
        for name in list(self._fresh)[: MOST_AT_ONCE + len(paused)]:
            if name in paused:
                self._fresh[name] = self._fresh.pop(name)  # behind those whose turn it is
            elif n_fresh < MOST_AT_ONCE:
                taken.append(self._fresh.pop(name))
                n_fresh += 1
        self.has_more = n_fresh == MOST_AT_ONCE
        return taken

    def settle(self, characters: Iterable[Character]) -> None:
        """Put those that a step has looked at where they belong now."""
        for character in characters:
            name = character.dialogue.name
            has_slot = character.dialogue.sequence.slot is not None
            self.waiting.pop(name, None)
            self._fresh.pop(name, None)
            if character.is_pressed or (character.wants and has_slot):
                self.busy[name] = character
                continue
            self.busy.pop(name, None)
            if character.inbox:  # it came since the look
                self._fresh[name] = character
            elif character.wants:
                self.waiting[name] = character
            if character.next_end not in (NEVER, self._next_ends.get(name)):
                self._next_ends[name] = character.next_end
                heapq.heappush(self._ends, (character.next_end, name))
