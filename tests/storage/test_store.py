"""A slot is the old save or the new one, whole, whatever fails and whenever."""

import errno
import itertools
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from npc_engine.errors import SnapshotError, UnknownSlot
from npc_engine.storage import slot_swap
from npc_engine.storage import store as store_module
from npc_engine.storage.backups import backup_name
from npc_engine.storage.delta import diff
from npc_engine.storage.disk import sync_folder
from npc_engine.storage.journal.records import MAX_BYTES, begin, image_of, record
from npc_engine.storage.locks import LOCK_FILE
from npc_engine.storage.snapshot import Snapshot, encode
from npc_engine.storage.store import Store
from tests.support.slot_files import KEY, make

OLD = {"mara": "old mara", "Bob": "old bob"}
NEW = {"mara": "new mara"}
MERGED = {"mara": "new mara", "Bob": "old bob"}
posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes of POSIX")


def files(texts: dict[str, str]) -> dict[str, Any]:
    return {npc: make(npc, text) for npc, text in texts.items()}


def texts(store: Store, slot: str = "tavern") -> dict[str, str]:
    """What a slot holds; every character in it must be whole."""
    found = {}
    for npc, snapshot in store.read(slot).items():
        assert isinstance(snapshot, Snapshot), snapshot
        assert snapshot.trusted
        found[npc] = snapshot.state["text"]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A saves folder with one slot."""
    Store(tmp_path / "saves", KEY).write("tavern", files(OLD), merge=False)
    return tmp_path / "saves"


def tree(root: Path) -> list[str]:
    """What is there but for locks, which stay."""
    found = (path for path in root.rglob("*") if path.name != LOCK_FILE)
    return sorted(str(path.relative_to(root)) for path in found)


def test_write_and_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "b", KEY)
    assert store.slots() == []
    n_bytes = store.write("tavern", files(OLD), merge=False)
    assert n_bytes == sum(map(len, files(OLD).values()))
    assert store.slots() == ["tavern"]
    assert store.npcs("tavern") == ["Bob", "mara"]
    assert texts(store) == OLD
    assert tree(store.root) == ["tavern", "tavern/+bob.npc", "tavern/mara.npc"]


def test_a_part_of_a_slot(root: Path) -> None:
    found = Store(root, KEY).read("tavern", ["mara", "nobody"])
    assert set(found) == {"mara", "nobody"}
    assert isinstance(found["mara"], Snapshot)
    assert isinstance(found["nobody"], SnapshotError)
    assert "Bob, mara" in found["nobody"].help
    assert Store(root, KEY).read("tavern", []) == {}


@pytest.mark.parametrize(("merge", "want"), [(False, NEW), (True, MERGED)])
def test_a_slot_is_replaced(root: Path, merge: bool, want: dict[str, str]) -> None:
    store = Store(root, KEY)
    store.write("tavern", files(NEW), merge=merge)
    assert texts(store) == want
    assert [name for name in tree(root) if name.startswith(".")] == []


def test_merge_into_nothing_and_merge_twice(root: Path) -> None:
    store = Store(root, KEY)
    store.write("cellar", files(NEW), merge=True)
    store.write("cellar", files({"Bob": "b"}), merge=True)
    store.write("cellar", files({"Bob": "c"}), merge=True)
    assert texts(store, "cellar") == {"mara": "new mara", "Bob": "c"}
    assert texts(store) == OLD


def test_merge_keeps_what_it_does_not_know(root: Path) -> None:
    (root / "tavern" / "notes.txt").write_bytes(b"later")
    Store(root, KEY).write("tavern", files(NEW), merge=True)
    assert (root / "tavern" / "notes.txt").read_bytes() == b"later"


def test_files_may_be_made_while_writing(root: Path) -> None:
    store = Store(root, KEY)
    store.write("tavern", {"mara": lambda: make("mara", "late")}, merge=True)
    assert texts(store) == {**OLD, "mara": "late"}

    def fail() -> bytes:
        raise SnapshotError("cannot be packed")

    with pytest.raises(SnapshotError, match="cannot be packed"):
        store.write("tavern", {"Bob": make("Bob"), "mara": fail}, merge=False)
    assert texts(store) == {**OLD, "mara": "late"}
    assert texts(store, "tavern.bak") == OLD
    assert len(tree(root)) == 6


def test_names_that_differ_by_case_and_names_of_devices(tmp_path: Path) -> None:
    npcs = ["bob", "Bob", "BOB", "CON", "con", "aux.npc", "a.npc", "a", "a.", "com1.", "x" * 64]
    store = Store(tmp_path, KEY)
    store.write("CON", files({npc: npc for npc in npcs}), merge=False)
    store.write("con", files({"bob": "small"}), merge=False)
    store.write("con.", files({"bob": "dot"}), merge=False)
    assert store.slots() == sorted(["CON", "con", "con."])
    assert texts(store, "CON") == {npc: npc for npc in npcs}
    assert texts(store, "con.") == {"bob": "dot"}
    on_disk = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert len({name.casefold() for name in on_disk}) == len(on_disk)


def test_an_unknown_slot_names_those_there_are(root: Path) -> None:
    store = Store(root, KEY)
    for ask in (store.read, store.npcs):
        with pytest.raises(UnknownSlot, match="'cave'") as raised:
            ask("cave")
        assert "tavern" in raised.value.help
    with pytest.raises(UnknownSlot, match="none yet"):
        Store(root / "nothing", KEY).read("cave")


@pytest.mark.parametrize("slot", ["..", ".", "", "a/b", "/etc", "a\\b", "tavern\0", "m\u0430ra"])
def test_a_slot_cannot_leave_the_folder(root: Path, slot: str) -> None:
    store, before = Store(root, KEY), tree(root.parent)
    with pytest.raises(SnapshotError):
        store.write(slot, files(NEW), merge=False)
    with pytest.raises(SnapshotError):
        store.read(slot)
    with pytest.raises(SnapshotError):
        store.write("tavern", {slot: b""}, merge=False)
    assert tree(root.parent) == before


def test_one_damaged_character_leaves_the_others(root: Path) -> None:
    (root / "tavern" / "mara.npc").write_bytes(make("mara")[:40])
    (root / "tavern" / "eve.npc").write_bytes(make("adam"))
    (root / "tavern" / "Copy of mara.npc").write_bytes(b"ignored: no name of ours")
    (root / "tavern" / "folder.npc").mkdir()
    found = Store(root, KEY).read("tavern")
    assert set(found) == {"Bob", "mara", "eve", "folder"}
    assert isinstance(found["Bob"], Snapshot)
    for npc, reason in (("mara", "cut short"), ("eve", "'adam'"), ("folder", "folder.npc")):
        error = found[npc]
        assert isinstance(error, SnapshotError)
        assert reason in error.message and f"tavern/{npc}.npc" in error.message
        assert error.help


def test_a_save_of_another_installation_comes_without_its_payload(root: Path) -> None:
    found = Store(root, bytes(32)).read("tavern")["mara"]
    assert isinstance(found, Snapshot)
    assert (found.state, found.payload, found.trusted) == ({"text": "old mara"}, None, False)


@posix
def test_only_the_player_can_read_a_save(tmp_path: Path) -> None:
    store = Store(tmp_path / "saves", KEY)
    store.write("tavern", files(NEW), merge=False)
    store.write("tavern", files({"Bob": "b"}), merge=True)
    for path in [store.root, *store.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@posix
def test_links_are_refused(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(root / "tavern", outside)
    (root / "linked").symlink_to(outside)
    (root / "tavern" / "eve.npc").symlink_to(outside / "mara.npc")
    (root / "tavern" / "pipe.txt").symlink_to(outside / "mara.npc")
    os.mkfifo(root / "tavern" / "pipe.npc")
    store, before = Store(root, KEY), tree(outside)
    assert store.slots() == ["tavern"]
    found = store.read("tavern")
    assert set(found) == {"Bob", "mara", "pipe"}
    assert isinstance(found["pipe"], SnapshotError)
    for use in (lambda: store.read("linked"), lambda: store.write("linked", {}, merge=True)):
        with pytest.raises(SnapshotError, match="link"):
            use()
    store.write("tavern", files(NEW), merge=True)
    assert texts(store) == MERGED
    assert tree(root / "tavern") == ["+bob.npc", "mara.npc"]
    assert tree(outside) == before


def test_a_file_where_a_folder_should_be(root: Path) -> None:
    (root / "cave").write_bytes(b"")
    with pytest.raises(SnapshotError, match="not a folder"):
        Store(root, KEY).write("cave", files(NEW), merge=False)
    blocked = Store(root / "cave", KEY)
    with pytest.raises(SnapshotError, match="not saved"):
        blocked.write("a", files(NEW), merge=False)
    with pytest.raises(SnapshotError, match="listed"):
        blocked.slots()


CALLS = ["open", "mkdir", "write", "fsync", "rename", "link", "unlink", "rmdir"]
CALLS += ["scandir", "listdir", "stat", "lstat"]


@posix
def test_all_is_on_the_disk_before_the_first_rename(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, their folder and its name, the renames, the folder above, in this order."""
    steps: list[Any] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        steps.append(os.fstat(fd).st_ino)
        real_fsync(fd)

    def rename(source: Any, target: Any) -> None:
        steps.append(Path(target).name)
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    Store(root, KEY).write("tavern", files(OLD), merge=False)
    written = [root / "tavern" / name for name in ("mara.npc", "+bob.npc")]
    inodes = [path.stat().st_ino for path in (*written, root / "tavern", root)]
    backup = [".tavern.old", "tavern", inodes[3], "tavern.bak", inodes[3]]
    assert steps == [*inodes, *backup]


