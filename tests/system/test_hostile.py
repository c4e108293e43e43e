"""Hostile save files: each is refused with a reason, or is a character that can speak."""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from npc_engine.storage.msgpack_bounds import ITEM_COST, NEST_COST
from npc_engine.storage.snapshot import MAX_STATE_COST
from tests.support.mutate import MUTATORS, Save, mutants, saves, sealed
from tests.support.victim import Victim

pytestmark = pytest.mark.usefixtures("no_fsync")

MOST_BYTES = 64 << 20  # of memory beside the file's own bytes


@pytest.fixture(scope="module")
def true(tmp_path_factory: pytest.TempPathFactory) -> list[Save]:
    return saves(tmp_path_factory.mktemp("true"))


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(tmp_path)
    yield victim
    victim.close()


@pytest.fixture
def traced() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


def attack(victim: Victim, true: list[Save], n: int, seed: int) -> Counter[tuple[str, str]]:
    """Load n mutants; count what became of each kind."""
    ends: Counter[tuple[str, str]] = Counter()
    for i, (kind, data) in enumerate(mutants(true, n, seed)):
        try:
            ends[kind, victim.take(data)] += 1
            assert victim.n_extra < MOST_BYTES
        except BaseException as error:
            error.add_note(f"mutant {i} of seed {seed}, {kind}")
            raise
    return ends


def test_true_files_are_taken_with_their_payload(victim: Victim, true: list[Save]) -> None:
    assert [victim.take(save.data) for save in true] == ["payload"] * 3
    assert victim.fake.n_let_in == 3


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
def test_hostile_files(victim: Victim, true: list[Save]) -> None:
    ends = attack(victim, true, 150, seed=1)
    assert len({kind for kind, _ in ends}) == len(MUTATORS)
    assert {end for _, end in ends} >= {"bad_snapshot", "tokens", "payload"}


@pytest.mark.model  # it needs none, but half a minute
def test_twenty_thousand_hostile_files(victim: Victim, true: list[Save]) -> None:
    n_peak = peak_bytes(reset=True)
    ends = attack(victim, true, 20_000, seed=2)
    assert len({kind for kind, _ in ends}) == len(MUTATORS)
    assert {end for _, end in ends} >= {"bad_snapshot", "tokens", "payload"}
    assert peak_bytes() - n_peak < MOST_BYTES  # of any of them, and of all together


