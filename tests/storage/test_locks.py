"""One writer in a folder, whatever becomes of it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from npc_engine.errors import SnapshotError
from npc_engine.storage import locks
from npc_engine.storage.locks import LOCK_FILE, FolderLock
from tests.support.paths import ROOT

HOLDER = """
import sys
from pathlib import Path
from npc_engine.storage.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    first.acquire()
    with pytest.raises(SnapshotError, match=f"Another program .* {tmp_path.name!r}"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    with pytest.raises(SnapshotError):
        first.acquire()


def test_whoever_is_dropped_lets_go(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    del lock
    FolderLock(tmp_path).acquire()


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    root = ROOT
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            with pytest.raises(SnapshotError):
                FolderLock(tmp_path).acquire()
        finally:
            other.kill()
        other.wait(20)
    FolderLock(tmp_path).acquire()


def test_where_the_disk_has_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "lock", fail)
    both = (FolderLock(tmp_path), FolderLock(tmp_path))
    for lock in both:
        lock.acquire()
    monkeypatch.setattr(os, "open", None)
    for lock in both:
        lock.acquire()  # it is held: there is nothing to be opened


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_what_is_no_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "x")
    with pytest.raises(OSError):
        FolderLock(tmp_path).acquire()
    assert not (tmp_path / "x").exists()
    with pytest.raises(FileNotFoundError):
        FolderLock(tmp_path / "none").acquire()