class Crash(BaseException):
    """The machine stops: no `except OSError` helps."""


@contextmanager
def fault(first: int, n_faults: int, error: BaseException) -> Iterator[list[str]]:
    """Let the OS calls from the `first` on fail, `n_faults` of them; yields those that failed."""
    failed: list[str] = []
    n_calls = 0

    def wrap(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal n_calls
            n_calls += 1
            if first <= n_calls - 1 < first + n_faults:
                failed.append(name)
                raise error
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrap(name, getattr(os, name)))
        yield failed


def each_call(
    root: Path, n_faults: int, error: BaseException, merge: bool, keep: int = 1
) -> Iterator[tuple[list[str], Store, BaseException | None]]:
    """Save over OLD once for each OS call of a save, that call failing; yield what came of it."""
    pristine = root.with_name("pristine")
    shutil.copytree(root, pristine)
    for first in range(200):
        shutil.rmtree(root)
        shutil.copytree(pristine, root)
        store, raised = Store(root, KEY, keep), None
        with fault(first, n_faults, error) as failed:
            try:
                store.write("tavern", files(NEW), merge=merge)
            except (SnapshotError, Crash) as e:
                raised = e
        store.close()  # as the end of a process does
        yield failed, store, raised
        if not failed:
            assert first > 20 and raised is None
            return
    raise AssertionError("a save does not end")


