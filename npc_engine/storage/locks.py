"""One writer at a time in a folder: a lock that the system lets go of when its process ends.

Owns how a file is locked on this system, and the file `.lock`, which is empty and stays. It knows
nothing of what is in the folder. Readers need no lock. Where the file system has none (some network
disks), everybody may write, as ever.
"""

import contextlib
import errno
import os
import sys
import time
import weakref
from pathlib import Path

from npc_engine.errors import SnapshotError

__all__ = ["LOCK_FILE", "FolderLock", "lock"]

LOCK_FILE = ".lock"
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_PAUSE_S = 0.02
_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)


class FolderLock:
    """The right to write in `folder`. Whoever drops this object lets go of it, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._close: weakref.finalize[..., FolderLock] | None = None

    def acquire(self, wait_s: float = 0.0) -> None:
        """Take it, if it is not ours yet; of another who has it, wait `wait_s` that it lets go.

        Raises OSError, SnapshotError where it does not.
        """
        if self._close is not None:
            return
        fd = os.open(self._folder / LOCK_FILE, _FLAGS, 0o600)
        end = time.monotonic() + wait_s
        while not _try(fd):
            if time.monotonic() >= end:
                os.close(fd)
                raise SnapshotError(
                    f"Another program writes in the saves folder {self._folder.name!r}.",
                    "End that engine, or give this one a folder of its own: --saves DIR.",
                )
            time.sleep(_PAUSE_S)
        self._close = weakref.finalize(self, _let_go, fd, os.getpid())

    def release(self) -> None:
        """Let go of it, if it is ours."""
        if self._close is not None:
            self._close()
            self._close = None


def _let_go(fd: int, pid: int) -> None:
    try:
        if pid == os.getpid():  # not for a fork of it, which has the file open, too
            _unlock(fd)
    finally:
        os.close(fd)


def _try(fd: int) -> bool:
    try:
        lock(fd)
    except OSError as e:
        return e.errno not in _TAKEN  # one that knows no locks: nobody can be kept out
    return True


def lock(fd: int) -> None:
    """Lock an open file until it is closed. Raises OSError: another has it, or there are none."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unlock(fd: int) -> None:
    if sys.platform != "win32":  # there nobody forks, and closing is enough
        import fcntl

        with contextlib.suppress(OSError):  # one that knows no locks
            fcntl.flock(fd, fcntl.LOCK_UN)
