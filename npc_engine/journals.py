"""Journals as they grow on the disk: where each ends, and what it says up to there.

Owns what is safe on the disk, so that whatever could not be written is in the next record. All of
it is for the thread that writes files: a journal is appended to and begun anew between two saves.
It knows no stage and no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from npc_engine.delta import Image, diff
from npc_engine.durable import explain
from npc_engine.journal import MAX_BYTES, begin, image_of, record

__all__ = ["Journals", "NeedsFold"]

_NONE: Mapping[str, Mapping[str, Any]] = {}


class _Store(Protocol):
    """What is needed of `store.Store`."""

    def append(self, slot: str, npc: str, at: int, data: bytes) -> None: ...


class NeedsFold(Exception):
    """This journal cannot grow any more: a snapshot has to take its place."""


@dataclass
class _Tail:
    """The end of a journal: what its snapshot and its first `n_bytes` say, and the last check."""

    base: str
    image: Image
    n_bytes: int = 0
    check: bytes = b""


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

    def append(self, slot: str, npc: str, state: Mapping[str, Any]) -> int:
        """Write what has changed; return the bytes of the journal, safe on the disk.

        Nothing is written where there is no journal. Raises NeedsFold, and SnapshotError when
        nothing was written, or not whole: then the next call has what this one had.
        """
        tail = self._tails.get((slot, npc))
        if tail is None:
            return 0
        now = image_of(state)
        delta = diff(tail.image, now)
        if not delta:
            return tail.n_bytes
        head, check = (b"", tail.check) if tail.n_bytes else begin(npc, tail.base)
        data, check = record(delta, check)
        data = head + data
        if tail.n_bytes + len(data) > MAX_BYTES:
            raise NeedsFold
        try:
            self._store.append(slot, npc, tail.n_bytes, data)
        except FileNotFoundError:  # somebody has removed it
            raise NeedsFold from None
        except OSError as e:
            raise explain(e, f"The journal of {npc!r} in {slot!r} was not written") from e
        self._tails[slot, npc] = _Tail(tail.base, now, tail.n_bytes + len(data), check)
        return tail.n_bytes + len(data)

    def forget(self, slot: str, npc: str) -> None:
        """This journal grows no more."""
        self._tails.pop((slot, npc), None)