@posix
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_one_failing_call_leaves_the_old_save(root: Path, code: int, merge: bool) -> None:
    after = MERGED if merge else NEW
    seen = set()
    for failed, store, raised in each_call(root, 1, OSError(code, os.strerror(code)), merge):
        assert (root / "tavern").is_dir(), failed
        assert texts(store) == (OLD if raised else after), failed
        if raised:
            assert isinstance(raised, SnapshotError)
            assert os.strerror(code) in raised.message and raised.help
            seen.update(failed)
        Store(root, KEY)
        assert [name for name in tree(root) if name.startswith(".")] == [], failed
    assert {"open", "mkdir", "write", "fsync", "rename", "stat"} <= seen


@posix
@pytest.mark.parametrize("merge", [False, True])
def test_a_disk_that_fails_for_good_leaves_a_whole_save(root: Path, merge: bool) -> None:
    """From one call on nothing works, so that nothing can be undone either."""
    after = MERGED if merge else NEW
    error = OSError(errno.EIO, "Input/output error")
    for failed, store, raised in each_call(root, 10_000, error, merge):
        found = texts(store)
        assert found in ((OLD, after) if raised else (after,)), failed
        assert texts(Store(root, KEY)) == found
        assert [name for name in tree(root) if name.startswith(".")] == [], failed


