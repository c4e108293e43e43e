"""What is kept of a cache so that it can go back: a recurrent state's copies, and a whole cache.

A recurrent state cannot take back what it has read. Copies of it are kept for that: of the persona,
of the last turn's end, and of where the reply began. Taking words back restores the last copy from
before them, and reads on from there.

Owns the copies and which of them are worth keeping. It knows no ledger; plain attention, where
cells can leave one by one, has none of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from npc_engine.kvcache.cache import Cache
from npc_engine.kvcache.ledger import Cells

__all__ = ["Aside", "StateCopies"]


@dataclass
class Aside:
    """A cache that is put aside while it is read again: bytes, and what they are."""

    payload: bytes
    states: list[tuple[int, bytes]]
    next_pos: int
    n_renumbered: int
    cells: list[Cells]
    to_compare: bool


class StateCopies:
    """Copies of one slot's state. `kept`: the position up to which each had read, and its bytes."""

    def __init__(self, cache: Cache) -> None:
        self.kept: list[tuple[int, bytes]] = []
        self._cache = cache

    def __bool__(self) -> bool:
        return bool(self.kept)

    @property
    def n_bytes(self) -> int:
        """Memory that they take."""
        return sum(len(state) for _, state in self.kept)

    def keep(self, slot: int, end: int) -> None:
        """Keep the slot's state, which has read up to `end`: the persona's, and the last two."""
        if not self.kept or self.kept[-1][0] < end:
            self.kept.append((end, self._cache.copy_state(slot)))
            del self.kept[1:-2]

    def go_back(self, slot: int, first: int) -> int:
        """Put back the last one from before position `first`.

        Returns where reading goes on; 0 without one.
        """
        while self.kept:
            end, state = self.kept[-1]
            tail = self._cache.put_state(slot, state, end) if end <= first else -1
            # Where the last cells before it have left, the cache would read on from before the
            # state's end: the same positions twice.
            if tail == end:
                return end
            self.kept.pop()
        return 0

    def hand_over(self) -> list[bytes]:
        """Return their bytes, which somebody else keeps now, until `take_over`."""
        states = [state for _, state in self.kept]
        self.kept = [(end, b"") for end, _ in self.kept]
        return states

    def take_over(self, states: Sequence[bytes]) -> None:
        """Keep these bytes again, those that `hand_over` returned."""
        ends = [end for end, _ in self.kept]
        self.kept = list(zip(ends, states, strict=True))

    def clear(self) -> None:
        """Keep none any more."""
        self.kept = []
