"""A private temporary folder that lives as long as its engine.

Owns where it stands, the lock that says that its engine runs, and removing what a crash left. It
knows nothing of what the files hold.

    /var/tmp/npc-engine-parked-k3x9/     mode 0700
        lock                             held while the engine runs: the system lets go of it at
        1, 2, ...                        the engine's end, however that comes

Rules
 1. A folder is another engine's as long as its lock is held. Only what has no holder is removed.
 2. The lock is the last file to be removed, by whoever holds it: a folder with files has a lock.
 3. Links are not followed, and nothing of another user is touched.
"""

import logging
import os
import shutil
import stat
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from npc_engine.storage.locks import lock

__all__ = ["ScratchFolder", "remove_leftovers"]

log = logging.getLogger("npc_engine")

PREFIX = "npc-engine-parked-"
LOCK = "lock"
TRIES = 8  # folders that another engine may take for leftovers before they are locked
RESERVE_BYTES = 1 << 30  # left free on the player's disk

_BINARY = getattr(os, "O_BINARY", 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


def root() -> Path:
    """Return where large temporary files go: /tmp is memory on many systems, /var/tmp is not."""
    chosen = tempfile.tempdir or any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    large = Path("/var/tmp")  # noqa: S108 - the folder in it is private
    if not chosen and os.access(large, os.W_OK):
        return large
    return Path(tempfile.gettempdir())


class ScratchFolder:
    """The folder of this engine, made at once. Raises OSError where there is no room for it."""

    def __init__(self, under: Path | None = None) -> None:
        for _ in range(TRIES):
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=under or root()))
            held = _locked(self.folder / LOCK, os.O_CREAT | os.O_EXCL)
            if held is not None:
                break
            _remove(self.folder, None)
        else:
            raise OSError(f"{self.folder} cannot be locked")
        self._n_files = 0
        # Also where nobody closes it: Python calls this at its end.
        self._end = weakref.finalize(self, _remove_own, self.folder, held, os.getpid())

    def new_file(self) -> Path:
        """Return a path in it that nobody has used."""
        self._n_files += 1
        return self.folder / str(self._n_files)

    def has_room(self, n_bytes: int) -> bool:
        """Whether the disk takes so much more, and keeps a reserve for the player."""
        return shutil.disk_usage(self.folder).free >= n_bytes + RESERVE_BYTES

    def close(self) -> None:
        """Remove the folder with all that is in it. May be called again."""
        self._end()


def remove_leftovers(under: Path | None = None) -> int:
    """Remove the folders of engines that have crashed; return how many there were."""
    n = 0
    with suppress(OSError):
        for folder in list((under or root()).glob(PREFIX + "*")):
            with suppress(OSError):
                n += _remove_if_dead(folder)
    if n:
        log.info("removed the parked characters of %d engines that have crashed", n)
    return n


def _remove_if_dead(folder: Path) -> bool:
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or (hasattr(os, "getuid") and info.st_uid != os.getuid()):
        return False
    with suppress(OSError):  # not empty
        folder.rmdir()  # just made, before it was locked: its engine makes another
        return False
    held = _locked(folder / LOCK)
    if held is None and os.path.lexists(folder / LOCK):
        return False
    _remove(folder, held)  # without a lock only what was removed in part (rule 2)
    return True


def _remove_own(folder: Path, held: int, pid: int) -> None:
    if pid == os.getpid():  # not in a process that was forked off this one
        _remove(folder, held)


def _remove(folder: Path, held: int | None) -> None:
    """Remove a folder that has no other holder: the lock last (rule 2)."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name != LOCK:
                path.unlink(missing_ok=True)  # its character may have come back meanwhile
    if held is not None and os.name == "nt":  # no open file can be removed there
        os.close(held)
    with suppress(OSError):
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
    if held is not None and os.name != "nt":
        os.close(held)


def _locked(path: Path, flags: int = 0) -> int | None:
    """Open a lock file and lock it; None when another holds it, or it is there no more."""
    try:
        fd = os.open(path, os.O_RDWR | _BINARY | _NO_LINKS | flags, 0o600)
    except OSError:
        return None
    try:
        lock(fd)
        # Whoever held it before may have removed it between the two.
        if os.path.samestat(os.fstat(fd), path.lstat()):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None