@posix
@pytest.mark.parametrize("merge", [False, True])
def test_a_crash_at_any_call_leaves_a_whole_save(root: Path, merge: bool) -> None:
    after = MERGED if merge else NEW
    outcomes = []
    for failed, _, raised in each_call(root, 10_000, Crash(), merge):
        assert isinstance(raised, Crash) or not failed
        again = Store(root, KEY)
        outcomes.append(texts(again))
        assert outcomes[-1] in (OLD, after), failed
        assert [name for name in tree(root) if name.startswith(".")] == [], failed
        again.write("tavern", files(OLD), merge=merge)
        assert texts(again) == OLD
    assert OLD in outcomes and after in outcomes


def test_a_crash_between_the_renames_is_repaired(root: Path) -> None:
    (root / "tavern").rename(root / ".tavern.old")
    (root / ".tavern.tmp-0123456789abcdef").mkdir()
    (root / ".tavern.tmp-0123456789abcdef" / "mara.npc").write_bytes(b"half")
    store = Store(root, KEY)
    assert texts(store) == OLD
    assert tree(root) == ["tavern", "tavern/+bob.npc", "tavern/mara.npc"]


def test_a_read_repairs_too(root: Path) -> None:
    store = Store(root, KEY)
    (root / "tavern").rename(root / ".tavern.old")
    assert texts(store) == OLD


def test_a_write_repairs_first(root: Path) -> None:
    store = Store(root, KEY)
    (root / "tavern").rename(root / ".tavern.old")
    store.write("tavern", files(NEW), merge=True)
    assert texts(store) == MERGED


def test_recovery_touches_nothing_else(root: Path) -> None:
    keep = [".git", ".x.old.bak", ".NotOurs.old", "notes", ".tavern.tmp"]
    for name in keep:
        (root / name).mkdir()
        (root / name / "file").write_bytes(b"")
    (root / ".file.old").write_bytes(b"")
    before = tree(root)
    Store(root, KEY)
    assert tree(root) == before


def test_an_old_save_beside_its_slot_becomes_a_backup(root: Path) -> None:
    shutil.copytree(root / "tavern", root / ".tavern.old")
    store = Store(root, KEY, keep=0)
    assert len(tree(root)) == 3
    store = Store(root, KEY)
    shutil.copytree(root / "tavern", root / ".tavern.old")
    store.write("tavern", files(NEW), merge=False)
    assert (texts(store), texts(store, "tavern.bak")) == (NEW, OLD)
    shutil.copytree(root / "tavern", root / ".tavern.old")
    store.close()
    assert texts(Store(root, KEY), "tavern.bak") == NEW
    assert len(tree(root)) == 4


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_folder_without_permission(root: Path) -> None:
    root.chmod(0o500)
    try:
        with pytest.raises(SnapshotError, match="Permission"):
            Store(root, KEY).write("cave", files(NEW), merge=False)
        assert texts(Store(root, KEY)) == OLD
    finally:
        root.chmod(0o700)


# Backups


def history(root: Path, slot: str = "tavern") -> list[str]:
    """What Mara's saves say, the newest first; every slot must be whole."""
    store = Store(root, KEY)
    names = [slot, *(backup_name(slot, n) or "" for n in range(1, 10))]
    return [texts(store, name)["mara"] for name in names if name in store.slots()]


def save(root: Path, text: str, keep: int, merge: bool = False) -> None:
    Store(root, KEY, keep).write("tavern", files({"mara": text}), merge=merge)


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
def test_saves_before_are_kept(root: Path, keep: int) -> None:
    for text in "abcd":
        save(root, text, keep)
    assert history(root) == ["d", "c", "b", "a"][: keep + 1]
    store = Store(root, KEY)
    assert store.slots() == ["tavern", "tavern.bak", "tavern.bak2", "tavern.bak3"][: keep + 1]


