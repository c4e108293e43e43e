"""Who has which slot of the KV cache.

Owns the free slots, the order of last use, and how long moving in and out takes. It knows sequences
and claims, but no llama.

Parking is lazy. Every slot owns its cells, so an idle resident costs nobody a step's time, and one
that is parked costs a call-in when it is spoken to (`benchmarks/parking.py` measures both; in a
unified cache, where each step scans everybody's cells, parking eagerly would win).

Rules
 1. Whoever speaks or is spoken to gets a slot, most urgent first. Idle reading takes a free one
    or waits, but for rule 5.
 2. For that the least recently used that nobody needs is parked; when all are needed, the least
    urgent, for somebody more urgent than it; among equals, for whose line came first. Who speaks
    goes out only for a higher priority. Whoever goes out goes on when a slot is free again.
 3. Whoever is about to be spoken to (`called`) gets one early, in the place of the least recently
    used that nobody needs and that was not called or spoken to since. It then counts as used. A
    slot for idle reading does not: of those never used, the last that came goes out first.
 4. Whoever is left standing for somebody more urgent ages as in rule 4 of `batching`, half as
    fast, since it gets a slot for one step at the price of two moves. So nobody waits for ever.
 5. When nobody is needed and all residents have been read, one who has not read its persona takes
    the place of the least recently used, one in each call of `assign`; but not of the one that was
    called last, until that is spoken to. Only while what is parked stays within half of the budget:
    reading ahead sends nothing to disk. It ends, since a persona is read once. What else a parked
    character has heard is left until it is called: to copy windows out and in for the few tokens
    of an event, for everybody who hears it, would cost the game more than it saves.
"""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from npc_engine.kvcache.parking import Parking, auto_budget
from npc_engine.kvcache.sequence import Sequence
from npc_engine.scheduling import batching
from npc_engine.scheduling.batching import Claim

__all__ = ["Moves", "Slots"]

PATIENCE = 2 * batching.PATIENCE


@dataclass
class Moves:
    """How often something moved, and how long it took."""

    n: int = 0
    last_ms: float = 0.0
    total_ms: float = 0.0

    @property
    def mean_ms(self) -> float:
        """Milliseconds of one, of all so far."""
        return self.total_ms / self.n if self.n else 0.0

    def note(self, seconds: float) -> None:
        """Count one."""
        self.n += 1
        self.last_ms = seconds * 1000
        self.total_ms += self.last_ms


