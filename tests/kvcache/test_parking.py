"""The budget holds, the oldest go to disk first, a disk that fails costs no more than a copy."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from npc_engine.kvcache import parking as parking_module
from npc_engine.kvcache.parking import Parking, auto_budget
from npc_engine.kvcache.payload import Payload

Jobs = list[Callable[[], None]]
MOST_BYTES = 40


@pytest.fixture(autouse=True)
def _any_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npc_engine.storage.scratch_folder.RESERVE_BYTES", 0)


@pytest.fixture
def parking(tmp_path: Path) -> Iterator[Parking]:
    parking = Parking(100, under=tmp_path)
    yield parking
    parking.close()
    assert list(tmp_path.iterdir()) == []


def parked(parking: Parking, *sizes: int, **keys: Any) -> list[Payload]:
    payloads = [Payload(bytes([i]) * size) for i, size in enumerate(sizes, 1)]
    for payload in payloads:
        parking.keep(payload, **keys)
    return payloads


def where(payloads: list[Payload]) -> str:
    """m for memory, d for disk, - for lost."""
    return "".join("m" if p.n_bytes else "d" if p.n_disk_bytes else "-" for p in payloads)


def test_the_oldest_go_to_disk(parking: Parking, tmp_path: Path) -> None:
    payloads = parked(parking, 40, 40, 40, 40)
    parking.trim()
    assert where(payloads) == "ddmm"
    assert [p.read() for p in payloads] == [(bytes([i]) * 40,) for i in range(1, 5)]
    parking.trim(n_kept=21)
    assert where(payloads) == "dddm"
    parking.trim(n_kept=1000)
    assert where(payloads) == "dddd"


def test_nothing_is_touched_while_the_budget_holds(parking: Parking, tmp_path: Path) -> None:
    payloads = parked(parking, 50, 50)
    parking.trim()
    payloads[0].release()
    parked(parking, 50)
    parking.trim()
    assert where(payloads) == "mm"
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_larger_than_the_budget_goes_to_disk(parking: Parking) -> None:
    payloads = parked(parking, 101)
    parking.trim()
    assert where(payloads) == "d"


def test_what_waits_for_the_writer_is_in_memory(tmp_path: Path) -> None:
    jobs: Jobs = []
    parking = Parking(100, jobs.append, tmp_path)
    payloads = parked(parking, 60, 60, 60)
    parking.trim()
    assert where(payloads) == "mmm"
    assert (len(jobs), parking.n_writing_bytes) == (2, 120)
    assert list(tmp_path.iterdir()) == [], "not even a folder, on the engine's thread"
    payloads[0].release()  # it has a slot again
    for job in jobs:
        job()
    parking.trim()
    assert where(payloads) == "mdm"
    assert parking.n_writing_bytes == 0
    assert len(list(next(tmp_path.iterdir()).iterdir())) == 2, "the lock and one file"
    parking.close()


def fails(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(self: Payload, path: Path) -> None:
        raise error

    monkeypatch.setattr(Payload, "write", fail)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "EIO"),
                                   MemoryError(), ValueError("a bug")])  # fmt: skip
def test_what_cannot_be_written_is_given_up_and_said_once(
    parking: Parking, monkeypatch: Any, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        fails(patch, error)
        payloads = parked(parking, 60, 60, 60)
        parking.trim()
        parking.trim()
        assert where(payloads) == "--m"
        assert caplog.text.count("found no room") == 1
    caplog.clear()
    payloads = parked(parking, 60, 60)
    parking.trim()
    assert "m" in where(payloads) and "d" in where(payloads)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        parking.trim()  # sees that the disk works again
        fails(patch, error)
        parked(parking, 60)
        parking.trim()
        parking.trim()
        assert caplog.text.count("found no room") == 1, "it is news again"


def test_what_cannot_be_written_stays_where_there_is_room_by_then(
    tmp_path: Path, monkeypatch: Any
) -> None:
    jobs: Jobs = []
    parking = Parking(100, jobs.append, tmp_path)
    fails(monkeypatch, OSError(5, "EIO"))
    payloads = parked(parking, 60, 60)
    parking.trim()
    payloads[1].release()
    jobs.pop()()
    parking.trim()
    assert where(payloads[:1]) == "m"
    parking.trim()
    assert parking.n_writing_bytes == 0
    parking.close()


def test_the_players_disk_is_not_filled(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("npc_engine.storage.scratch_folder.RESERVE_BYTES", 1 << 60)
    parking = Parking(0, under=tmp_path)
    payloads = parked(parking, 60)
    parking.trim()
    parking.trim()
    assert where(payloads) == "-"
    parking.close()


def test_no_folder_no_failure(tmp_path: Path) -> None:
    parking = Parking(0, under=tmp_path / "is-not-there")
    payloads = parked(parking, 60)
    parking.trim()
    parking.trim()
    assert where(payloads) == "-"
    parking.close()


def test_a_disk_that_hangs_does_not_fill_the_memory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(parking_module, "MOST_WAITING", 200)
    jobs: Jobs = []
    parking = Parking(100, jobs.append, tmp_path)
    payloads = []
    for _ in range(20):
        payloads += parked(parking, 50)
        parking.trim()
        assert sum(p.n_bytes for p in payloads) <= 300
    assert where(payloads).count("m") == 6
    parking.close()


def test_a_load_may_bring_more_than_a_slow_disk_takes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(parking_module, "MOST_WAITING", 0)
    jobs: Jobs = []
    parking = Parking(100, jobs.append, tmp_path)
    payloads = parked(parking, *[50] * 20, is_loaded=True)
    parking.trim()
    assert len(jobs) == 18
    assert where(payloads) == "m" * 20
    for job in jobs:
        job()
    assert where(payloads) == "d" * 18 + "mm"
    parking.close()


def test_once_stopped_it_writes_no_more(tmp_path: Path) -> None:
    jobs: Jobs = []
    parking = Parking(0, jobs.append, tmp_path)
    payloads = parked(parking, 60)
    parking.trim()
    parking.stop()
    jobs.pop()()
    payloads += parked(parking, 60)
    parking.trim()
    assert (where(payloads), jobs) == ("mm", [])
    parking.close()
    assert list(tmp_path.iterdir()) == []


def test_auto_is_a_part_of_what_is_free() -> None:
    assert 0 < auto_budget() <= 2 << 30


class ParkingMachine(RuleBasedStateMachine):
    """Copies come and go; the writer is early or late; the disk works or not."""

    @initialize(budget=st.integers(0, 100), most_waiting=st.sampled_from([0, 30, 10_000]))
    def begin(self, budget: int, most_waiting: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.jobs: Jobs = []
        self.parking = Parking(budget, self.jobs.append, Path(self.folder.name))
        self.parking._most_waiting = most_waiting
        self.alive: dict[bytes, Payload] = {}
        self.n = 0
        self.works = True
        self.n_kept = 0

    @rule(size=st.integers(4, MOST_BYTES))
    def park(self, size: int) -> None:
        self.n += 1
        data = self.n.to_bytes(4, "big").ljust(size, b".")
        self.alive[data] = Payload(data)
        self.parking.keep(self.alive[data])
        self.parking.trim(self.n_kept)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def call_in(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.alive)))
        payload = self.alive.pop(chosen)
        assert payload.read() in ((chosen,), None)
        payload.release()

    @precondition(lambda self: self.jobs)
    @rule()
    def write(self) -> None:
        job = self.jobs.pop(0)
        if self.works:
            job()
            return
        with pytest.MonkeyPatch.context() as patch:
            fails(patch, OSError(28, "full"))
            job()

    @rule(works=st.booleans())
    def disk(self, works: bool) -> None:
        self.works = works

    @rule(n_kept=st.integers(0, 50))
    def trim(self, n_kept: int) -> None:
        self.n_kept = n_kept
        self.parking.trim(n_kept)

    @invariant()
    def the_counts_are_right(self) -> None:
        in_memory = self.parking._in_memory.values()
        assert self.parking._n_bytes == sum(p.n_bytes for p in in_memory)
        assert not any(p.is_released for p in in_memory)
        assert all(p in (*in_memory, *self.parking._writing) for p in self.alive.values()
                   if p.n_bytes)  # fmt: skip

    @invariant()
    def the_budget_holds(self) -> None:
        parking = self.parking
        in_memory = sum(p.n_bytes for p in self.alive.values())
        assert in_memory - parking.n_writing_bytes <= parking.budget
        assert in_memory <= parking.budget + max(parking._most_waiting, MOST_BYTES)

    def teardown(self) -> None:
        self.parking.close()
        assert list(Path(self.folder.name).iterdir()) == []
        self.folder.cleanup()


TestParking = ParkingMachine.TestCase
TestParking.settings = settings(max_examples=100, stateful_step_count=40)