def test_a_backup_is_loaded_by_its_name_and_never_saved_into(root: Path) -> None:
    save(root, "new", 1)
    store = Store(root, KEY)
    assert texts(store, "tavern.bak") == OLD
    assert store.npcs("tavern.bak") == ["Bob", "mara"]
    before = tree(root)
    for name in ("tavern.bak", "x.bak", "x.bak2", "x.bak1", "x.bak007", "x.bak.bak"):
        with pytest.raises(SnapshotError, match="name for a backup"):
            store.write(name, files(NEW), merge=True)
    assert tree(root) == before
    for name in ("bak", "x.BAK", "x.back", "x.bak2a"):
        store.write(name, files(NEW), merge=False)
        assert texts(store, name) == NEW


def test_fewer_backups_than_before(root: Path) -> None:
    for text in "abcd":
        save(root, text, 9)
    assert history(root) == ["d", "c", "b", "a", "old mara"]
    save(root, "e", 2)
    assert history(root) == ["e", "d", "c"]
    save(root, "f", 0)
    assert history(root) == ["f"]


def test_a_gap_is_filled_before_anything_is_lost(root: Path) -> None:
    for text in "abc":
        save(root, text, 3)
    shutil.rmtree(root / "tavern.bak2")
    save(root, "d", 3)
    assert history(root) == ["d", "c", "b", "old mara"]


def test_names_of_backups_of_any_slot(tmp_path: Path) -> None:
    for slot in ("CON", "con", "v1.", "x" * 60):
        for text in "abc":
            Store(tmp_path, KEY, 2).write(slot, files({"mara": text}), merge=False)
        assert history(tmp_path, slot) == (["c", "b"] if len(slot) == 60 else ["c", "b", "a"])
    for text in "ab":
        Store(tmp_path, KEY).write("y" * 64, files({"mara": text}), merge=False)
    assert history(tmp_path, "y" * 64) == ["b"]  # its backup would have no name


def test_a_backup_does_not_change_with_the_journal_of_the_slot(root: Path) -> None:
    journal = root / "tavern" / "+bob.journal"
    journal.write_bytes(b"begin")
    save(root, "new", 1, merge=True)
    assert Store(root, KEY).append("tavern", [("Bob", 5, b" and more")]) == [None]
    assert journal.read_bytes() == b"begin and more"
    assert (root / "tavern.bak" / "+bob.journal").read_bytes() == b"begin"
    kept = [(root / slot / "+bob.npc").stat().st_ino for slot in ("tavern", "tavern.bak")]
    assert os.name == "nt" or kept[0] == kept[1]


@posix
def test_what_is_in_the_way_of_a_backup(root: Path) -> None:
    (root / "tavern.bak").write_bytes(b"")
    with pytest.raises(SnapshotError, match=r"'tavern.bak' is a link or a file"):
        save(root, "new", 1)
    assert history(root) == ["old mara"]
    save(root, "new", 0)
    assert history(root) == ["new"]


