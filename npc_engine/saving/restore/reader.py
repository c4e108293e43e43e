"""A slot as it is read: one character after the other, on another thread.

Owns the pace: what was read and nobody has taken yet is AHEAD_BYTES at most, or one character. It
knows no stage, and nothing of what a snapshot means.
"""

import logging
import queue
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from npc_engine.errors import Internal, NpcError
from npc_engine.storage.snapshot import Snapshot

__all__ = ["AHEAD_BYTES", "SlotReader"]

log = logging.getLogger("npc_engine")

T = TypeVar("T")

AHEAD = 32
AHEAD_BYTES = 32 << 20

_Found = Snapshot | NpcError


class _Store(Protocol):
    """What is needed of `store.Store`."""

    def sizes(self, slot: str) -> Mapping[str, int]: ...

    def read(self, slot: str, npcs: Sequence[str]) -> Mapping[str, _Found]: ...


class SlotReader:
    """Characters of a slot (None: all). `run` does a job on the thread.

    `may_lack`: whether those that the slot does not hold are left out; else that is an error.
    """

    def __init__(
        self,
        store: _Store,
        run: Callable[[Callable[[], None]], None],
        slot: str,
        npcs: Sequence[str] | None,
        may_lack: bool = False,
    ) -> None:
        self._store = store
        self._run = run
        self._slot = slot
        self._npcs = npcs
        self._may_lack = may_lack
        self._listed: queue.SimpleQueue[Mapping[str, int] | NpcError] = queue.SimpleQueue()
        self._read: queue.SimpleQueue[tuple[str, _Found]] = queue.SimpleQueue()
        self._sizes: Mapping[str, int] | None = None
        self._to_ask: deque[str] = deque()
        self._asked: dict[str, int] = {}  # bytes of those on their way
        self._is_stopped = False
        run(self._list)

    @property
    def is_over(self) -> bool:
        """Whether all have been taken."""
        return self._sizes is not None and not self._to_ask and not self._asked

    @property
    def has_some(self) -> bool:
        """Whether there is something to take."""
        return not (self._read.empty() and self._listed.empty())

    @property
    def n_bytes(self) -> int:
        """Bytes of those that are being read, or were and have not been taken."""
        return sum(self._asked.values())

    def stop(self) -> None:
        """Read no more."""
        self._is_stopped = True

    def ask_on(self, room: int) -> None:
        """Let further ones be read, `room` bytes of them, one in any case. Raises NpcError."""
        if self._sizes is None and not self._listed.empty():
            sizes = self._listed.get_nowait()
            if isinstance(sizes, NpcError):
                raise sizes
            self._sizes = sizes
            wanted = sorted(sizes) if self._npcs is None else dict.fromkeys(self._npcs)
            self._to_ask.extend(n for n in wanted if n in sizes or not self._may_lack)
        some: list[str] = []
        while self._to_ask and self._sizes is not None:
            n_bytes = self._sizes.get(self._to_ask[0], 0)
            if self._asked and (len(self._asked) == AHEAD or n_bytes > room):
                break
            room -= n_bytes
            self._asked[self._to_ask[0]] = n_bytes
            some.append(self._to_ask.popleft())
        if some:
            self._run(partial(self._read_some, some))

    def take(self) -> tuple[str, Snapshot] | None:
        """Return the next that has been read, if there is one. Raises what is wrong with it."""
        if self._read.empty():
            return None
        name, found = self._read.get_nowait()
        del self._asked[name]
        if isinstance(found, NpcError):
            raise found
        return name, found

    def _list(self) -> None:
        self._listed.put(self._try(lambda: self._store.sizes(self._slot)))

    def _read_some(self, names: Sequence[str]) -> None:
        if self._is_stopped:
            return
        found = self._try(lambda: self._store.read(self._slot, names))
        for name in names:
            self._read.put((name, found if isinstance(found, NpcError) else found[name]))

    def _try(self, act: Callable[[], T]) -> T | NpcError:
        try:
            return act()
        except NpcError as error:
            return error
        except Exception:  # each has an outcome, whatever happens
            log.exception("reading %r failed", self._slot)
            return Internal("The engine failed at this load.", "Its log has the details.")
