"""A sequence over the fake cache: whatever happens, the cells are what the ledger says."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from npc_engine.kvcache.ledger import Kind, Ledger, Range, Segment
from npc_engine.kvcache.payload import Payload
from npc_engine.kvcache.sequence import Sequence
from tests.support.fake_llama import FakeLlama

WINDOW = 150


@dataclass
class Stubborn(FakeLlama):
    """A cache that can be told to refuse: like a recurrent state, or a save of another layout."""

    removes: bool = True
    restores: bool = True

    def remove(self, slot: int, first: int, last: int) -> bool:
        if not self.removes and (first, last) != (0, -1):
            return False
        return super().remove(slot, first, last)

    def restore(self, slot: int, payload: bytes) -> bool:
        return super().restore(slot, payload) if self.restores else False


def cells(sequence: Sequence, cache: FakeLlama) -> dict[int, int]:
    """Position to token: in the slot, or in the parked copy as it will be when it is back."""
    if sequence.slot is not None:
        return dict(cache.slots[sequence.slot])
    if sequence.parked is None:
        return {}
    _, held = json.loads(sequence.parked)
    kept = {int(p): t for p, t in held}
    for first, last, by in sequence._owed:
        found = {p: kept.pop(p) for p in list(kept) if in_range(p, (first, last))}
        kept.update({p + by: t for p, t in found.items()} if by is not None else {})
    return kept


def in_range(position: int, hole: Range) -> bool:
    first, last = hole
    return first <= position and (last == -1 or position < last)


def expected(ledger: Ledger) -> dict[int, int]:
    return {s.start + i: s.tokens[i] for s in ledger.segments for i in range(s.n_cached)}


def read(sequence: Sequence, cache: FakeLlama, n: int) -> None:
    """Decode up to `n` pending tokens."""
    ledger = sequence.ledger
    tokens = ledger.pending(min(n, sequence.n_ready))
    if sequence.slot is not None and tokens:
        cache.decode([(sequence.slot, ledger.next_pos, tokens, False)])
        sequence.commit(len(tokens))


def bytes_of(payload: Payload | None) -> bytes:
    parts = payload.read() if payload else None
    return parts[0] if parts else b""


def saved(sequence: Sequence, cache: FakeLlama) -> Sequence:
    """The same character out of a save, with the ranges that the save says are stale."""
    old = sequence.ledger
    new = Ledger(old.window, old.n_pos, old.joined)
    for s in old.segments:
        new.append(Segment(s.kind, list(s.tokens), s.text, s.turn, s.pinned))
        new.segments[-1].start, new.segments[-1].n_cached = s.start, s.n_cached
    new.n_cells = old.n_cells
    twin = Sequence(new, cache)
    payload = sequence.payload()
    if payload is None:
        new.uncache(0)
    else:
        twin.adopt(bytes_of(payload), [*sequence.holes, (new.next_pos, -1)])
    return twin


class SequenceMachine(RuleBasedStateMachine):
    """One sequence that is read, cut, evicted, parked, called in, saved and renumbered."""

    @initialize(
        n_persona=st.integers(0, 40),
        n_pos=st.integers(WINDOW, 3 * WINDOW),
        kind=st.sampled_from(["shifts", "rereads", "recurrent"]),
    )
    def begin(self, n_persona: int, n_pos: int, kind: str) -> None:
        self.cache = Stubborn(n_slots=2, n_cells=1000, n_batch=1000, n_pos=n_pos)
        self.cache.can_shift = kind == "shifts"
        self.cache.keeps_states = kind == "recurrent"
        self.sequence = Sequence(Ledger(WINDOW, n_pos), self.cache)
        self.folder = tempfile.TemporaryDirectory()
        self.n_files = 0
        self.next_token = 0
        self.turn = 1
        self.persona = self._tokens(n_persona)
        self.sequence.append(Segment(Kind.PERSONA, list(self.persona), pinned=True))

    def _tokens(self, n: int) -> list[int]:
        self.next_token += n
        return [(self.next_token - i) % 256 for i in range(n)]

    def _loose(self) -> list[Segment]:
        return [s for s in self.sequence.ledger.segments if not s.pinned]

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(kind=st.sampled_from([Kind.SAID, Kind.EVENT, Kind.REPLY]), n=st.integers(0, 50))
    def append(self, kind: Kind, n: int) -> None:
        """A segment as `Dialogue` adds it: room first, and never more than the window can hold."""
        self.sequence.make_room(n, self.turn)
        ledger = self.sequence.ledger
        n = min(n, WINDOW - ledger.n_tokens)
        self.sequence.append(Segment(kind, self._tokens(n), turn=self.turn))
        assert ledger.next_pos + ledger.n_pending <= ledger.n_pos

    @rule()
    def next_turn(self) -> None:
        self.turn += 1

    @rule(n=st.integers(1, 60))
    def read(self, n: int) -> None:
        read(self.sequence, self.cache, n)

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        loose = self._loose()
        gone = data.draw(st.lists(st.sampled_from(loose), unique_by=id)) if loose else []
        self.sequence.drop(gone)

    @precondition(lambda self: self._loose())
    @rule(n_keep=st.integers(0, 50))
    def cut(self, n_keep: int) -> None:
        self.sequence.cut(self._loose()[-1], n_keep)

    @rule(n=st.integers(0, 40), n_more=st.integers(0, 9), fits=st.booleans())
    def begin_with(self, n: int, n_more: int, fits: bool) -> None:
        """Cells of the persona's beginning, out of another slot, which may hold more."""
        n = min(n, len(self.persona))
        if self.sequence.slot is None or not n:
            return
        recurrent = self.cache.keeps_states
        held = [*self.persona[:n], *[9] * (0 if recurrent else n_more)]
        payload = json.dumps([self.cache.layout if fits else "?", list(enumerate(held))]).encode()
        trims = len(held) > n
        fits = fits and self.cache.restores and (self.cache.removes or not trims)
        assert self.sequence.begin_with(payload, n, trims=trims) == fits
        assert self.sequence.ledger.n_cells == (n if fits else 0)
        if recurrent and fits and n == len(self.persona):
            assert [end for end, _ in self.sequence.states.kept] == [n]

    @rule(stop=st.none() | st.integers(0, 200))
    def stop_at(self, stop: int | None) -> None:
        self.sequence.stop = stop
        ledger = self.sequence.ledger
        assert 0 <= self.sequence.n_ready <= self.sequence.n_pending
        if stop is not None:
            assert self.sequence.n_ready <= max(0, stop - ledger.n_cells)

    @rule()
    def park(self) -> None:
        if self.sequence.slot is not None:
            slot = self.sequence.slot
            self.sequence.park()
            assert not self.cache.slots[slot], "cells stayed behind"
            assert self.sequence.n_parked_bytes >= len(self.sequence.parked or b"")
        assert self.sequence.slot is None

    @precondition(lambda self: self.sequence.copy is not None)
    @rule(is_whole=st.booleans())
    def to_disk(self, is_whole: bool) -> None:
        """The parked copy goes into a file, which may be damaged: then it is read again."""
        copy = self.sequence.copy
        assert copy is not None
        if copy.n_bytes:
            self.n_files += 1
            path = Path(self.folder.name) / str(self.n_files)
            copy.write(path)
            assert self.sequence.n_parked_bytes == 0
            if not is_whole:
                path.write_bytes(b"!" * copy.size)
                self.sequence.take_slot(0)
                assert self.cache.slots[0] == {}
                assert self.sequence.n_pending == self.sequence.ledger.n_tokens

    @rule(slot=st.integers(0, 1))
    def call_in(self, slot: int) -> None:
        """Into a slot that may hold what somebody left there."""
        if self.sequence.slot is None:
            self.cache.slots[slot] = {0: 1, 7: 2}
            self.sequence.take_slot(slot)
            assert self.sequence.parked is None
            assert self.sequence.holes == []

    @rule()
    def save_and_load(self) -> None:
        twin = saved(self.sequence, self.cache)
        if self.sequence.slot is not None:
            self.sequence.forget_cache()
        self.sequence = twin

    @rule()
    def renumber(self) -> None:
        ledger = self.sequence.ledger
        n, n_cells = ledger.n_renumbered, ledger.n_cells
        self.sequence.renumber()
        assert ledger.n_renumbered == n + 1
        assert ledger.n_cells == n_cells if self.cache.can_shift else ledger.n_cells <= n_cells
        assert ledger.n_holes == 0

    @rule(removes=st.booleans(), restores=st.booleans())
    def change_mood(self, removes: bool, restores: bool) -> None:
        self.cache.removes, self.cache.restores = removes, restores

    @rule()
    def keep_state(self) -> None:
        self.sequence.keep_state()

    @invariant()
    def few_states_are_kept(self) -> None:
        assert len(self.sequence.states.kept) <= (3 if self.cache.keeps_states else 0)

    @invariant()
    def cells_are_what_the_ledger_says(self) -> None:
        ledger = self.sequence.ledger
        held = cells(self.sequence, self.cache)
        assert held == expected(ledger)
        assert [held[p] for p in sorted(held)] == ledger.tokens()[: ledger.n_cells]
        assert self.sequence.n_pending == ledger.n_tokens - len(held)

    @invariant()
    def persona_stays(self) -> None:
        assert self.sequence.ledger.tokens()[: len(self.persona)] == self.persona

    @invariant()
    def window_holds(self) -> None:
        assert self.sequence.ledger.n_tokens <= WINDOW

    @invariant()
    def what_is_cached_can_be_saved(self) -> None:
        """But for cells that have moved since they were parked, or that end with a gap: those
        tokens are read again.
        """
        has_moved = self.sequence.ledger.tail or any(
            by is not None for _, _, by in self.sequence._owed
        )
        assert has_moved or self.sequence.payload() is not None or not self.sequence.ledger.n_cells