def peak_bytes(reset: bool = False) -> int:
    """The most memory that this process had; `reset`: from now on. 0 where nobody says."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:  # pragma: no cover
        return 0
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def test_the_watch_at_the_seam_can_fail(victim: Victim, true: list[Save]) -> None:
    assert victim.take(true[0].data) == "payload"
    victim.fake.vouched.clear()
    with pytest.raises(AssertionError, match="nobody vouches"):
        victim.fake.restore(0, true[0].payload)


# Costly by hand: what takes much memory or time, if it is let in


M = 1 << 20
WIDE = "\U0001f600" + "x" * (11 * M)
ASCII = "x" * (46 * M)


def seg(**change: Any) -> dict[str, Any]:
    usual = {"kind": "event", "tokens": [65], "text": "a", "turn": 1, "pinned": False}
    return {**usual, "importance": 0.5, "start": 0, "n_cached": 0, **change}


def turns(n: int, **change: Any) -> dict[str, Any]:
    """A long life of small turns."""
    return {"segments": [seg(turn=i + 1, **change) for i in range(n)], "turn": n + 1}


PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "unknown key": lambda text: {"zzz": text},
    "event": lambda text: {"events": [[text, 0.5]]},
    "heard": lambda text: {"heard": [text]},
    "card": lambda text: {"card": {"name": "x", "description": text}},
    "name": lambda text: {"card": {"name": text.replace("x", "x ")}},
    "extension": lambda text: {"card": {"name": "x", "extensions": {text: text[:9]}}},
    "card key": lambda text: {"card": {"name": "x", text: 1}},
    "spec": lambda text: {"card": {"name": "x", "spec": text.encode()}},
    "stop": lambda text: {"sampling": {"stop": [text]}},
    "sampling key": lambda text: {"sampling": {text: 1}},
    "sampling value": lambda text: {"sampling": {"top_k": text}},
    "segment": lambda text: {"segments": [seg(turn=9_999, text=text)], "turn": 9_999},
    "past segment": lambda text: {"segments": [seg(text=text)]},
    "kind": lambda text: {"segments": [seg(kind=text)]},
}

COSTLY: dict[str, Callable[[int], dict[str, Any]]] = {
    "turns": turns,
    "pinned turns": lambda n: turns(n, pinned=True),
    "one turn": lambda n: {"segments": [seg(kind="reply")] * n},
    "long replies": lambda n: {"segments": [seg(kind="reply", text="ab" * 150)] * n},
    "an open turn": lambda n: {"segments": [seg(turn=9)] * n, "turn": 9},
    "empty segments": lambda n: {"segments": [seg(tokens=[])] * n},
    "events": lambda n: {"events": [[f"a{i}", 0.5] for i in range(6 * n)]},
    "heard": lambda n: {"heard": [f"a{i}" for i in range(16 * n)]},
    "tokens": lambda n: {"segments": [seg(kind="reply", tokens=[65] * (16 * n))]},
    "holes": lambda n: {"holes": [[i, i + 1] for i in range(6 * n)]},
    "maps": lambda n: {"zzz": [{}] * (16 * n)},
    "extensions": lambda n: {"card": {"name": "x", "extensions": {"a": [{}] * (16 * n)}}},
    "tags": lambda n: {"card": {"name": "x", "tags": ["a"] * (16 * n)}},
    "stops": lambda n: {"sampling": {"stop": ["a"] * (16 * n)}},
}


def costly(save: Save, change: dict[str, Any], vocab: str) -> bytes:
    header = {**msgspec.msgpack.decode(save.header), "vocab": vocab}
    state: dict[str, Any] = msgspec.msgpack.decode(save.state)
    persona = [s for s in state["segments"] if s["kind"] == "persona"]
    if "segments" in change:
        change = {**change, "segments": persona + change["segments"], "window": 1 << 24}
    packed = msgspec.msgpack.encode({**state, **change})
    return sealed(msgspec.msgpack.encode(header), packed)


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("text", [WIDE, ASCII], ids=["wide", "ascii"])
@pytest.mark.parametrize("place", PLACES)
def test_a_huge_text(victim: Victim, true: list[Save], place: str, text: str) -> None:
    for vocab in ("fake-vocab", "another") if text is WIDE else ("fake-vocab",):
        victim.take(costly(true[0], PLACES[place](text), vocab))
        assert victim.n_extra < MOST_BYTES


def reckoned(value: Any) -> int:
    """What `measure` says that a value costs."""
    if isinstance(value, dict):
        return NEST_COST + sum(reckoned(k) + reckoned(v) for k, v in value.items())
    if isinstance(value, list):
        return NEST_COST + sum(map(reckoned, value))
    return ITEM_COST + (len(value) if isinstance(value, str | bytes) else 0)


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("shape", COSTLY)
def test_what_a_state_takes_is_what_was_reckoned(
    victim: Victim, true: list[Save], shape: str
) -> None:
    """A small one, so that it is quick: what it takes grows with it."""
    change = COSTLY[shape](600)
    most = reckoned(change) * MOST_BYTES / MAX_STATE_COST
    for vocab in ("fake-vocab", "another"):
        victim.take(costly(true[0], change, vocab))
        assert victim.n_extra < most


@pytest.mark.slow
@pytest.mark.parametrize("shape", COSTLY)
def test_a_long_life_takes_no_time_that_grows_with_its_square(
    victim: Victim, true: list[Save], shape: str
) -> None:
    for vocab in ("fake-vocab", "another"):
        victim.take(costly(true[0], COSTLY[shape](8_000), vocab))
