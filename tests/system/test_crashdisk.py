"""The disk of the power-cut harness: what it may lose, and what it may not."""

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from npc_engine.storage.disk import _copy, link_or_copy_all, sync_files, sync_folder, write_file
from tests.support.crashdisk import Disk
from tests.support.crashfs import CrashFs, Log, Trap, read_log
from tests.support.paths import ROOT
from tests.support.slot_files import append_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="F_FULLFSYNC and Windows aside")

Cuts = Callable[[Callable[[Path], None]], set[tuple[tuple[str, bytes], ...]]]


def tree(folder: Path) -> tuple[tuple[str, bytes], ...]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return tuple(sorted((str(path.relative_to(folder)), path.read_bytes()) for path in files))


@pytest.fixture
def cuts(tmp_path: Path) -> Cuts:
    """Do something in a folder that holds `old`; return all that 200 power cuts leave of it."""

    def cut_often(work: Callable[[Path], None]) -> set[tuple[tuple[str, bytes], ...]]:
        root, target, log = tmp_path / "root", tmp_path / "target", tmp_path / "log"
        root.mkdir()
        (root / "old").write_bytes(b"old")
        disk = Disk(root, random.Random(1))
        with pytest.MonkeyPatch.context() as patch:
            watched = Log(log)
            CrashFs(root, watched, Trap(random.Random(1), watched)).install(patch.setattr)
            work(root)
        for record in read_log(log):
            disk.play(record.what, record.args)
        found = set()
        for _ in range(200):
            target.mkdir()
            disk.cut(target)
            found.add(tree(target))
            shutil.rmtree(target)
        assert tree(root) in found, "what the cache has is not among it"
        return found

    return cut_often


def test_what_is_synced_stays(cuts: Cuts) -> None:
    def work(root: Path) -> None:
        write_file(root / "a", b"1" * 2000)
        append_file(root / "a", 2000, b"2" * 10)
        link_or_copy_all([(root / "a", root / "b")])
        sync_files([_copy(root / "a", root / "c")])
        (root / "old").rename(root / "new")
        sync_folder(root)

    a = b"1" * 2000 + b"2" * 10
    assert cuts(work) == {(("a", a), ("b", a), ("c", a), ("new", b"old"))}


def test_a_name_without_its_folder_s_sync_may_be_lost(cuts: Cuts) -> None:
    def work(root: Path) -> None:
        write_file(root / "a", b"a")
        (root / "old").unlink()

    assert cuts(work) == {
        (("old", b"old"),),
        (("a", b"a"), ("old", b"old")),
        (("a", b"a"),),
        (),  # not in order
    }


def test_bytes_without_a_sync_may_be_lost_in_part(cuts: Cuts) -> None:
    def work(root: Path) -> None:
        fd = os.open(root / "old", os.O_WRONLY)
        os.lseek(fd, 3, os.SEEK_SET)
        os.write(fd, b"x" * 900)
        os.close(fd)

    left = {dict(files)["old"] for files in cuts(work)}
    assert all(data.startswith(b"old") for data in left)
    assert {b"old", b"old" + b"x" * 900} < left
    assert any(0 < data.count(b"x") < 900 for data in left)


def test_what_a_sync_has_failed_on_may_be_lost_after_the_next(
    cuts: Cuts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(root: Path) -> None:
        fd = os.open(root / "old", os.O_WRONLY)
        os.write(fd, b"new")
        fails = [OSError(errno.EIO, "bad")]
        with monkeypatch.context() as patch:
            patch.setattr(Trap, "before", lambda self, call: (_ for _ in ()).throw(fails[0]))
            with pytest.raises(OSError, match="bad"):
                os.fsync(fd)
        os.fsync(fd)
        os.close(fd)

    def twice(root: Path) -> None:
        for _ in range(20):
            work(root)

    assert (("old", b"new"),) in cuts(twice)


def test_renames_are_lost_with_those_that_they_need(cuts: Cuts) -> None:
    def work(root: Path) -> None:
        (root / "tmp").mkdir()
        write_file(root / "tmp" / "f", b"f")
        sync_folder(root / "tmp")
        (root / "old").rename(root / "older")
        (root / "tmp").rename(root / "old")

    for files in cuts(work):
        names = dict(files)
        assert b"old" in names.values()
        assert "old" in names or "old/f" in names or "older" in names


def test_it_dies_amid_a_write(tmp_path: Path) -> None:
    code = """
import random, sys
from pathlib import Path
from npc_engine.storage.disk import write_file
from tests.support.crashfs import CrashFs, Log, Trap
root, log, n = Path(sys.argv[1]), Log(Path(sys.argv[2])), int(sys.argv[3])
CrashFs(root, log, Trap(random.Random(1), log, kill_at=n)).install(setattr)
write_file(root / "a", b"12345678")
"""
    root = tmp_path / "root"
    left = []
    for n in (1, 2, 3, 4):
        root.mkdir()
        log = tmp_path / f"log{n}"
        command = [sys.executable, "-c", code, str(root), str(log), str(n)]
        status = subprocess.run(command, cwd=ROOT, timeout=60).returncode
        left.append((status, dict(tree(root)).get("a"), [r.what for r in read_log(log)][-1]))
        shutil.rmtree(root)
    assert left == [
        (-9, None, "kill"),
        (-9, b"1234", "kill"),
        (-9, b"12345678", "kill"),
        (0, b"12345678", "sync"),
    ]
