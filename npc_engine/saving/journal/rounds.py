"""Journals on their way to the disk: all that is due goes there in rounds, not one by one.

Owns what waits for the thread that writes files, and its order: turns that have ended come first,
also before those that have waited longer. It knows no byte of a journal.
"""

import threading
from collections.abc import Callable
from typing import Any

from npc_engine.saving.journal.pace import JournalPace
from npc_engine.storage.disk import TOGETHER

__all__ = ["Round"]

State = dict[str, Any]
Write = Callable[[list[tuple[JournalPace, State]]], None]


class Round:
    """Who is written by one job of the thread, TOGETHER at a time. Others join until it is over."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._ended: dict[JournalPace, State] = {}
        self._others: dict[JournalPace, State] = {}
        self._is_over = False

    def add(self, follow: JournalPace, state: State, has_ended: bool) -> int | None:
        """Let one join; return how many more wait then, None when the round is over.

        What it was before and waits still is in the new state, too: it takes that one's place.
        """
        with self._lock:
            if self._is_over:
                return None
            n = len(self._ended) + len(self._others)
            has_ended = self._ended.pop(follow, None) is not None or has_ended
            self._others.pop(follow, None)
            (self._ended if has_ended else self._others)[follow] = state
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
            return [(follow, waiting.pop(follow)) for follow in names]