TestSequence = SequenceMachine.TestCase
TestSequence.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def make(cache: FakeLlama, n_pos: int = 1000) -> Sequence:
    """Ten pinned tokens and three turns of ten, all read in slot 0."""
    sequence = Sequence(Ledger(100, n_pos), cache)
    sequence.append(Segment(Kind.PERSONA, list(range(10)), pinned=True))
    for turn in (1, 2, 3):
        sequence.append(Segment(Kind.SAID, list(range(turn * 10, turn * 10 + 10)), turn=turn))
    sequence.take_slot(0)
    while sequence.n_pending:
        read(sequence, cache, 100)
    return sequence


def test_what_leaves_while_parked_leaves_the_cache_when_it_is_called_in() -> None:
    cache = Stubborn()
    sequence = make(cache)
    sequence.park()
    sequence.drop([sequence.ledger.segments[1]])
    sequence.cut(sequence.ledger.segments[-1], 4)
    assert sequence.holes == [(10, 20), (34, 40)]
    sequence.take_slot(3)
    assert cache.held(3) == sequence.ledger.tokens()
    assert sequence.ledger.next_pos == 34


def test_a_parked_copy_that_does_not_fit_is_read_again() -> None:
    cache = Stubborn(restores=False)
    sequence = make(cache)
    sequence.park()
    sequence.take_slot(1)
    assert (sequence.n_pending, cache.held(1)) == (40, [])
    read(sequence, cache, 100)
    assert cache.held(1) == list(range(40))


