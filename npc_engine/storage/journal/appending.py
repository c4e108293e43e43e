"""Files that grow, many at a time, each as safe on the disk as if it were the only one.

Owns what an append leaves when it fails, and that no other name of the file notices it. It knows no
journal and no slot.
"""

import contextlib
import errno
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from npc_engine.storage.disk import new_file, open_to_grow, sync_all, sync_folder, write_all

__all__ = ["Append", "append_files"]


class Append(NamedTuple):
    """Data that is to stand behind the first `at` bytes of a file; with 0 the file is made."""

    path: Path
    at: int
    data: bytes


def append_files(appends: Collection[Append], unnamed: set[Path]) -> list[OSError | None]:
    """Append, wait until all is on the disk, names as well, and say what each has failed with.

    `unnamed`: folders whose newest names may not be there, of an earlier call; kept up to date.

    What stood behind the first `at` bytes is no more. A file that has a further name, as a backup's
    has, is copied first: what stands under that name stays. One that has failed is as it was, up to
    `at`; where it has fewer bytes, that is FileNotFoundError.
    """
    growths = [_Growth(append) for append in appends]
    begun = [growth for growth in growths if growth.begin()]
    for growth, error in zip(begun, sync_all([g.fd for g in begun]), strict=True):
        growth.end(error)
    done = [growth for growth in begun if growth.error is None]
    unnamed |= {growth.path.parent for growth in done if growth.is_named_anew}
    for folder in unnamed & {growth.path.parent for growth in done}:
        try:
            sync_folder(folder)
            unnamed.discard(folder)
        except OSError as e:
            for growth in done:
                growth.error = e if growth.path.parent == folder else growth.error
    return [growth.error for growth in growths]


class _Growth:
    """One `Append` under way, in the open file `fd`. `error`: what it has failed with."""

    def __init__(self, append: Append) -> None:
        self.path, self._at, self._data = append
        self.error: OSError | None = None
        self.fd = -1
        self._copy: Path | None = None

    @property
    def is_named_anew(self) -> bool:
        """Whether its name has to be on the disk, too."""
        return self._copy is not None or not self._at

    def begin(self) -> bool:
        """Write, and say whether that went well; if not, it has ended."""
        try:
            self.fd = open_to_grow(self.path, make=not self._at)
            info = os.fstat(self.fd)
            if info.st_size < self._at:
                raise FileNotFoundError(errno.ENOENT, f"{self.path.name} is shorter than it was")
            if info.st_nlink > 1:
                self._write_copy()
            else:
                os.ftruncate(self.fd, self._at)
                os.lseek(self.fd, self._at, os.SEEK_SET)
                write_all(self.fd, [self._data])
        except OSError as e:
            self.end(e)
        except MemoryError:
            self.end(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
        return self.error is None

    def _write_copy(self) -> None:
        with os.fdopen(self.fd, "rb") as shared:
            self.fd = -1
            head = shared.read(self._at)
        self._copy = self.path.with_name(f".{self.path.name}.new")
        self._copy.unlink(missing_ok=True)  # a crash may have left one
        self.fd = new_file(self._copy, [head, self._data])

    def end(self, error: OSError | None) -> None:
        """Let it count; after an error, undo it."""
        self.error = error
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                if error is not None and self._copy is None and self._is_longer:
                    os.ftruncate(self.fd, self._at)
            os.close(self.fd)
        if self._copy is None:
            return
        try:
            if error is None:
                self._copy.replace(self.path)
                return
        except OSError as e:
            self.error = e
        with contextlib.suppress(OSError):
            self._copy.unlink()

    @property
    def _is_longer(self) -> bool:
        return os.fstat(self.fd).st_size > self._at