@pytest.mark.slow
@posix
@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O"), Crash()])
def test_no_two_saves_are_lost(
    root: Path, keep: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever call fails, for once or for good: at most the oldest is gone, for the new one."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    for text in "ab":
        save(root, text, 2)
    before = ["b", "a", "old mara"]
    after = ["new mara", *before][: keep + 1]
    for n_faults in (1, 10_000):
        shutil.rmtree(root.with_name("pristine"), ignore_errors=True)
        for failed, _, raised in each_call(root, n_faults, error, merge=False, keep=keep):
            Store(root, KEY, keep)
            saved = history(root)[0] == "new mara"
            assert saved or raised, failed
            assert history(root) in ([after] if saved else [before, before[: keep + 1]]), failed
            assert [name for name in tree(root) if name.startswith(".")] == [], failed
            save(root, "next", keep)
            n_kept = len(after) if saved else keep + 1
            assert history(root) == ["next", *(after if saved else before)][:n_kept], failed
        shutil.rmtree(root)
        shutil.copytree(root.with_name("pristine"), root)


# One writer


def test_a_second_writer_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LOCK_WAIT_S", 0.0)
    first, second = Store(root, KEY), Store(root, KEY)
    first.write("a", files(NEW), merge=False)
    with pytest.raises(SnapshotError, match="Another program writes") as raised:
        second.write("a", files(OLD), merge=False)
    assert "--saves" in raised.value.help
    assert texts(second, "a") == NEW
    first.close()
    second.write("a", files(OLD), merge=False)
    assert texts(first, "a") == OLD


def test_a_writer_waits_for_one_who_closes(root: Path) -> None:
    first, second = Store(root, KEY), Store(root, KEY)
    first.hold()
    closing = threading.Timer(0.05, first.close)
    closing.start()
    second.write("a", files(NEW), merge=False)
    closing.join(20)
    assert texts(second, "a") == NEW


def test_whoever_only_reads_holds_nothing_up(root: Path) -> None:
    readers = [Store(root, KEY) for _ in range(2)]
    assert [texts(reader) for reader in readers] == [OLD, OLD]
    assert not (root / "x").exists()
    Store(root, KEY).write("a", files(NEW), merge=False)


def test_a_start_leaves_alone_what_another_is_writing(root: Path) -> None:
    first = Store(root, KEY)
    first.write("a", files(NEW), merge=False)
    (root / ".tavern.tmp-0123456789abcdef").mkdir()
    (root / "tavern").rename(root / ".tavern.old")
    other = Store(root, KEY)
    assert (root / ".tavern.old").exists() and (root / ".tavern.tmp-0123456789abcdef").exists()
    assert texts(other) == OLD and "tavern" in other.slots()
    first.close()
    assert texts(Store(root, KEY)) == OLD
    assert [name for name in tree(root) if name.startswith(".")] == []


@posix
def test_a_lock_that_is_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / LOCK_FILE).unlink(missing_ok=True)
    (root / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SnapshotError, match="not saved"):
        Store(root, KEY).write("a", files(NEW), merge=False)
    assert not (tmp_path / "elsewhere").exists()


# Journals


def journal_of(base: str, *states: dict[str, Any]) -> bytes:
    """A journal of Mara over states."""
    data, check = begin("mara", base)
    for old, new in itertools.pairwise(states):
        part, check = record(diff(image_of(old), image_of(new)), check)
        data += part
    return data


def told(text: str) -> dict[str, Any]:
    return {"text": text, "segments": []}


def append(store: Store, at: int, data: bytes, slot: str = "tavern") -> None:
    (error,) = store.append(slot, [("mara", at, data)])
    if error is not None:
        raise error


def test_a_journal_is_read_with_its_snapshot(root: Path) -> None:
    store = Store(root, KEY)
    made = encode({"npc": "mara", "snapshot": "5a"}, told("old"), b"kv", KEY)
    store.write("tavern", {"mara": made}, merge=True)
    data = journal_of("5a", told("old"), told("new"), told("newer"))
    append(store, 0, data[:-9])
    assert texts(store) == {"mara": "new", "Bob": "old bob"}
    append(store, len(data) - 9, data[-9:])
    assert texts(store) == {"mara": "newer", "Bob": "old bob"}
    assert (root / "tavern" / "mara.journal").read_bytes() == data
    store.write("tavern", files({"Bob": "new bob"}), merge=True)
    assert texts(store) == {"mara": "newer", "Bob": "new bob"}
    store.write("tavern", files(NEW), merge=True)
    assert texts(store) == {"mara": "new mara", "Bob": "new bob"}
    assert not (root / "tavern" / "mara.journal").exists()


