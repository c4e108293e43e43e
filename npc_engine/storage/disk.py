"""Bytes on a disk, such that a power cut cannot halve them; and names that are safe on any system.

Owns fsync, renames, modes, links and what Windows forbids. It knows no slots and no snapshots.
"""

import errno
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from npc_engine.errors import SnapshotError

__all__ = [
    "NAME",
    "TOGETHER",
    "escape",
    "explain",
    "is_folder",
    "link_or_copy_all",
    "new_file",
    "open_to_grow",
    "read_file",
    "rename",
    "sync_all",
    "sync_files",
    "sync_folder",
    "unescape",
    "write_all",
    "write_file",
]

TOGETHER = 32
"""Files that are written before one wait for the disk: all are open meanwhile."""

_SIDE_BY_SIDE = 16  # threads that wait; one after the other, 256 files took 30 times as long
_FEW = 2  # are not worth a thread

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
"""What a slot or a character may be called; `+` is free for the escapes below."""

# Windows opens a device for these names, whatever follows the dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|\Z)")
_DEVICE_MARK = "+_"
_LAST_DOT = "+0"  # Windows drops a dot at the end
_MOUNT_POINT = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT: a Windows junction is a link, too

# A virus scanner may hold a fresh file for a moment; Windows then refuses to rename its folder.
_PAUSES = (0.05, 0.1, 0.2, 0.4) if os.name == "nt" else ()  # seconds

_BINARY = getattr(os, "O_BINARY", 0)
_NO_TRAPS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # links, pipes
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)  # some network file systems

_HELP = {
    errno.ENOSPC: "The disk is full: free some space and try again.",
    errno.EDQUOT: "The disk quota is used up: free some space and try again.",
    errno.EROFS: "The disk is read-only: choose another folder with --saves.",
    errno.EACCES: "Check the permissions of the saves folder.",
    errno.EPERM: "Check the permissions of the saves folder.",
}


def escape(name: str) -> str:
    """Return a file name for `name`: no two names share one, even where case does not count.

    A capital becomes + and its small letter. Raises SnapshotError for what is no name.
    """
    if not NAME.fullmatch(name):
        raise SnapshotError(
            f"{name!r:.100} is no name for a save or a character.",
            "Use 1 to 64 of the letters A-Z a-z, digits and _ - . (no dot first).",
        )
    text = re.sub("[A-Z]", lambda capital: "+" + capital[0].lower(), name)
    if _DEVICE.match(text):
        text = _DEVICE_MARK + text
    return text[:-1] + _LAST_DOT if text.endswith(".") else text


def unescape(text: str) -> str | None:
    """Return the name whose `escape` is `text`, or None where there is none."""
    name = text.removeprefix(_DEVICE_MARK)
    if name.endswith(_LAST_DOT):
        name = name.removesuffix(_LAST_DOT) + "."
    name = re.sub(r"\+([a-z])", lambda capital: capital[1].upper(), name)
    return name if NAME.fullmatch(name) and escape(name) == text else None


def explain(error: OSError, what: str) -> SnapshotError:
    """Return the SnapshotError for what the system said about `what`."""
    reason = error.strerror or str(error) or type(error).__name__
    help_else = "Check the disk and the saves folder."
    return SnapshotError(f"{what}: {reason}.", _HELP.get(error.errno or 0, help_else))


def is_folder(path: Path) -> bool:
    """Say whether `path` is a folder and no link; raises OSError but where nothing is there."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(info.st_mode) and getattr(info, "st_reparse_tag", 0) != _MOUNT_POINT


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes; raises OSError, or SnapshotError for a link, a pipe or a huge file."""
    if path.is_symlink():  # where the system has no O_NOFOLLOW
        raise SnapshotError(f"{path.name!r} is a link.", "Put the file itself there.")
    with os.fdopen(os.open(path, os.O_RDONLY | _BINARY | _NO_TRAPS), "rb") as f:
        info = os.fstat(f.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise SnapshotError(f"{path.name!r} is no file.", "Put a file there.")
        if info.st_size > max_bytes:
            raise SnapshotError(
                f"{path.name!r} has {info.st_size} bytes.", f"At most {max_bytes} are read."
            )
        return f.read(info.st_size)


def write_file(path: Path, *parts: bytes | memoryview) -> None:
    """Write a new file of mode 0600 and wait until it is on the disk; raises OSError."""
    sync_files([new_file(path, parts)])


def new_file(path: Path, parts: Iterable[bytes | memoryview]) -> int:
    """Write a new file of mode 0600; return it, open, for `sync_files`. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    try:
        write_all(fd, parts)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sync_files(fds: Collection[int]) -> None:
    """Wait until open files are on the disk, and close them; raises OSError."""
    try:
        for error in sync_all(fds):
            if error is not None:
                raise error
    finally:
        for fd in fds:
            os.close(fd)


def _copy(source: Path, target: Path) -> int:
    """Make `target` a copy of a file, of mode 0600; return it, open, for `sync_files`."""
    shutil.copyfile(source, target, follow_symlinks=False)
    target.chmod(0o600)
    return os.open(target, os.O_RDWR | _BINARY)


def link_or_copy_all(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Make each target a second name of its source, or a copy where the disk has no hard links.

    Copies go to the disk together.
    """
    unlinked = [pair for pair in pairs if not _link(*pair)]
    for first in range(0, len(unlinked), TOGETHER):
        fds: list[int] = []
        try:
            for pair in unlinked[first : first + TOGETHER]:
                fds.append(_copy(*pair))  # noqa: PERF401 - those before one that fails are closed
        finally:
            sync_files(fds)


def _link(source: Path, target: Path) -> bool:
    """Say whether `target` is a second name of a file now, and the disk knows that it has two."""
    try:
        target.hardlink_to(source)
    except OSError:
        return False
    if target.lstat().st_nlink > 1:
        return True
    target.unlink()  # it would grow under both names: sshfs, for one, counts none
    return False


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder to a name that is free; raises OSError."""
    for pause in _PAUSES:
        try:
            source.rename(target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    source.rename(target)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can; raises OSError."""
    if os.name == "nt":  # NTFS journals names by itself, and no folder can be opened
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(fd)


def open_to_grow(path: Path, make: bool) -> int:
    """Open a file to read and write, and no link or pipe; raises OSError."""
    return os.open(path, os.O_RDWR | (os.O_CREAT if make else 0) | _BINARY | _NO_TRAPS, 0o600)


def write_all(fd: int, parts: Iterable[bytes | memoryview]) -> None:
    """Write all of it; raises OSError."""
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(fd, rest) :]


def sync_all(fds: Collection[int]) -> list[OSError | None]:
    """Wait until open files are on the disk; say what each has failed with.

    Side by side: a file system commits together what is asked for at one time.
    """
    if len(fds) <= _FEW:
        return [_try_to_sync(fd) for fd in fds]
    try:
        with ThreadPoolExecutor(min(len(fds), _SIDE_BY_SIDE), "npc-engine-sync") as threads:
            return list(threads.map(_try_to_sync, fds))
    except RuntimeError:  # no thread can be started: too many, or the interpreter ends
        return [_try_to_sync(fd) for fd in fds]


def _try_to_sync(fd: int) -> OSError | None:
    try:
        _sync(fd)
    except OSError as e:
        return e
    return None


def _sync(fd: int) -> None:
    if sys.platform == "darwin":  # there fsync leaves the bytes in the disk's own cache
        import fcntl

        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        except OSError:  # a file system that cannot
            os.fsync(fd)
    else:
        os.fsync(fd)
