"""Faults that come once, and what must still be true behind them: of names, threads and crowds."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.errors import SnapshotError
from npc_engine.saving import saving
from npc_engine.saving.copying import Copying
from npc_engine.saving.journal import journaling
from npc_engine.storage import disk as durable
from npc_engine.storage import slot_swap, store
from npc_engine.storage.disk import TOGETHER, link_or_copy_all, sync_all, write_file
from npc_engine.storage.journal import appending
from npc_engine.storage.journal.appending import Append, append_files
from npc_engine.storage.journal.files import Journals
from npc_engine.storage.store import Store
from npc_engine.storage.writer import WriterThread
from tests.support.journaled import held, journaled, lives, on_disk, size
from tests.support.rig import MakeRig

WAIT_S = 20.0
KEY = bytes(32)


@pytest.fixture
def make_rig(no_fsync: None, make_rig: MakeRig) -> MakeRig:
    return make_rig


class Folders:
    """Notes which folders are synced. `n_bad`: how many of the next ones fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self.synced: list[Path] = []
        self.n_bad = 0
        for module in modules:
            monkeypatch.setattr(module, "sync_folder", self._sync)

    def _sync(self, folder: Path) -> None:
        if self.n_bad:
            self.n_bad -= 1
            raise OSError(errno.EIO, "bad disk")
        self.synced.append(folder)


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_name_that_is_not_safe_yet_is_synced_by_the_next_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    path, unnamed = tmp_path / "f", set[Path]()
    write_file(path, b"old")
    if is_shared:
        os.link(path, tmp_path / "backup")
    else:
        path.unlink()
    at = 3 if is_shared else 0
    folders = Folders(monkeypatch, appending)
    folders.n_bad = 1
    assert append_files([Append(path, at, b"1")], unnamed) != [None]
    assert append_files([Append(path, at, b"2")], unnamed) == [None]
    assert folders.synced == [tmp_path]
    assert append_files([Append(path, at + 1, b"3")], unnamed) == [None]
    assert folders.synced == [tmp_path], "one is enough"
    assert path.read_bytes()[at:] == b"23"


def test_each_folder_that_is_made_has_its_name_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = Folders(monkeypatch, store, slot_swap)
    saves = Store(tmp_path / "game" / "saves", KEY)
    folders.n_bad = 1
    for _ in range(2):  # the first one fails when the folders are there already
        try:
            saves.write("s", {"a": b"x"}, merge=False)
        except SnapshotError as e:
            assert "bad disk" in str(e)
    saves.close()
    assert {tmp_path, tmp_path / "game", tmp_path / "game" / "saves"} <= set(folders.synced)


def test_files_are_synced_where_no_thread_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    assert sync_all(range(1000, 1010)) == [None] * 10
    assert synced == list(range(1000, 1010))


def test_a_job_that_breaks_does_not_end_the_thread() -> None:
    thread, done = WriterThread(), threading.Event()
    thread.run(lambda: [][0])
    thread.run(done.set)
    assert done.wait(WAIT_S)
    assert thread.close(WAIT_S)


def test_a_round_that_breaks_is_written_later(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> Any:
        raise RuntimeError("a fault of ours")

    rig = journaled(make_rig(), "abc")
    with monkeypatch.context() as patch:
        patch.setattr(Journals, "append", fail)
        rig.talk("a", "News.")
        on_disk(rig)
    assert rig.engine._saving._journaling.rounds.n_under_way == 0
    assert "a fault of ours" in rig.engine._saving.stats()["journal_error"]
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


def test_no_memory_for_one_journal_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_file = durable.new_file

    def short(path: Path, parts: Any) -> int:
        if path.name == ".f.new":
            raise MemoryError
        return new_file(path, parts)

    write_file(tmp_path / "f", b"old")
    os.link(tmp_path / "f", tmp_path / "backup")
    monkeypatch.setattr(appending, "new_file", short)
    appends = [Append(tmp_path / "f", 3, b"x"), Append(tmp_path / "g", 0, b"x")]
    errors = append_files(appends, set())
    assert errors[0] is not None and errors[0].errno == errno.ENOMEM
    assert errors[1] is None and (tmp_path / "g").read_bytes() == b"x"
    assert (tmp_path / "f").read_bytes() == b"old"


def test_a_disk_that_does_not_count_names_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "a", b"abc")
    lstat = Path.lstat

    def counts_none(path: Path) -> os.stat_result:
        info = list(lstat(path))
        info[3] = 1
        return os.stat_result(info)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", counts_none)
        link_or_copy_all([(tmp_path / "a", tmp_path / "b")])
    (tmp_path / "a").write_bytes(b"abcdef")
    assert (tmp_path / "b").read_bytes() == b"abc"


