"""Who sits in which slot of the KV cache.

Owns the free slots and the order of last use. More characters than slots: the least recently used
that is not needed now is parked in memory; when all are needed, the least urgent, for somebody more
urgent than it. It knows sequences and claims, but no llama.
"""

import itertools
from collections.abc import Iterable

from npc_engine.scheduler import Claim
from npc_engine.sequence import Sequence

__all__ = ["Seats"]


class Seats:
    """`n_slots` slots and the sequences in them."""

    def __init__(self, n_slots: int) -> None:
        self._free = list(range(n_slots - 1, -1, -1))
        self._sitting: dict[int, Sequence] = {}
        self._used: dict[int, int] = {}
        self._clock = itertools.count()

    def seat(self, claims: Iterable[Claim]) -> list[Claim]:
        """Seat whoever speaks or is spoken to, most urgent first; return all who sit.

        Idle reading never sends anybody else out: it takes a free slot or waits. Who speaks goes
        out only for a higher priority, and goes on when a slot is free again. Whoever is left
        standing ages (rule 4 of the scheduler), so that nobody waits for ever.
        """
        claims = sorted(claims, key=lambda c: c.rank)
        needed = {id(c.sequence): c for c in claims if c.urgent}
        for claim in claims:
            if claim.sequence.slot is None and (
                self._free or (claim.urgent and self._park_one(claim, needed))
            ):
                self._take(claim.sequence)
            if claim.urgent and claim.sequence.slot is not None:
                self._used[claim.sequence.slot] = next(self._clock)
            elif claim.urgent:
                claim.n_skipped += 1
        return [c for c in claims if c.sequence.slot is not None]

    def leave(self, sequence: Sequence) -> None:
        """Free the slot of a sequence that goes for good."""
        if sequence.slot is not None:
            slot = sequence.slot
            sequence.forget_cache()
            sequence.slot = None
            self._give(slot)

    def _take(self, sequence: Sequence) -> None:
        slot = self._free.pop()
        self._sitting[slot] = sequence
        self._used[slot] = next(self._clock)
        sequence.seat(slot)

    def _give(self, slot: int) -> None:
        del self._sitting[slot]
        self._free.append(slot)

    def _park_one(self, claim: Claim, needed: dict[int, Claim]) -> bool:
        """Park the least recently used that nobody needs now, or one less urgent than `claim`."""
        idle = [slot for slot, s in self._sitting.items() if id(s) not in needed]
        if idle:
            slot = min(idle, key=self._used.__getitem__)
        else:
            sitters = {slot: needed[id(s)] for slot, s in self._sitting.items()}
            behind = [slot for slot, sitter in sitters.items() if _gives_way(sitter, claim)]
            if not behind:
                return False
            slot = max(behind, key=lambda slot: sitters[slot].rank)
        self._sitting[slot].park()
        self._give(slot)
        return True


def _gives_way(sitter: Claim, claim: Claim) -> bool:
    """Whether a claim may take a needed slot: not amid a line of its own kind, or they would swap
    places for ever, and each swap copies a window out and another in.
    """
    amid_a_line = sitter.speaking and sitter.priority <= claim.priority
    return sitter.rank > claim.rank and not amid_a_line
