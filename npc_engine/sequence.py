"""One character's timeline: its ledger, and the slot of the KV cache that mirrors it.

Owns the pairing of the two: whatever leaves the ledger leaves the cache, also when the sequence is
parked (then as soon as it comes back). It knows no text, no turns and no other sequence.
"""

from typing import Protocol

from npc_engine.ledger import Ledger, Range, Segment

__all__ = ["Cache", "Sequence"]


class Cache(Protocol):
    """What a sequence needs of the KV cache. `slot` is a llama.cpp seq_id."""

    def remove(self, slot: int, first: int, last: int) -> bool:
        """Remove positions [first, last), to the end when last is -1; False when it cannot."""

    def export(self, slot: int) -> bytes:
        """Return the slot's cells as bytes."""

    def restore(self, slot: int, payload: bytes) -> bool:
        """Fill an empty slot from bytes; False when they do not fit this cache."""


class Sequence:
    """A ledger and where its cells are: in a slot, parked in memory, or nowhere yet."""

    def __init__(self, ledger: Ledger, cache: Cache) -> None:
        self.ledger = ledger
        self.slot: int | None = None
        self.parked: bytes | None = None
        self._cache = cache
        self._holes: list[Range] = []

    @property
    def n_pending(self) -> int:
        """Tokens not in the cache yet."""
        return self.ledger.n_tokens - self.ledger.n_cells

    @property
    def n_parked_bytes(self) -> int:
        """Memory that parking takes, in bytes."""
        return len(self.parked) if self.parked is not None else 0

    def append(self, segment: Segment) -> None:
        """Add a segment at the tail."""
        self.ledger.append(segment)

    def drop(self, segments: list[Segment]) -> None:
        """Remove segments wherever they stand."""
        if segments:
            self._remove(self.ledger.drop(segments))

    def cut(self, segment: Segment, n_keep: int) -> None:
        """Keep the first `n_keep` tokens of the last segment."""
        self._remove(self.ledger.cut(segment, n_keep))

    def make_room(self, n_new: int, turn: int) -> None:
        """Evict until `n_new` more tokens fit, and renumber when positions run out."""
        self._remove(self.ledger.make_room(n_new, turn))
        if self.ledger.needs_renumbering(n_new):
            self.renumber()

    def renumber(self) -> None:
        """Close the holes: clear the cache and let everything be read again from position 0."""
        self.ledger.n_renumbered += 1
        self.forget_cache()

    def forget_cache(self) -> None:
        """Empty the slot (or the parked copy): all tokens are pending again."""
        self.ledger.forget_cache()
        self.parked = None
        self._holes.clear()
        if self.slot is not None:
            self._cache.remove(self.slot, 0, -1)

    def seat(self, slot: int) -> None:
        """Move into a free slot. A copy that does not fit any more costs a new prefill."""
        self._cache.remove(slot, 0, -1)
        self.slot = slot
        payload, self.parked = self.parked, None
        holes, self._holes = self._holes, []
        if payload is None:
            self.ledger.forget_cache()
        elif self._cache.restore(slot, payload):
            self._remove(holes)
        else:
            self.forget_cache()

    def park(self) -> None:
        """Move out of the slot into memory."""
        if self.slot is None:
            return
        slot, self.slot = self.slot, None
        self.parked = self._cache.export(slot) if self.ledger.n_cells else None
        self._cache.remove(slot, 0, -1)

    def adopt(self, payload: bytes, holes: list[Range]) -> None:
        """Take cells from a save: like a parked copy, from which `holes` still have to leave."""
        self.parked = payload
        self._holes = list(holes)

    def payload(self) -> bytes | None:
        """Return the cells as bytes, wherever they are; None when nothing is cached.

        A parked copy may hold cells that have left the ledger since: `holes` names them.
        """
        if self.slot is not None:
            return self._cache.export(self.slot) if self.ledger.n_cells else None
        return self.parked

    @property
    def holes(self) -> list[Range]:
        """Positions that are in the parked copy but no more in the ledger."""
        return list(self._holes)

    def _remove(self, ranges: list[Range]) -> None:
        if self.slot is None:
            self._holes += ranges
            return
        for first, last in ranges:
            if not self._cache.remove(self.slot, first, last):
                self.forget_cache()
                return
