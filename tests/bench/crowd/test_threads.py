"""The turns of auto and fixed counts of threads, over crowds that only say how long they spoke."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from npc_engine.bench.crowd import threads
from npc_engine.bench.crowd.figures import Measured
from npc_engine.bench.crowd.setup import Setup
from npc_engine.bench.crowd.threads import governor, n_turns
from npc_engine.errors import BackendError, ModelError
from tests.support.games import games


class FakeCrowd:
    """Says 10 tokens a second for each thread; auto has five. `turns`: those of all crowds."""

    all: list["FakeCrowd"]
    turns: list[tuple[int | None, int, float]]

    def __init__(
        self, _model: object, _layout: object, n_slots: int, _depth: int, n_threads: int | None
    ) -> None:
        self.n_threads = n_threads
        self.n_slots = n_slots
        self.n_here = 0
        self.closed = False
        self.engine = SimpleNamespace(stats=lambda: {"n_threads": len(self.turns)})
        self.all.append(self)

    def gather(self, n: int) -> None:
        assert not self.n_here and n <= self.n_slots
        self.n_here = n

    def clear(self) -> None:
        self.n_here = 0

    def chatter(self, seconds: float, _n_tokens: int) -> Iterator[tuple[float, list[int]]]:
        self.turns.append((self.n_threads, self.n_here, seconds))
        yield seconds / 2, [1] * self.n_here
        yield seconds, [round(10 * seconds * (self.n_threads or 5))] * self.n_here

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def crowds(monkeypatch: pytest.MonkeyPatch) -> list[FakeCrowd]:
    FakeCrowd.all, FakeCrowd.turns = [], []
    monkeypatch.setattr(threads, "Crowd", FakeCrowd)
    monkeypatch.setattr(threads, "n_usable_cores", lambda: 2)
    return FakeCrowd.all


def setup_of(n_busy: int = 1, cell_bytes: int = 1) -> Setup:
    model = SimpleNamespace(kv_bytes_per_token=lambda _layout: cell_bytes)
    values: dict[str, Any] = {"n_rounds": 2, "turn_s": 4.0, "n_busy": n_busy}
    rest = dict.fromkeys(Setup.__dataclass_fields__.keys() - values.keys())
    return Setup(**cast("Any", {**rest, **values, "model": model}))


def n_games() -> int:
    return len(games())


def test_all_take_turns(crowds: list[FakeCrowd]) -> None:
    setup, found = setup_of(), Measured()
    seen = [(now, n_games()) for now in governor(setup, found)]
    assert len(seen) == n_turns(setup) == 3 + 4 * (1 + 2 * 3)
    assert [crowd.n_threads for crowd in crowds] == [None, 1, 2]
    assert all(crowd.closed for crowd in crowds)
    # Auto is warm before it is measured; each round has everybody.
    one = [(None, 1, 10.0), *[(None, 1, 4.0), (1, 1, 4.0), (2, 1, 4.0)] * 2]
    assert FakeCrowd.turns[:7] == one
    assert FakeCrowd.turns[14:21] == one
    assert [(row.n_speakers, row.n_busy) for row in found.sharing] == [
        (1, 0),
        (8, 0),
        (1, 1),
        (8, 1),
    ]
    assert found.sharing[1].rounds == [{"auto": (1600, 4.0), "1": (320, 4.0), "2": (640, 4.0)}] * 2
    assert found.sharing[0].stats == {"n_threads": 7}, "those at the end"
    # Somebody spins when, and only when, it says so.
    assert {n for now, n in seen if "1 busy processes" in now} == {1}
    assert {n for now, n in seen if "1 busy processes" not in now} == {0}
    assert n_games() == 0


def test_no_game_is_no_second_row() -> None:
    setup, found = setup_of(n_busy=0), Measured()
    assert len(list(governor(setup, found))) == n_turns(setup)
    assert [(row.n_speakers, row.n_busy) for row in found.sharing] == [(1, 0), (8, 0)]


def test_an_end_in_the_middle_keeps_whole_rounds(crowds: list[FakeCrowd]) -> None:
    found = Measured()
    turns = cast("Any", governor(setup_of(), found))
    for now in turns:
        if now.startswith("8 speaking, 1 busy") and "2, round 2 of 2" in now:
            assert n_games() == 1
            break
    turns.close()
    assert [len(row.rounds) for row in found.sharing] == [2, 2, 2, 1]
    assert all(set(turns) == {"auto", "1", "2"} for row in found.sharing for turns in row.rounds)
    assert all(crowd.closed and not crowd.n_here for crowd in crowds)
    assert n_games() == 0


def test_before_the_first_round_nothing_is_kept() -> None:
    found = Measured()
    turns = cast("Any", governor(setup_of(), found))
    for now in turns:
        if "threads 2, round 1" in now:
            break
    turns.close()
    assert found == Measured()


def test_a_game_that_ends_by_itself_is_no_busy_game() -> None:
    found = Measured()
    with pytest.raises(BackendError, match="A busy process ended"):
        for now in governor(setup_of(), found):
            if "1 busy processes: threads 1, round 2" in now:
                (game,) = games()
                game.kill()
                game.wait(20)
    assert [len(row.rounds) for row in found.sharing] == [2, 2, 1]


def test_all_engines_must_fit(crowds: list[FakeCrowd]) -> None:
    with pytest.raises(ModelError, match="24 slots x 512 tokens need"):
        list(governor(setup_of(cell_bytes=1 << 40), Measured()))
    assert not crowds
