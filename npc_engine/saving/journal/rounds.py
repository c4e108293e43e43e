"""Journals on their way to the disk: all that is due goes there in rounds, not one by one.

Owns what waits for the thread that writes files, its order (turns that have ended come first, also
before those that have waited longer), and what has come of each. It knows no byte of a journal.
"""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from npc_engine.errors import SnapshotError
from npc_engine.saving.files import Files
from npc_engine.saving.journal.pace import JournalPace
from npc_engine.storage.disk import TOGETHER
from npc_engine.storage.journal.files import Journals, Outcome

__all__ = ["Rounds"]

log = logging.getLogger("npc_engine")

State = dict[str, Any]
Write = Callable[[list[tuple[JournalPace, State]]], None]
Done = queue.SimpleQueue[tuple[JournalPace, Outcome]]


class _Round:
    """Who is written by one job of the thread, TOGETHER at a time. Others join until it is over."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._ended: dict[JournalPace, State] = {}
        self._others: dict[JournalPace, State] = {}
        self._is_over = False

    def add(self, pace: JournalPace, state: State, has_ended: bool) -> int | None:
        """Let one join; return how many more wait then, None when the round is over.

        What it was before and waits still is in the new state, too: it takes that one's place.
        """
        with self._lock:
            if self._is_over:
                return None
            n = len(self._ended) + len(self._others)
            has_ended = self._ended.pop(pace, None) is not None or has_ended
            self._others.pop(pace, None)
            (self._ended if has_ended else self._others)[pace] = state
            return len(self._ended) + len(self._others) - n

    def run(self) -> None:
        """Write all who have joined. On the thread that writes files."""
        while some := self._take():
            self._write(some)

    def _take(self) -> list[tuple[JournalPace, State]]:
        with self._lock:
            waiting = self._ended or self._others
            names = list(waiting)[:TOGETHER]
            self._is_over = not names
            return [(pace, waiting.pop(pace)) for pace in names]


class Rounds:
    """Those under way, one behind the other. `files` has the thread and the journals."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._open: _Round | None = None  # who is due now may join it
        self._done: Done = queue.SimpleQueue()
        self._n_under_way: Counter[str] = Counter()  # by slot

    def add(self, pace: JournalPace, state: State, has_ended: bool) -> None:
        """Have this state written, with all others that wait."""
        n = None if self._open is None else self._open.add(pace, state, has_ended)
        if n is None:
            self._open = _Round(partial(_write, self._files.journals, self._done))
            n = self._open.add(pace, state, has_ended) or 0
            self._files.thread.run(self._open.run)
        pace.n_under_way += n
        self._n_under_way[pace.slot] += n

    def cut(self) -> None:
        """Let nobody join any more: what is due from now on goes behind what the thread has got."""
        self._open = None

    def forget(self, slot: str, name: str) -> None:
        """Have a journal grow no more, behind what is under way."""
        self.cut()
        self._files.thread.run(partial(self._files.journals.forget, slot, name))

    def finished(self) -> Iterator[tuple[JournalPace, Outcome]]:
        """Yield what has come of those that the thread has done."""
        while not self._done.empty():
            pace, outcome = self._done.get_nowait()
            self._n_under_way[pace.slot] -= 1
            pace.n_under_way -= 1
            yield pace, outcome

    def is_under_way(self, slot: str) -> bool:
        """Whether something for a slot is being written."""
        return self._n_under_way[slot] > 0

    @property
    def n_under_way(self) -> int:
        """Of how many the writing thread has something to tell before long."""
        return self._n_under_way.total()


def _write(journals: Journals, done: Done, some: list[tuple[JournalPace, State]]) -> None:
    outcomes: Sequence[Outcome]
    try:
        outcomes = journals.append([(*pace.key, state) for pace, state in some])
    except Exception as e:  # each has an outcome, whatever happens
        log.exception("journals were not written")
        outcomes = [SnapshotError(f"The journals were not written: {e}.")] * len(some)
    for (pace, _), outcome in zip(some, outcomes, strict=True):
        done.put((pace, outcome))
