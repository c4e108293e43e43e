"""What the disk is asked for: it does not grow with those who have nothing to be written.

Counted are fsyncs and bytes, and who comes first; never the time.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.saving.journal import journaling
from npc_engine.saving.serialization import state_of
from npc_engine.storage.disk import TOGETHER
from npc_engine.storage.journal.files import Journals
from tests.support.journaled import held, lives
from tests.support.rig import Rig, TimedLlama, scripted

MakeCrowd = Callable[[int], Rig]
WAIT_S = 20.0


class Disk:
    """Counts what it is asked for; `go` lets it work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: Counter[str] = Counter()
        self.rounds: list[list[str]] = []  # who was journaled together
        self.go = threading.Event()
        self.go.set()
        write, append = os.write, Journals.append

        def counted(fd: int, data: Any) -> int:
            self.calls["bytes"] += len(data)
            return write(fd, data)

        def held_up(journals: Journals, changes: Any) -> Any:
            self.rounds.append([name for _, name, _ in changes])
            assert self.go.wait(WAIT_S)
            return append(journals, changes)

        monkeypatch.setattr("os.write", counted)
        monkeypatch.setattr("os.fsync", lambda fd: self.calls.update(["fsync"]))
        monkeypatch.setattr(Journals, "append", held_up)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[MakeCrowd]:
    """Makes n characters with a journal each, all in one slot."""
    made: list[Rig] = []

    def make(n: int) -> Rig:
        fake = TimedLlama(mind=scripted("It is so."))
        rig = Rig(tmp_path / str(len(made)), fake=fake, save_kv="no", park_ram=4096)
        rig.check_every = 10**9
        made.append(rig)
        for i in range(n):
            rig.spawn(f"n{i}", card={"name": f"N{i}", "description": "A villager."})
        rig.save("s", mode="journal")
        rig.event("The bell tolls.")
        rig.rest()
        return rig

    yield make
    for rig in made:
        rig.close()


def test_a_turn_that_has_ended_goes_first(crowd: MakeCrowd, disk: Disk) -> None:
    rig = crowd(5 * TOGETHER)
    disk.rounds.clear()
    disk.go.clear()
    rig.event("A gong.")
    rig.steps(10)
    rig.now += 1
    rig.steps(5)  # some are on their way, and others are still to be frozen
    rig.talk("n99", "Did you hear that?")
    rig.step()
    disk.go.set()
    rig.rest()
    at = [i for i, names in enumerate(disk.rounds) if "n99" in names]
    assert at[0] <= 1, "it has waited for more than what was being written already"
    assert len(disk.rounds) >= 5
    assert held(rig, "n99") == lives(rig, "n99")


def test_what_all_have_perceived_is_written_together(crowd: MakeCrowd, disk: Disk) -> None:
    rig = crowd(3 * TOGETHER)
    disk.rounds.clear()
    rig.event("A gong.")
    disk.go.clear()
    rig.steps(10)  # a few hear of it in each
    rig.now += 1
    rig.steps(20)
    disk.go.set()
    rig.rest()
    assert len(disk.rounds) <= 5  # the first one has few
    assert sum(map(len, disk.rounds)) == 3 * TOGETHER


def cost_of_saving_one(disk: Disk, rig: Rig) -> Counter[str]:
    disk.calls.clear()
    assert isinstance(rig.save("s", ["n0"]), m.Saved)
    return Counter(disk.calls)


def test_saving_one_costs_the_same_however_many_there_are(crowd: MakeCrowd, disk: Disk) -> None:
    few, many = crowd(4), crowd(60)
    for _ in range(2):  # the first one makes a backup, the second removes one
        costs = [cost_of_saving_one(disk, rig) for rig in (few, many)]
        assert costs[0] == costs[1], "it grows with those who are not saved"
    for name in ("n0", "n59"):
        assert held(many, name) == lives(many, name)


def test_a_backup_stays_as_it_is_while_the_journal_that_it_shares_grows(
    crowd: MakeCrowd, disk: Disk, tmp_path: Path
) -> None:
    rig = crowd(3)
    rig.save("s", ["n0"])
    journal, backup = (tmp_path / "0" / slot / "n1.journal" for slot in ("s", "s.bak"))
    assert journal.samefile(backup)
    was = backup.read_bytes()
    for _ in range(2):
        rig.talk("n1", "News.")
        rig.rest()
        assert held(rig, "n1") == lives(rig, "n1")
    assert backup.read_bytes() == was
    assert len(journal.read_bytes()) > len(was)


def test_a_clean_end_loses_nothing(crowd: MakeCrowd, disk: Disk, tmp_path: Path) -> None:
    rig = crowd(4 * TOGETHER)
    disk.rounds.clear()
    rig.event("A gong.")
    for name in ("n7", "n99"):
        rig.talk(name, "Did you hear that?")
    was = {name: lives(rig, name) for name in rig.engine.stage.characters}
    rig.close()
    assert set(disk.rounds[0][:2]) <= {"n7", "n99"}, "the turns first"
    fresh = Rig(tmp_path / "0", fake=TimedLlama(mind=scripted("Yes.")))
    fresh.check_every = 10**9
    fresh.load("s")
    assert {name: lives(fresh, name).segments for name in was} == {
        name: life.segments for name, life in was.items()
    }
    fresh.close()


def test_a_close_has_longer_where_there_is_more_to_write(
    crowd: MakeCrowd, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    for n in (4, 40):
        rig = crowd(n)
        rig.event("A gong.")
        rig.step()
        close = rig.engine._files.close

        def spy(timeout: float, close: Callable[[float], bool] = close) -> bool:
            waits.append(timeout)
            return close(WAIT_S)

        monkeypatch.setattr(rig.engine._files, "close", spy)
        rig.close()
    assert waits[1] > waits[0]


def test_who_has_nothing_new_is_never_looked_at(
    crowd: MakeCrowd, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = crowd(50)
    looked: list[str] = []

    def freeze(character: Any, now: float) -> dict[str, Any]:
        looked.append(character.dialogue.name)
        return state_of(character, now)

    monkeypatch.setattr(journaling, "state_of", freeze)
    rig.talk("n3", "News.")
    rig.ask(m.Ping(id=rig.id()))
    rig.rest()
    assert set(looked) == {"n3"}
