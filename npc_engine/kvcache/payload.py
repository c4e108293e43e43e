"""The bytes of a slot that have left the KV cache, in memory or in a file.

Owns the bytes, and the checksum of those that went to a file: they go into C code, and a file can
be damaged or changed. It knows no budget (that is `parking`) and nothing of what the bytes mean.

A file lives as long as its Payload: it is removed when nobody needs it any more, a save that is
being written included.
"""

import hashlib
import logging
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from npc_engine.storage.disk import write_all

__all__ = ["Payload"]

log = logging.getLogger("npc_engine")

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Payload:
    """A slot as bytes: `parts` are its cells, and the recurrent states that are kept beside them.

    Its owner calls `release` when it needs it no longer. `write` may run on another thread.
    """

    def __init__(self, *parts: bytes) -> None:
        self.error: OSError | None = None  # why it could not be written
        self.is_released = False
        self.on_release: Callable[[Payload], None] | None = None
        self.sizes = tuple(map(len, parts))
        self._parts: tuple[bytes, ...] | None = parts
        self._file: Path | None = None
        self._digest = b""

    @property
    def size(self) -> int:
        """Bytes that it has, wherever they are."""
        return sum(self.sizes)

    @property
    def n_bytes(self) -> int:
        """Bytes that it takes of the memory."""
        return self.size if self._parts is not None else 0

    @property
    def n_disk_bytes(self) -> int:
        """Bytes that it takes of the disk, and of no memory."""
        return self.size if self._parts is None and self._file is not None else 0

    def read(self) -> tuple[bytes, ...] | None:
        """Return its parts; None when they are lost, for good. Raises nothing for a bad disk."""
        parts, path = self._parts, self._file  # in this order: see `write`
        if parts is not None or path is None:
            return parts
        try:
            data = path.read_bytes()
            if len(data) == self.size and hashlib.sha256(data).digest() == self._digest:
                return _split(data, self.sizes)
            why = f"{path} is not what was written"
        except (OSError, MemoryError) as error:
            why = str(error) or type(error).__name__
        self.lose()
        log.warning("A parked character is lost, and read again when it is needed: %s.", why)
        return None

    def write(self, path: Path) -> None:
        """Move it into a new file of mode 0600. Raises OSError; it then stays in memory."""
        parts = self._parts
        if parts is None:
            return
        digest = hashlib.sha256()
        fd = os.open(path, _FLAGS, 0o600)
        # From here on the file goes when this object does, also when writing fails.
        end = weakref.finalize(self, _unlink, path, os.getpid())
        try:
            for part in parts:
                digest.update(part)
                write_all(fd, [part])
        except BaseException:
            os.close(fd)
            end()
            raise
        os.close(fd)
        self._digest = digest.digest()
        self._file = path
        self._parts = None  # last: whoever finds no parts must find the file

    def lose(self) -> None:
        """Let go of the bytes: whoever reads it finds that they are lost."""
        self._parts = self._file = None

    def release(self) -> None:
        """Note that its owner needs it no longer."""
        self.is_released = True
        if self.on_release is not None:
            self.on_release(self)


def _unlink(path: Path, pid: int) -> None:
    if pid == os.getpid():  # not in a process that was forked off this one
        with suppress(OSError):
            path.unlink()


def _split(data: bytes, sizes: tuple[int, ...]) -> tuple[bytes, ...]:
    if len(sizes) == 1:
        return (data,)
    parts, at = [], 0
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    return tuple(parts)
