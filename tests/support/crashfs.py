"""The calls of `os` that change a folder of saves: watched, made to fail, and stopped anywhere.

Owns the wrappers and a log of what they did, which a SIGKILL leaves whole: it is how `crashdisk`
knows what an fsync has covered. Calls outside the folder are as ever. fsync waits for nothing: what
it covers is in the log.
"""

import errno
import os
import random
import shutil
import signal
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

REAL = {
    name: getattr(os, name)
    for name in (
        "open",
        "write",
        "fsync",
        "ftruncate",
        "rename",
        "replace",
        "mkdir",
        "link",
        "unlink",
        "rmdir",
    )
}
_LENGTH = struct.Struct("<I")


class Record(NamedTuple):
    t: float  # time.monotonic()
    what: str
    args: list[Any]


class Log:
    """What happened, one record after the other; any thread may add one."""

    def __init__(self, path: Path) -> None:
        self._fd: int = REAL["open"](path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def put(self, what: str, *args: Any) -> None:
        data = msgspec.msgpack.encode((time.monotonic(), what, args))
        REAL["write"](self._fd, _LENGTH.pack(len(data)) + data)


def read_log(path: Path) -> Iterator[Record]:
    data = path.read_bytes()
    at = 0
    while at + _LENGTH.size <= len(data):
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            return  # killed amid a record
        yield msgspec.msgpack.decode(data[at + _LENGTH.size : end], type=Record)
        at = end


class Trap:
    """When to die, and when to fail. `is_bad`: whether the disk fails just now.

    `kill_at`: the process kills itself before that call, or amid it if it writes; `armed` says from
    when on calls count.
    """

    def __init__(self, dice: random.Random, log: Log, kill_at: int | None = None) -> None:
        self.is_bad = False
        self.armed = True
        self.n_failed = 0
        self._dice = dice
        self._log = log
        self._left = kill_at

    def before(self, call: str) -> bool:
        """Count a call; raise what it fails with. Returns whether to die amid it."""
        if self._left is not None and self.armed:
            self._left -= 1
            if self._left <= 0:
                if call == "write" and self._dice.random() < 0.7:
                    return True
                self.die()
        odds = {"write": 0.15, "fsync": 0.15, "unlink": 0.02}.get(call, 0.06)
        if self.is_bad and self._dice.random() < odds:
            self.n_failed += 1
            code = self._dice.choice((errno.ENOSPC, errno.EIO)) if call != "fsync" else errno.EIO
            raise OSError(code, os.strerror(code))
        return False

    def n_written(self, n: int) -> int:
        """How many of n bytes a write is to take."""
        is_short = self.is_bad and n > 1 and self._dice.random() < 0.25
        self.n_failed += is_short
        return self._dice.randrange(1, n) if is_short else n

    def die(self) -> None:
        self._log.put("kill")
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # never: the signal is here


class CrashFs:
    """The wrapped calls, for one folder. `install(setattr)` puts them in the place of os's."""

    def __init__(self, root: Path, log: Log, trap: Trap) -> None:
        self._root = str(root)
        self._log = log
        self._trap = trap
        self._paths: dict[int, str] = {}  # of what was opened in the folder
        self._lock = threading.RLock()

    def install(self, put: Callable[[Any, str, Any], None]) -> None:
        for name in REAL:
            put(os, name, getattr(self, name))
        put(shutil, "copyfile", self.copyfile)

    def _inside(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Return a path below the folder ("" is the folder itself), None for one elsewhere."""
        if dir_fd is not None:
            return f"{self._paths[dir_fd]}/{path}" if dir_fd in self._paths else None
        text = os.path.normpath(os.fspath(path)) if not isinstance(path, int) else ""
        if text == self._root:
            return ""
        return text[len(self._root) + 1 :] if text.startswith(self._root + os.sep) else None

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        inside = self._inside(path, dir_fd)
        makes = bool(flags & os.O_CREAT) and not os.path.lexists(path)
        with self._lock:
            if inside is not None and makes:
                self._trap.before("open")
            fd: int = REAL["open"](path, flags, mode, dir_fd=dir_fd)
            self._paths.pop(fd, None)
            if inside is not None:
                self._paths[fd] = inside
                if makes:
                    self._log.put("create", inside, os.fstat(fd).st_ino)
        return fd

    def write(self, fd: int, data: Any) -> int:
        if fd not in self._paths:
            return int(REAL["write"](fd, data))
        with self._lock:
            dies = self._trap.before("write")
            part = bytes(data)
            part = part[: len(part) // 2 if dies else self._trap.n_written(len(part))]
            at = os.lseek(fd, 0, os.SEEK_CUR)
            n: int = REAL["write"](fd, part)
            self._log.put("write", os.fstat(fd).st_ino, at, part[:n])
            if dies:
                self._trap.die()
        return n

    def fsync(self, fd: int) -> None:
        if fd not in self._paths:
            return
        info = os.fstat(fd)
        with self._lock:
            try:
                self._trap.before("fsync")
            except OSError:
                if not stat.S_ISDIR(info.st_mode):
                    self._log.put("badsync", info.st_ino)
                raise
            if stat.S_ISDIR(info.st_mode):
                self._log.put("syncdir", self._paths[fd])
            else:
                self._log.put("sync", info.st_ino)

    def ftruncate(self, fd: int, n: int) -> None:
        with self._lock:
            self._trap.before("ftruncate")
            REAL["ftruncate"](fd, n)
            self._log.put("truncate", os.fstat(fd).st_ino, n)

    def rename(self, path: Any, to: Any) -> None:
        self._named("rename", path, lambda: REAL["rename"](path, to), self._inside(to))

    def replace(self, path: Any, to: Any) -> None:
        self._named("replace", path, lambda: REAL["replace"](path, to), self._inside(to))

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        self._named("mkdir", path, lambda: REAL["mkdir"](path, mode))

    def link(self, path: Any, to: Any, *, follow_symlinks: bool = True) -> None:
        ino = Path(path).stat().st_ino
        self._named("link", to, lambda: REAL["link"](path, to), ino)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._named("unlink", path, lambda: REAL["unlink"](path, dir_fd=dir_fd), dir_fd=dir_fd)

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._named("unlink", path, lambda: REAL["rmdir"](path, dir_fd=dir_fd), dir_fd=dir_fd)

    def _named(
        self, call: str, path: Any, do: Callable[[], None], *args: Any, dir_fd: int | None = None
    ) -> None:
        inside = self._inside(path, dir_fd)
        if inside is None:
            do()
            return
        with self._lock:
            self._trap.before(call)
            do()
            self._log.put(call, inside, *args)

    def copyfile(self, path: Any, to: Any, *, follow_symlinks: bool = True) -> None:
        """As shutil's, by calls that are watched."""
        fd = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            rest = memoryview(Path(path).read_bytes())
            while rest:
                rest = rest[os.write(fd, rest) :]
        finally:
            os.close(fd)
