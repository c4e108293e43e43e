"""Whose journal is due, and in which order.

Owns the order: who has ended a turn before all others, and each of these two by the time from which
on it is due. It freezes nothing, writes nothing, and never looks at those who are not in it.
"""

import heapq
import itertools
from collections.abc import Collection, Iterator

from npc_engine.saving.journal.pace import JournalPace

__all__ = ["JournalQueues"]

_Entry = tuple[float, int, JournalPace]


class _Queue:
    """Who is due in one slot. False when nobody is, now or later."""

    def __init__(self) -> None:
        self._ended: list[_Entry] = []
        self._others: list[_Entry] = []
        self._entries: dict[JournalPace, _Entry] = {}  # of those in the heaps, the ones that count
        self._n = itertools.count()

    def __bool__(self) -> bool:
        return bool(self._entries)

    def put(self, pace: JournalPace, due: float, has_ended: bool) -> None:
        """Note from when on it is due, in the place of what was noted before."""
        entry = due, next(self._n), pace
        self._entries[pace] = entry
        heapq.heappush(self._ended if has_ended else self._others, entry)

    def take(self, now: float, has_ended: bool) -> JournalPace | None:
        """Take out the first that is due, of those who have ended a turn, or of the others."""
        heap = self._ended if has_ended else self._others
        first = self._first(heap)
        if first is None or first > now:
            return None
        pace = heapq.heappop(heap)[2]
        del self._entries[pace]
        return pace

    def next_due(self) -> float | None:
        """Return from when on one is due."""
        firsts = (self._first(self._ended), self._first(self._others))
        return min((first for first in firsts if first is not None), default=None)

    def _first(self, heap: list[_Entry]) -> float | None:
        while heap and self._entries.get(heap[0][2]) is not heap[0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None


class JournalQueues:
    """Those of all slots."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    def put(self, pace: JournalPace, now: float) -> None:
        """Note one that has changed."""
        queue = self._queues.setdefault(pace.slot, _Queue())
        queue.put(pace, pace.due(now), pace.has_ended_turn)

    def due(self, now: float, put_off: Collection[str] = ()) -> Iterator[JournalPace]:
        """Take out those that are due, as long as anybody asks. `put_off`: slots that have time."""
        queues = self._without(put_off)
        for has_ended in (True, False):
            for queue in queues.values():
                while (pace := queue.take(now, has_ended)) is not None:
                    yield pace

    def next_due(self, put_off: Collection[str] = ()) -> float | None:
        """Return from when on one is due."""
        queues = self._without(put_off)
        for slot in [slot for slot, queue in queues.items() if not queue]:
            del self._queues[slot]
        dues = (queue.next_due() for queue in queues.values())
        return min((due for due in dues if due is not None), default=None)

    def _without(self, slots: Collection[str]) -> dict[str, _Queue]:
        return {slot: queue for slot, queue in self._queues.items() if slot not in slots}
