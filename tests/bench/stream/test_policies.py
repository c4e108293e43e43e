"""The policies' arithmetic: what survives, where it stands, and that positions stay contiguous."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.bench.stream.policies import Pinned, Plan, Reread, Rolling, Room, Whole


class Cells:
    """A cache as a plain mapping from position to token."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}

    def apply(self, room: Room) -> None:
        if room.reread is not None:
            self.at = dict(enumerate(room.reread))
        for first, last in room.remove:
            for position in range(first, last):
                del self.at[position]
        for first, last, by in room.moves:
            moved = {p + by: self.at.pop(p) for p in range(first, last) if p in self.at}
            assert not moved.keys() & self.at.keys()
            self.at |= moved

    def add(self, first: int, tokens: list[int]) -> None:
        assert first == max(self.at, default=-1) + 1
        self.at |= dict(enumerate(tokens, first))


def play(plan: Plan, sizes: list[int]) -> Iterator[tuple[Cells, int]]:
    """Read tokens 0, 1, 2 ... in chunks; yields the cells after each, and the next token."""
    cells, n = Cells(), 0
    for size in sizes:
        room = plan.make_room(size)
        assert room is not None
        cells.apply(room)
        tokens = list(range(n, n + size))
        cells.add(plan.next_pos, tokens)
        plan.add(tokens)
        n += size
        assert len(cells.at) == plan.n_cells
        assert plan.next_pos == max(cells.at) + 1
        yield cells, n


SIZES = st.lists(st.integers(1, 16), max_size=60)


@given(SIZES, st.integers(0, 8))
def test_sinks_and_the_last_tokens_stay_at_positions_without_holes(
    sizes: list[int], n_sinks: int
) -> None:
    for cells, n in play(Rolling(64, n_sinks), sizes):
        n_last = min(n, 64 - n_sinks)
        expected = list(range(min(n, n_sinks))) + list(range(max(n_sinks, n - n_last), n))
        assert [cells.at[p] for p in range(len(cells.at))] == expected


@given(SIZES)
def test_the_last_tokens_are_read_again(sizes: list[int]) -> None:
    for cells, n in play(Reread(64), sizes):
        assert [cells.at[p] for p in range(len(cells.at))] == list(range(max(0, n - 64), n))


@given(SIZES, st.booleans(), st.integers(0, 20))
def test_the_pinned_beginning_stays_and_the_window_and_positions_hold(
    sizes: list[int], shifts: bool, n_pinned: int
) -> None:
    plan = Pinned(128, 256, n_pinned, 16, shifts)
    for cells, n in play(plan, sizes):
        kept = [cells.at[p] for p in sorted(cells.at)]
        assert kept == plan.ledger.tokens()
        assert kept == sorted(kept)
        assert kept[:n_pinned] == list(range(min(n, n_pinned)))
        assert kept[-1] == n - 1
        assert len(kept) <= 128
        assert max(cells.at) < 256


def test_holes_are_closed_when_positions_run_short() -> None:
    plan = Pinned(128, 256, 8, 16, True)
    *_, (cells, n) = play(plan, [16] * 40)
    assert plan.n_renumbered > 1
    assert n == 640
    assert len(cells.at) > 60


def test_full_attention_ends_where_the_cells_end() -> None:
    plan = Whole(100)
    plan.add(list(range(90)))
    assert plan.make_room(10) == Room()
    assert plan.make_room(11) is None


@pytest.mark.parametrize("n", [0, 3])
def test_a_persona_may_come_in_parts(n: int) -> None:
    plan = Pinned(128, 256, 8, 16, True)
    plan.add(list(range(n)))
    plan.add(list(range(n, 30)))
    assert [len(s.tokens) for s in plan.ledger.segments] == [8, 16, 6]
    assert [s.pinned for s in plan.ledger.segments] == [True, False, False]