def test_a_cache_that_cannot_remove_is_read_again() -> None:
    cache = Stubborn(removes=False)
    sequence = make(cache)
    sequence.drop([sequence.ledger.segments[1]])
    assert (sequence.n_pending, cache.held(0)) == (30, [])
    read(sequence, cache, 100)
    assert cache.held(0) == sequence.ledger.tokens()
    assert sorted(cache.slots[0]) == list(range(30)), "positions begin anew"


def test_a_recurrent_state_goes_back_to_the_last_copy_before_the_cut() -> None:
    cache = FakeLlama(keeps_states=True, can_shift=False)
    sequence = make(cache)
    for turn in (4, 5):
        sequence.keep_state()
        sequence.append(Segment(Kind.REPLY, list(range(turn * 10, turn * 10 + 10)), turn=turn))
        read(sequence, cache, 100)
    sequence.cut(sequence.ledger.segments[-1], 3)
    assert (sequence.n_pending, cache.held(0)) == (3, list(range(50)))
    read(sequence, cache, 100)
    sequence.drop(sequence.ledger.segments[-2:])
    assert (sequence.n_pending, cache.held(0)) == (0, list(range(40)))
    sequence.drop(sequence.ledger.segments[-2:])
    assert (sequence.n_pending, cache.held(0)) == (10, list(range(10))), "the persona's state"


def test_a_state_whose_last_cells_have_left_is_not_gone_back_to() -> None:
    """Its positions would be used again, and the next cut restore it over what stands there."""
    cache = FakeLlama(keeps_states=True, can_shift=False)
    sequence = make(cache)
    sequence.keep_state()
    sequence.append(Segment(Kind.REPLY, [40] * 10, turn=4))
    read(sequence, cache, 100)
    sequence.drop([sequence.ledger.segments[-2]])
    sequence.cut(sequence.ledger.segments[-1], 0)
    for turn in (5, 6):
        sequence.append(Segment(Kind.SAID, [turn * 10] * 15, turn=turn))
        read(sequence, cache, 100)
    sequence.drop([sequence.ledger.segments[-1]])
    read(sequence, cache, 100)
    assert cache.held(0) == sequence.ledger.tokens()