def test_copies_go_to_the_disk_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    pairs = [(tmp_path / f"a{i}", tmp_path / f"b{i}") for i in range(TOGETHER + 5)]
    for i, (source, _) in enumerate(pairs):
        source.write_bytes(bytes([i]))
    groups: list[int] = []
    sync_files = durable.sync_files

    def counted(fds: list[int]) -> None:
        groups.append(len(fds))
        sync_files(fds)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(durable, "sync_files", counted)
    link_or_copy_all(pairs)
    assert groups == [TOGETHER, 5]
    assert [target.read_bytes() for _, target in pairs] == [bytes([i]) for i in range(len(pairs))]


def test_a_crowd_whose_journals_become_long_at_one_time_is_one_save(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"n{i}" for i in range(40)]
    rig = make_rig(save_kv="no")
    rig.check_every = 10**9
    for name in names:
        rig.spawn(name)
    rig.save("s", mode="journal")
    monkeypatch.setattr(journaling, "FOLD_BYTES", 150)
    written: list[int] = []
    write = Store.write

    def counted(self: Store, slot: str, files: Any, **keys: Any) -> int:
        written.append(len(files))
        return write(self, slot, files, **keys)

    monkeypatch.setattr(Store, "write", counted)
    rig.event("The bell tolls.")
    rig.rest()
    assert sum(written) == len(names)
    assert len(written) <= 3
    assert all(size(rig, name) == 0 for name in names)
    assert all(held(rig, name) == lives(rig, name) for name in names)


def test_a_journal_that_a_load_finds_too_long_is_not_folded_into_another_life(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(save_kv="no")
    rig.spawn("a")
    rig.talk("a", "Another life.")
    rig.save("other")
    rig.ask(m.Despawn(id="d", npc="a"))
    journaled(rig, "a")
    rig.talk("a", "Ours.")
    rig.rest()
    rig.now += 1
    rig.event("A bell.", ["a"])
    was = lives(rig, "a")
    monkeypatch.setattr(journaling, "FOLD_BYTES", 1)
    with monkeypatch.context() as patch:  # as where somebody speaks: copies are far between
        patch.setattr(Copying, "step", lambda *_: [])
        rig.load("other")  # writes the last of her first
    rig.rest()
    assert "Another life." in rig.heard("a")
    assert held(rig, "a") == was


def test_what_the_disk_has_not_taken_comes_out_of_a_load_all_the_same(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Journals, changes: Any) -> Any:
        return [durable.explain(OSError(errno.ENOSPC, "no room"), "a journal") for _ in changes]

    rig = journaled(make_rig(), "ab")
    monkeypatch.setattr(Journals, "append", full)
    rig.talk("a", "News.")
    on_disk(rig)
    loaded = rig.load("s", ["a"])
    assert "News." in rig.heard("a")
    assert "not on the disk" in loaded.npcs[0].notice


def test_a_turn_that_ends_does_not_wait_until_its_journal_is_folded(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig(), "ab")
    monkeypatch.setattr(journaling, "FOLD_BYTES", 1)
    with monkeypatch.context() as patch:  # as where somebody speaks: copies are far between
        patch.setattr(Copying, "step", lambda *_: [])
        rig.talk("a", "News.")
        on_disk(rig)
        assert rig.engine._saving._copying
        rig.talk("a", "More of it.")
        on_disk(rig)
        assert held(rig, "a") == lives(rig, "a")
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


def test_a_fold_is_of_some_and_not_of_everybody(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig(), "abcde")
    monkeypatch.setattr(saving, "FOLDED", 2)
    monkeypatch.setattr(journaling, "FOLD_BYTES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Copying, "step", lambda *_: [])
        rig.event("The bell tolls.")
        rig.step()
        rig.now += 1
        on_disk(rig)
        assert [len(job.names) for job in rig.engine._saving._copying.jobs] == [2, 2, 1]
    rig.rest()
    assert all(size(rig, name) == 0 and held(rig, name) == lives(rig, name) for name in "abcde")
