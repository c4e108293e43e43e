"""Journals as they grow on the disk: where each ends, and what it says up to there.

Owns what is safe on the disk, so that whatever could not be written is in the next record. All of
it is for the thread that writes files: a journal is appended to and begun anew between two saves.
It knows no stage and no clock.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from npc_engine.errors import NpcError, SnapshotError
from npc_engine.storage.delta import Image, diff
from npc_engine.storage.disk import explain
from npc_engine.storage.journal.records import MAX_BYTES, begin, image_of, record

__all__ = ["Change", "Journals", "Outcome"]

log = logging.getLogger("npc_engine")

_NONE: Mapping[str, Mapping[str, Any]] = {}

Change = tuple[str, str, Mapping[str, Any]]
"""Slot and name of a character, and what it is now."""

Outcome = int | NpcError | None
"""Of an append: the bytes of the journal, safe on the disk (0: it has none); why nothing was
written; or None where a snapshot has to take its place, since it cannot grow any more."""


class _Store(Protocol):
    """What is needed of `store.Store`."""

    def append(
        self, slot: str, grown: Sequence[tuple[str, int, bytes]]
    ) -> list[OSError | None]: ...


@dataclass
class _Tail:
    """The end of a journal: what its snapshot and its first `n_bytes` say, and the last check."""

    base: str
    image: Image
    n_bytes: int = 0
    check: bytes = b""


class _Growth(NamedTuple):
    """What comes behind `at` bytes of a journal, and what that makes its end."""

    at: int
    data: bytes
    tail: _Tail


def _first(
    npc: str, base: str, state: Mapping[str, Any], late: Mapping[str, Any]
) -> tuple[bytes, _Tail]:
    saved = image_of(state)
    now = saved if late is state else image_of(late)
    delta = diff(saved, now)
    if delta:
        head, check = begin(npc, base)
        data, check = record(delta, check)
        if len(head) + len(data) <= MAX_BYTES:
            return head + data, _Tail(base, now, len(head) + len(data), check)
    return b"", _Tail(base, saved)  # of too much, an `append` says what is to be done


class Journals:
    """The journals that are being written, by slot and character."""

    def __init__(self, store: _Store) -> None:
        self._store = store
        self._tails: dict[tuple[str, str], _Tail] = {}

    def begin(
        self,
        slot: str,
        saved: Mapping[str, tuple[str, Mapping[str, Any]]],
        *,
        new: bool,
        alone: bool,
        late: Mapping[str, Mapping[str, Any]] = _NONE,
    ) -> None:
        """Note that a slot has been written. `saved`: name -> (what its journal goes on from,
        frozen state).

        `new`: whether those without a journal get one, too. `alone`: whether the slot holds nobody
        else. `late`: states that are newer than those saved; `first` has been written beside them.
        """
        for key in [key for key in self._tails if key[0] == slot and alone and key[1] not in saved]:
            del self._tails[key]
        for npc, (base, state) in saved.items():
            if new or (slot, npc) in self._tails:
                self._tails[slot, npc] = _first(npc, base, state, late.get(npc, state))[1]

    @staticmethod
    def first(npc: str, base: str, state: Mapping[str, Any], late: Mapping[str, Any]) -> bytes:
        """Return a journal to be written with its snapshot, of `state`: what is newer in `late`."""
        return _first(npc, base, state, late)[0]

    def append(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write what has changed of characters, all of them different; return what became of each.

        What could not be written of one is in its next record.
        """
        outcomes = [self._grown(*change) for change in changes]
        for slot in dict.fromkeys(slot for slot, _, _ in changes):
            growths = [
                (i, changes[i][1], growth)
                for i, growth in enumerate(outcomes)
                if isinstance(growth, _Growth) and changes[i][0] == slot
            ]
            errors = self._store.append(slot, [(npc, g.at, g.data) for _, npc, g in growths])
            for (i, npc, growth), error in zip(growths, errors, strict=True):
                outcomes[i] = self._outcome(slot, npc, growth.tail, error)
        return [None if isinstance(o, _Growth) else o for o in outcomes]

    def _grown(self, slot: str, npc: str, state: Mapping[str, Any]) -> _Growth | Outcome:
        tail = self._tails.get((slot, npc))
        if tail is None:
            return 0
        try:
            now = image_of(state)
            delta = diff(tail.image, now)
            if not delta:
                return tail.n_bytes
            head, check = (b"", tail.check) if tail.n_bytes else begin(npc, tail.base)
            data, check = record(delta, check)
        except Exception as e:  # each has an outcome, whatever happens
            log.exception("journaling %r", npc)
            return SnapshotError(f"The journal of {npc!r} was not written: {e}.")
        end = tail.n_bytes + len(head) + len(data)
        if end > MAX_BYTES:
            return None
        return _Growth(tail.n_bytes, head + data, _Tail(tail.base, now, end, check))

    def _outcome(self, slot: str, npc: str, tail: _Tail, error: OSError | None) -> Outcome:
        if isinstance(error, FileNotFoundError):  # somebody has removed it
            return None
        if error is not None:
            return explain(error, f"The journal of {npc!r} in {slot!r} was not written")
        self._tails[slot, npc] = tail
        return tail.n_bytes

    def forget(self, slot: str, npc: str) -> None:
        """This journal grows no more."""
        self._tails.pop((slot, npc), None)