def test_a_long_persona_is_read_by_itself_so_that_its_state_can_be_kept() -> None:
    cache = FakeLlama(keeps_states=True, can_shift=False)
    sequence = Sequence(Ledger(100, 1000), cache)
    sequence.append(Segment(Kind.PERSONA, [1] * 10, pinned=True))
    sequence.append(Segment(Kind.EVENT, [2] * 10, turn=1))
    sequence.take_slot(0)
    assert sequence.n_ready == 10
    read(sequence, cache, 100)
    assert (sequence.n_ready, cache.held(0)) == (10, [1] * 10)
    read(sequence, cache, 100)
    assert sequence.n_parked_bytes > 0
    sequence.renumber()
    sequence.drop([sequence.ledger.segments[-1]])
    assert (sequence.n_pending, cache.held(0)) == (0, [1] * 10)


def test_only_what_stands_behind_the_first_hole_is_read_again() -> None:
    cache = FakeLlama(can_shift=False)
    sequence = make(cache)
    sequence.drop([sequence.ledger.segments[2]])
    sequence.renumber()
    assert (sequence.n_pending, cache.held(0)) == (10, list(range(20)))


def test_what_is_cut_while_it_is_read_again_leaves_no_gap_at_the_end() -> None:
    cache = FakeLlama(can_shift=False, n_pos=50)
    sequence = make(cache, n_pos=50)
    sequence.drop([sequence.ledger.segments[1]])
    sequence.ledger.window = 50
    assert sequence.tidy()
    sequence.cut(sequence.ledger.segments[-1], 4)
    sequence.give_up_reading_again()
    assert cache.held(0) == [*range(10), *range(20, 34)]
    assert sequence.ledger.next_pos == 34
    sequence.append(Segment(Kind.SAID, [7] * 5, turn=4))
    read(sequence, cache, 5)
    assert cache.held(0) == sequence.ledger.tokens()


def test_holes_that_cannot_be_made_at_a_call_in_cost_a_new_reading() -> None:
    cache = Stubborn()
    sequence = make(cache)
    sequence.park()
    sequence.drop([sequence.ledger.segments[1]])
    cache.removes = False
    sequence.take_slot(2)
    assert (sequence.n_pending, cache.held(2), sequence.holes) == (30, [], [])


def test_positions_that_run_out_are_closed_up() -> None:
    cache = FakeLlama(n_pos=100)
    sequence = make(cache, n_pos=100)
    for turn in range(4, 30):
        sequence.make_room(10, turn)
        sequence.append(Segment(Kind.SAID, [turn] * 10, turn=turn))
        read(sequence, cache, 64)  # the fake fails at position 100
        read(sequence, cache, 64)
        assert cache.held(0) == sequence.ledger.tokens()
    assert sequence.ledger.n_renumbered >= 5
    assert cache.held(0)[:10] == list(range(10))


def test_a_stale_tail_of_a_save_is_removed() -> None:
    """A save made while a line is spoken holds cells behind its last segment."""
    cache = FakeLlama()
    sequence = make(cache)
    twin = Sequence(Ledger(100, 1000), cache)
    for s in sequence.ledger.segments[:2]:
        twin.append(Segment(s.kind, list(s.tokens), pinned=s.pinned))
        twin.ledger.segments[-1].start, twin.ledger.segments[-1].n_cached = s.start, s.n_cached
    twin.ledger.n_cells = 20
    twin.adopt(bytes_of(sequence.payload()), [(20, -1)])
    twin.take_slot(1)
    assert cache.held(1) == list(range(20))
    assert twin.n_pending == 0


def test_parking_with_nothing_read_keeps_nothing() -> None:
    cache = FakeLlama()
    sequence = Sequence(Ledger(100, 1000), cache)
    sequence.append(Segment(Kind.PERSONA, [1, 2, 3], pinned=True))
    sequence.park()
    sequence.take_slot(0)
    sequence.park()
    assert (sequence.parked, sequence.n_parked_bytes, sequence.payload()) == (None, 0, None)
