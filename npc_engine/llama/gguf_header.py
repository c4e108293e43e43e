"""The head of a GGUF file: its keys, and how many tensors follow. No weights are read.

Owns that part of the format (ggml/docs/gguf.md, versions 2 and 3). A head that is cut short, or no
such head at all, is None. It judges nothing.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Header", "read_header"]

MAGIC = b"GGUF"
MAX_KEYS = 1 << 16
MAX_ITEMS = 1 << 24  # of lists of texts, which have to be walked through: a vocabulary, its merges
MAX_TEXT = 1 << 16  # bytes of a text that is kept; a longer one is skipped

_UINT32, _UINT64 = struct.Struct("<I"), struct.Struct("<Q")
_TEXT, _LIST = 8, 9
# ggml/include/gguf.h: enum gguf_type
_KINDS = zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True)
_SCALARS = {kind: struct.Struct(f"<{letter}") for kind, letter in _KINDS}


@dataclass(frozen=True)
class Header:
    """`keys`: those with a number, a truth value or a text. `first_tensor`: "" for none."""

    keys: dict[str, Any]
    n_tensors: int
    first_tensor: str = ""

    def text(self, key: str) -> str:
        """Return a text, "" when there is none."""
        value = self.keys.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int | None:
        """Return a whole number, None when there is none."""
        value = self.keys.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_header(path: Path) -> Header | None:
    """Return a file's head; None when it has none that is whole. Raises OSError."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # a file system that cannot; an empty file
            return None
        with data:
            try:
                return _Reader(data).header()
            except (struct.error, ValueError, OverflowError):
                return None


class _Reader:
    """Walks from one value to the next. struct.error or ValueError where they end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0
        self._n_items = 0

    def header(self) -> Header:
        if self._bytes(4) != MAGIC or self._take(_UINT32) not in (2, 3):
            raise ValueError("no GGUF of a version that is known")
        n_tensors, n_keys = self._take(_UINT64), self._take(_UINT64)
        if n_keys > MAX_KEYS:
            raise ValueError(n_keys)
        keys = {}
        for _ in range(n_keys):
            name = self._text()
            value = self._value(self._take(_UINT32))
            if value is not None:
                keys[name] = value
        return Header(keys, n_tensors, self._text() if n_tensors else "")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            return self._skip_list()
        if kind not in _SCALARS:
            raise ValueError(kind)
        return self._take(_SCALARS[kind])

    def _skip_list(self) -> None:
        kind, n = self._take(_UINT32), self._take(_UINT64)
        if kind in _SCALARS:
            self._skip(n * _SCALARS[kind].size)
            return
        self._n_items += n
        if kind != _TEXT or self._n_items > MAX_ITEMS:
            raise ValueError(kind)
        data, at, unpack = self._data, self._at, _UINT64.unpack_from
        for _ in range(n):  # a hundred thousand: no calls of our own in here
            at += 8 + unpack(data, at)[0]
        self._at = at
        self._skip(0)

    def _text(self) -> str:
        n = self._take(_UINT64)
        if n > MAX_TEXT:
            self._skip(n)
            return ""
        return self._bytes(n).decode("utf-8", "replace")

    def _take(self, what: struct.Struct) -> Any:
        (value,) = what.unpack_from(self._data, self._at)
        self._at += what.size
        return value

    def _bytes(self, n: int) -> bytes:
        at = self._at
        self._skip(n)
        return self._data[at : at + n]

    def _skip(self, n: int) -> None:
        self._at += n
        if self._at > len(self._data):
            raise ValueError("it ends too early")
