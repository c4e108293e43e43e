"""Saves, journals, autosave, backups and the commands: what one does while another is at work."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.cli.commands import main
from npc_engine.errors import SnapshotError
from npc_engine.saving.autosave import AUTOSAVE, GATHER_S
from npc_engine.saving.journal import journaling
from npc_engine.saving.serialization import state_of
from npc_engine.storage.locks import FolderLock
from npc_engine.storage.store import Store
from tests.support.fake_llama import END, babble
from tests.support.journaled import (
    FullDisk,
    card_of,
    held,
    journaled,
    lives,
    on_disk,
    size,
    stats,
    written,
)
from tests.support.rig import GAME, MakeRig, Rig, TimedLlama

pytestmark = pytest.mark.usefixtures("no_fsync")


class SlowCopies(TimedLlama):
    """A step takes 40 ms, and so does copying a slot out: a save beside a line has pauses."""

    seconds = 0.04

    def export(self, slot: int) -> bytes:
        self.rig.now += self.seconds
        return super().export(slot)


def endless(tokens: Sequence[int]) -> int:
    token = babble(tokens)
    return ord("e") if token == END else token


def amid_a_save(make_rig: MakeRig, mode: Any) -> tuple[Rig, str]:
    """`a` is copied, and `b` and `c` are still to come, since `c` speaks."""
    fake = SlowCopies(mind=endless, n_slots=4)
    rig = journaled(make_rig(fake=fake, max_tokens=300, window=900, save_kv="yes"), "abc")
    rig.rest()
    rig.say("c", "Tell me all.")
    rig.steps(3)
    save = rig.send(m.Save(id="paced", slot="s", mode=mode))
    while len(rig.engine._saving._copying._jobs[0].names) == 3:
        rig.step()
    return rig, save


# A save that takes its time


@pytest.mark.parametrize("mode", ["full", "journal"])
def test_what_happens_behind_its_copy_is_in_the_journal(make_rig: MakeRig, mode: str) -> None:
    rig, save = amid_a_save(make_rig, mode)
    rig.event("A bell.", ["a"])
    n_before = size(rig, "a")
    while size(rig, "a") == n_before:  # in the journal that the save will replace
        rig.step()
        rig.now += 0.1
    assert (GAME, save) in rig.open
    assert isinstance(rig.until(save), m.Saved)
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


def test_what_happens_behind_its_copy_is_in_it_when_the_engine_closes(make_rig: MakeRig) -> None:
    rig, _ = amid_a_save(make_rig, "journal")
    rig.event("A bell.", ["a"])
    n_before = size(rig, "a")
    while size(rig, "a") == n_before:
        rig.step()
        rig.now += 0.1
    rig.close()
    fresh = make_rig()
    fresh.load("s", ["a"])
    assert "A bell." in fresh.heard("a")


def test_a_save_that_fails_takes_no_journal_from_the_next_one(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    rig.spawn("a")
    real, n = Store.write, []

    def write(*args: Any, **keys: Any) -> int:
        n.append(1)
        if len(n) == 1:
            raise SnapshotError("Not now.")
        return real(*args, **keys)

    monkeypatch.setattr(Store, "write", write)
    saves = [rig.send(m.Save(id=i, slot="s", mode="journal")) for i in "12"]
    first, second = map(rig.until, saves)
    assert (first.code, type(second)) == ("bad_snapshot", m.Saved)
    rig.talk("a", "News.")
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")
    assert stats(rig)["n_journaled"] == 1


def test_a_save_that_fails_takes_nothing_from_the_journal(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig())
    rig.rest()
    rig.event("A bell.", ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", _fail)
        assert rig.save("s").code == "bad_snapshot"
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


def _fail(*_args: Any, **_keys: Any) -> int:
    raise SnapshotError("Not now.")


def test_a_journal_that_is_folded_leaves_the_backups_alone(
    make_rig: MakeRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaling, "FOLD_BYTES", 400)
    rig = make_rig()
    rig.spawn("a")
    rig.save("s")
    rig.talk("a", "Since the first save.")
    rig.save("s", mode="journal")
    was = held(rig, "a", "s.bak")
    files = set()
    for turn in range(5):
        rig.talk("a", f"Turn {turn}.")
        rig.rest()
        files.add((tmp_path / "s" / "a.npc").stat().st_mtime_ns)
        assert held(rig, "a") == lives(rig, "a")
    assert len(files) > 1
    assert held(rig, "a", "s.bak") == was
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "s", "s.bak"]


# Who leaves, and the end


def test_who_leaves_holds_up_nobody_else(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig(fake=TimedLlama(n_slots=4), autosave=60)
    for name in "abc":
        rig.spawn(name)
        rig.talk(name)
    rig.ask(m.Despawn(id="none", npc="nobody"))
    written(rig)
    assert not (tmp_path / AUTOSAVE).exists()
    rig.ask(m.Despawn(id="d", npc="a"))
    written(rig)
    assert [p.name for p in (tmp_path / AUTOSAVE).iterdir()] == ["a.npc"]
    rig.rest()
    assert len(list((tmp_path / AUTOSAVE).iterdir())) == 3


def test_who_is_being_saved_is_not_saved_again_at_the_end(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_: list[list[str]] = []
    real = Store.write

    def write(self: Store, slot: str, files: Any, **keys: Any) -> int:
        written_.append(sorted(files))
        return real(self, slot, files, **keys)

    monkeypatch.setattr(Store, "write", write)
    rig = make_rig(autosave=60)
    for name in "abc":
        rig.spawn(name)
    rig.now += GATHER_S
    while not rig.engine._saving._copying:
        rig.step()
    rig.spawn("d")
    rig.close()
    assert written_ == [["a", "b", "c"], ["d"]]


# Whoever reads


def test_a_load_does_not_wait_for_ever_where_everybody_changes(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig(), "abcd")
    rig.rest()
    jobs: deque[Callable[[], None]] = deque()  # a disk that does one in each step
    monkeypatch.setattr(rig.engine._files, "run", jobs.append)
    for turn in range(8):
        rig.event(f"Bell {turn}.")
        rig.now += 1
        rig.step()
    load = rig.send(m.Load(id="l", slot="s", npcs=["a"]))
    for turn in range(40):
        rig.event(f"Gong {turn}.", ["b", "c", "d"])
        rig.now += 1
        if jobs:
            jobs.popleft()()
        rig.step()
    is_answered = (GAME, load) not in rig.open
    monkeypatch.undo()
    for job in jobs:
        job()
    assert is_answered
    rig.rest()
    for name in "bcd":
        assert held(rig, name) == lives(rig, name)


def test_who_is_replaced_has_all_of_it_in_its_journal(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.save("other")
    rig.event("A bell.", ["a"])
    rig.step()
    last = lives(rig, "a")
    rig.load("other")
    rig.rest()
    assert "A bell." not in rig.heard("a")
    assert held(rig, "a") == last


# The commands


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    status = main([*argv])
    return status, capsys.readouterr().out


def test_the_commands_know_the_journal(
    make_rig: MakeRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = journaled(make_rig())
    rig.talk("a", "What came since.")
    written(rig)
    at = ("--saves", str(tmp_path))
    status, said = run(capsys, "inspect", "s", "--npc", "a", "--text", *at)
    assert (status, "What came since." in said) == (0, True)
    status, said = run(capsys, "inspect", "s", "--npc", "a", *at)
    assert "1 record, 1 turn since the save" in said
    status, said = run(capsys, "saves", "verify", "s", *at)
    assert (status, "1 record, 1 turn since the save" in said) == (0, True)
    archive = tmp_path / "s.npcsave"
    assert run(capsys, "saves", "export", "s", str(archive), *at)[0] == 0
    there = ("--saves", str(tmp_path / "there"))
    assert run(capsys, "saves", "import", str(archive), *there)[0] == 0
    fresh = Rig(tmp_path / "there")
    fresh.load("s")
    assert lives(fresh, "a") == lives(rig, "a")
    fresh.close()


# The lock


@pytest.mark.skipif(sys.platform == "win32", reason="nobody forks there")
def test_a_fork_does_not_keep_the_lock_nor_let_go_of_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    child = os.fork()
    if not child:  # it ends as a program does that drops all, and a second one lives on
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(SnapshotError):
        FolderLock(tmp_path).acquire()
    child = os.fork()
    if not child:
        signal.pause()
    try:
        lock.release()
        FolderLock(tmp_path).acquire()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


# A crowd


def test_what_all_of_a_crowd_perceive_is_frozen_a_few_at_a_time(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    names = [f"n{i}" for i in range(40)]
    for name in names:
        rig.spawn(name)
    rig.save("s", mode="journal")
    rig.rest()
    frozen: list[int] = []

    def freeze(character: Any, now: float) -> dict[str, Any]:
        frozen[-1] += 1
        return state_of(character, now)

    monkeypatch.setattr(journaling, "state_of", freeze)
    rig.event("The bell tolls.")
    rig.now += 1
    for _ in range(20):
        frozen.append(0)
        rig.step()
        rig.now += 0.1
    assert sum(frozen) == 40
    assert max(frozen) == journaling.MOST_AT_ONCE
    rig.rest()
    for name in names:
        assert held(rig, name) == lives(rig, name)


def test_who_leaves_behind_its_copy_is_not_put_back_by_the_save(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save takes the place of the journal that has the last of her."""
    rig = journaled(make_rig(), "abc")
    save = rig.send(m.Save(id=rig.id(), slot="s"))
    copying = rig.engine._saving._copying
    while not any("a" in job.who for job in copying.jobs):
        rig.step()
    with monkeypatch.context() as patch:  # as where somebody speaks: copies are far between
        patch.setattr(type(copying), "step", lambda *_: [])
        rig.talk("a", "News.")
        was = lives(rig, "a")
        rig.ask(m.Despawn(id=rig.id(), npc="a"))
        on_disk(rig)
        rig.step()
    restored = rig.send(m.Spawn(id=rig.id(), npc="a", card=card_of("a"), restore="s"))
    assert isinstance(rig.until(save), m.Saved)
    assert isinstance(rig.until(restored), m.Spawned)
    assert "News." in rig.heard("a")
    assert lives(rig, "a") == was