def test_a_journal_that_cannot_be_read_costs_only_itself(root: Path) -> None:
    path = root / "tavern" / "mara.journal"
    for make_bad in (
        lambda: path.write_bytes(b"nothing of ours"),
        lambda: path.write_bytes(bytes(MAX_BYTES + 1)),
        lambda: path.mkdir(),
    ):
        make_bad()
        found = Store(root, KEY).read("tavern")["mara"]
        assert isinstance(found, Snapshot)
        assert found.state == {"text": "old mara"}
        assert "journal" in str(found.journal)
        path.unlink() if path.is_file() else path.rmdir()


@posix
def test_a_journal_that_is_a_link_is_left_alone(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    (root / "tavern" / "mara.journal").symlink_to(elsewhere)
    store = Store(root, KEY)
    found = store.read("tavern")["mara"]
    assert isinstance(found, Snapshot)
    assert "link" in str(found.journal)
    with pytest.raises(OSError, match=r"."):
        append(store, 0, b"x")
    assert elsewhere.read_bytes() == b"precious"


@pytest.mark.parametrize(("slot", "at"), [("nowhere", 0), ("tavern", 1), ("tavern", 6)])
def test_nothing_is_appended_to_what_is_not_there(root: Path, slot: str, at: int) -> None:
    store = Store(root, KEY)
    if at == 6:
        append(store, 0, b"12345")
    before = tree(root)
    with pytest.raises(FileNotFoundError):
        append(store, at, b"x", slot)
    assert tree(root) == before
    assert texts(store) == OLD


def test_a_slot_is_copied_and_the_copy_stays_as_it_is(root: Path) -> None:
    store = Store(root, KEY)
    append(store, 0, b"12345")
    store.copy("tavern", "before")
    store.copy("nowhere", "before")
    append(store, 5, b"678")
    store.write("tavern", files(NEW), merge=True)
    assert texts(store, "before") == OLD
    assert (root / "before" / "mara.journal").read_bytes() == b"12345"
    store.copy("tavern", "before")
    assert texts(store, "before") == MERGED
    assert [name for name in tree(root) if name.startswith(".")] == []


def test_a_swap_is_undone_on_the_disk_before_its_files_go(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut may leave the new folder, emptied, under the slot's name."""
    n_good = n_failures = 0

    def sync(folder: Path) -> None:
        nonlocal n_good, n_failures
        n_good -= folder == root
        if folder == root and n_good < 0 and n_failures:
            n_failures -= 1
            raise OSError(errno.EIO, "I/O error")
        sync_folder(folder)

    for module in (store_module, slot_swap):
        monkeypatch.setattr(module, "sync_folder", sync)
    for n_failures, kept in ((1, []), (2, ["mara.npc"])):  # the undoing is on the disk, or is not
        n_good = 1  # the new folder's name; then the swap
        with pytest.raises(SnapshotError, match="I/O error"):
            Store(root, KEY).write("tavern", files(NEW), merge=False)
        assert n_failures == 0
        assert [p.name for p in root.glob(".tavern.tmp-*/*")] == kept
        assert texts(Store(root, KEY)) == OLD
        assert not list(root.glob(".tavern.tmp-*"))  # the next start has removed it


def test_nothing_is_appended_to_a_slot_that_a_power_cut_may_replace(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap that was undone, though not on the disk: the failed save may be the slot again."""
    store = Store(root, KEY)
    n_good = 1  # the new folder's name; not the swap, nor what undoes it

    def sync(folder: Path) -> None:
        nonlocal n_good
        n_good -= folder == root
        if n_good < 0:
            raise OSError(errno.EIO, "I/O error")
        sync_folder(folder)

    for module in (store_module, slot_swap):
        monkeypatch.setattr(module, "sync_folder", sync)
    with pytest.raises(SnapshotError, match="I/O error"):
        store.write("tavern", files(NEW), merge=True)
    journal = root / "tavern" / "mara.journal"
    assert isinstance(store.append("tavern", [("mara", 0, b"1")])[0], OSError)
    assert not journal.exists()
    n_good = 9
    assert store.append("tavern", [("mara", 0, b"1")]) == [None]
    assert journal.read_bytes() == b"1"