class Slots:
    """`n_slots` slots and their residents. `clock` gives seconds."""

    def __init__(
        self,
        n_slots: int,
        parking: Parking | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.parks = Moves()
        self.call_ins = Moves()
        self._parking = parking or Parking(auto_budget())
        self._clock = clock
        self._free = list(range(n_slots - 1, -1, -1))
        self._residents: dict[int, Claim] = {}
        self._taken: dict[int, int] = {}  # when each slot was, by the count of `last_use`
        self._uses = itertools.count(1)

    @property
    def has_free(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free)

    @property
    def residents(self) -> list[str]:
        """Who has a slot."""
        return [claim.name for claim in self._residents.values()]

    def assign(self, claims: Iterable[Claim]) -> list[Claim]:
        """Give slots to whom the rules say; return all of the claims that have one."""
        claims = list(claims)
        for claim in claims:
            if claim.sequence.slot is not None or not claim.urgent:
                claim.n_stood = 0
        claims.sort(key=_rank)
        needed = {id(c) for c in claims if c.urgent}
        for claim in claims:
            sequence = claim.sequence
            if sequence.slot is None and (self._free or self._make_way(claim, needed)):
                self._take(claim)
            if sequence.slot is None:
                claim.n_skipped += claim.urgent
                claim.n_stood += claim.urgent and self._is_outranked(claim)
            elif claim.urgent or claim.called:
                claim.last_use = next(self._uses)
                claim.called = False
        residents = [c for c in claims if c.sequence.slot is not None]
        if not any(c.sequence.n_pending for c in residents):  # so nobody is needed, either
            residents += self._read_one_more(claims)
        self._parking.trim(self._n_kept)
        return residents

    def admit(self, sequence: Sequence) -> None:
        """Take in a sequence that comes out of a save, its cells with it, unless it is in."""
        if sequence.copy is not None and sequence.copy.on_release is None:
            self._parking.keep(sequence.copy, is_loaded=True)

    def leave(self, sequence: Sequence) -> None:
        """Free the slot of a sequence that goes for good, or the room of its parked copy."""
        sequence.forget_cache()
        if sequence.slot is not None:
            slot, sequence.slot = sequence.slot, None
            self._give(slot)

    def _take(self, claim: Claim) -> None:
        slot = self._free.pop()
        self._residents[slot] = claim
        self._taken[slot] = next(self._uses)
        if claim.sequence.copy is None:
            claim.sequence.take_slot(slot)
            return
        began = self._clock()
        claim.sequence.take_slot(slot)
        self.call_ins.note(self._clock() - began)

    def _give(self, slot: int) -> None:
        del self._residents[slot]
        self._free.append(slot)

    def _make_way(self, claim: Claim, needed: set[int]) -> bool:
        """Park one for this claim, as rules 2 and 3 allow; False when there is none."""
        if not claim.urgent and not claim.called:
            return False
        idle = [slot for slot, resident in self._residents.items() if id(resident) not in needed]
        if not claim.urgent:
            idle = [slot for slot in idle if self._residents[slot].wanted < claim.wanted]
        if idle:
            self._park(min(idle, key=self._use))
            return True
        behind = [s for s, c in self._residents.items() if claim.urgent and _gives_way(c, claim)]
        if behind:
            self._park(max(behind, key=lambda slot: _rank(self._residents[slot])))
        return bool(behind)

    def _is_outranked(self, claim: Claim) -> bool:
        return any(resident.priority < claim.priority for resident in self._residents.values())

    def _use(self, slot: int) -> tuple[int, int]:
        """Sort key: whoever was used least recently goes out first (rule 3)."""
        return self._residents[slot].last_use, -self._taken[slot]

    @property
    def _n_kept(self) -> int:
        """Bytes that residents keep beside their slots."""
        return sum(c.sequence.n_parked_bytes for c in self._residents.values())

    def _read_one_more(self, claims: list[Claim]) -> list[Claim]:
        """Give a slot to the first who has not read its persona, if rule 5 allows it."""
        unread = next((c for c in claims if c.sequence.slot is None and _is_unread(c)), None)
        called_last = max((c.expected for c in self._residents.values()), default=0)
        spare = [
            slot
            for slot, resident in self._residents.items()
            if not 0 < resident.expected == called_last
        ]
        if unread is None or not spare:
            return []
        slot = min(spare, key=self._use)
        n_bytes = self._residents[slot].sequence.n_bytes_to_park
        if n_bytes is None or not self._parking.has_ample_room(n_bytes + self._n_kept):
            return []
        self._park(slot)
        self._take(unread)
        return [unread]

    def _park(self, slot: int) -> None:
        sequence = self._residents[slot].sequence
        began = self._clock()
        sequence.park()
        if sequence.copy is not None:
            self.parks.note(self._clock() - began)
            self._parking.keep(sequence.copy)
        self._give(slot)


def _is_unread(claim: Claim) -> bool:
    """Whether it has not read its persona."""
    return claim.sequence.ledger.n_cells < claim.sequence.ledger.n_persona


def _gives_way(resident: Claim, claim: Claim) -> bool:
    """Whether a claim may take a needed slot.

    Not amid a line that is as important; and among equals whose line came first has it, however
    long others wait, unless one of them has just got it by its age. Else they would swap places all
    the time, and each swap copies a window out and another in.
    """
    if resident.speaking and resident.priority <= claim.priority:
        return False
    if resident.priority == claim.priority:
        return resident.order > claim.order and _rank(resident)[0] >= _rank(claim)[0]
    return _rank(resident) > _rank(claim)


def _rank(claim: Claim) -> tuple[int, int, int]:
    """Sort key: who gets a slot first (rules 1 and 4)."""
    if not claim.urgent:
        return claim.rank
    return (max(0, claim.priority - claim.n_stood // PATIENCE), 0, claim.order)