def test_who_leaves_behind_its_copy_is_written_though_the_save_fails(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig(), "abc")
    save = rig.send(m.Save(id=rig.id(), slot="s", mode="journal"))
    copying = rig.engine._saving._copying
    while not any("a" in job.who for job in copying.jobs):
        rig.step()
    disk = FullDisk(monkeypatch, 0)
    with monkeypatch.context() as patch:  # as where somebody speaks: copies are far between
        patch.setattr(type(copying), "step", lambda *_: [])
        rig.talk("a", "News.")
        was = lives(rig, "a")
        rig.ask(m.Despawn(id=rig.id(), npc="a"))
        on_disk(rig)
        rig.step()
    assert isinstance(rig.until(save), m.Error)
    disk.left = float("inf")
    rig.rest()
    assert held(rig, "a") == was
    assert (stats(rig)["journal_error"], rig.engine.patience()) == ("", None)


def test_a_full_save_before_one_that_fails_begins_no_journals(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    rig.spawn("a", card=card_of("a"))
    write, may_write = Store.write, threading.Event()
    outcomes = deque([write, None])

    def written_once(*args: Any, **keys: Any) -> int:
        assert may_write.wait(20)
        outcome = outcomes.popleft()
        if outcome is None:
            raise SnapshotError("The disk is full.")
        return outcome(*args, **keys)

    monkeypatch.setattr(Store, "write", written_once)
    full = rig.send(m.Save(id=rig.id(), slot="s"))
    journal = rig.send(m.Save(id=rig.id(), slot="s", mode="journal"))
    while len(rig.engine._saving._writing) < 2:
        rig.step()
    may_write.set()
    assert isinstance(rig.until(full), m.Saved)
    assert isinstance(rig.until(journal), m.Error)
    assert stats(rig)["n_journaled"] == 0


def test_who_is_new_and_leaves_behind_its_copy_is_in_the_autosave_as_it_was(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(autosave=60)
    for name in "abc":
        rig.spawn(name, card=card_of(name))
    rig.now += GATHER_S
    copying = rig.engine._saving._copying
    while not any("a" in job.who for job in copying.jobs):
        rig.step()
    with monkeypatch.context() as patch:  # as where somebody speaks: copies are far between
        patch.setattr(type(copying), "step", lambda *_: [])
        rig.talk("a", "News.")
        was = lives(rig, "a")
        rig.ask(m.Despawn(id=rig.id(), npc="a"))
    rig.rest()
    rig.now += 60
    rig.talk("b", "Who was she?")  # the next round is of those who are there
    rig.rest()
    assert held(rig, "a", AUTOSAVE) == was
    assert stats(rig)["n_journaled"] == 2
