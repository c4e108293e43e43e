"""What a disk may hold after a power cut: everything that was fsynced, and any part of the rest.

    Disk(folder)        what is there now is safe
    disk.play(record)   a call of `crashfs`, in the order of the calls
    disk.cut(target)    one of the states that a cut at this moment may leave

Rules
 1. What a file held at its last fsync stays. Of the writes since, each is there, or not, or only
    some of its sectors; a gap holds zeros or rubbish. Not even their order counts.
 2. A name is not its file: one that no fsync of its folder covers may be there or not.
 3. Names of one cut are lost in one of two ways. ORDERED: all from some moment on, in the whole
    folder, as on file systems that journal them (ext4, xfs, btrfs, APFS, NTFS). LOOSE: any of them,
    as POSIX allows; what cannot come about without one that is lost is lost, too.
 4. Writes that an fsync has failed on may be lost although the next fsync succeeds, as on Linux.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR = 512

Op = tuple[Any, ...]


@dataclass(eq=False)
class FileNode:
    """`pending`: (at, bytes) that were written, or (length, None) for a truncation."""

    safe: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        data = bytearray(self.safe)
        for at, part in self.pending:
            _put(data, at, part)
        self.safe, self.pending = bytes(data), []

    def fail(self, dice: random.Random) -> None:
        self.pending = [op for op in self.pending if op[1] is None or dice.random() < 0.5]

    def cut(self, dice: random.Random) -> bytes:
        data = bytearray(self.safe)
        keeps = dice.choice((0.0, 0.5, 1.0))
        for at, part in self.pending:
            if dice.random() < keeps:
                _put(data, at, part)
            elif part is not None:
                _put_some(data, at, part, dice)
        return bytes(data)


@dataclass(eq=False)
class Folder:
    """`pending`: (number, op) of names; an op is (put, name, node), (drop, name), (move, a, b),
    (over, a, b): moved to a name that another has."""

    safe: dict[str, "Node"] = field(default_factory=dict)
    now: dict[str, "Node"] = field(default_factory=dict)
    pending: list[tuple[int, Op]] = field(default_factory=list)


Node = FileNode | Folder


class Disk:
    def __init__(self, folder: Path, dice: random.Random) -> None:
        self._dice = dice
        self._files: dict[int, FileNode] = {}
        self._n = 0  # of changes of names
        self._n_safe = 0  # the last of those that are safe
        self._root = self._scan(folder)

    def _scan(self, folder: Path) -> Folder:
        names: dict[str, Node] = {}
        for path in folder.iterdir():
            if path.is_dir():
                names[path.name] = self._scan(path)
            else:
                ino = path.stat().st_ino
                names[path.name] = self._files.setdefault(ino, FileNode(path.read_bytes()))
        return Folder(dict(names), names)

    def play(self, call: str, args: Sequence[Any]) -> None:
        getattr(self, f"_{call}")(*args)

    def _find(self, path: str) -> Folder:
        node: Node = self._root
        for name in filter(None, path.split("/")):
            assert isinstance(node, Folder)
            node = node.now[name]
        assert isinstance(node, Folder)
        return node

    def _change(self, path: str, *op: Any) -> None:
        folder = self._find(path.rpartition("/")[0])
        self._n += 1
        folder.pending.append((self._n, op))
        _apply(folder.now, op)

    def _mkdir(self, path: str) -> None:
        self._change(path, "put", path.rpartition("/")[2], Folder())

    def _create(self, path: str, ino: int) -> None:
        self._files[ino] = FileNode()
        self._change(path, "put", path.rpartition("/")[2], self._files[ino])

    def _link(self, path: str, ino: int) -> None:
        self._change(path, "put", path.rpartition("/")[2], self._files[ino])

    def _unlink(self, path: str) -> None:
        self._change(path, "drop", path.rpartition("/")[2])

    def _rename(self, path: str, to: str, how: str = "move") -> None:
        assert path.rpartition("/")[0] == to.rpartition("/")[0], "out of its folder"
        self._change(path, how, path.rpartition("/")[2], to.rpartition("/")[2])

    def _replace(self, path: str, to: str) -> None:
        self._rename(path, to, "over")

    def _write(self, ino: int, at: int, part: bytes) -> None:
        self._files[ino].pending.append((at, part))

    def _truncate(self, ino: int, n: int) -> None:
        self._files[ino].pending.append((n, None))

    def _sync(self, ino: int) -> None:
        self._files[ino].sync()

    def _badsync(self, ino: int) -> None:
        self._files[ino].fail(self._dice)

    def _syncdir(self, path: str) -> None:
        folder = self._find(path)
        folder.safe = dict(folder.now)
        self._n_safe = max([self._n_safe, *(n for n, _ in folder.pending)])
        folder.pending = []

    def cut(self, target: Path) -> None:
        """Write what may be left into an empty folder. May be called again, for another one."""
        is_ordered = self._dice.random() < 0.5
        end = self._dice.randint(self._n_safe, self._n) if is_ordered else None
        self._cut(self._root, target, end)

    def _cut(self, folder: Folder, target: Path, end: int | None) -> None:
        names = dict(folder.safe)
        for n, op in folder.pending:
            if n <= end if end is not None else self._dice.random() < 0.5:
                _apply(names, op)
        for name, node in names.items():
            if isinstance(node, Folder):
                (target / name).mkdir()
                self._cut(node, target / name, end)
            else:
                (target / name).write_bytes(node.cut(self._dice))


def _apply(names: dict[str, Node], op: Op) -> None:
    """Carry a change of names out where it can be: not where one before it is lost."""
    what, name = op[0], op[1]
    if what == "put":
        names.setdefault(name, op[2])
    elif what == "drop":
        names.pop(name, None)
    elif name in names and (what == "over" or op[2] not in names):
        names[op[2]] = names.pop(name)


def _put(data: bytearray, at: int, part: bytes | None) -> None:
    if part is None:
        del data[at:]
        data.extend(bytes(at - len(data)))
    else:
        data.extend(bytes(max(0, at - len(data))))
        data[at : at + len(part)] = part


def _put_some(data: bytearray, at: int, part: bytes, dice: random.Random) -> None:
    """Put some sectors of a write; what is missing before one of them is zeros, or rubbish."""
    end = at + len(part)
    for first in range(at, end, SECTOR):
        last = min(end, first + SECTOR - first % SECTOR)
        fate = dice.choice(("there", "rubbish", "lost"))
        if fate == "there":
            _put(data, first, part[first - at : last - at])
        elif fate == "rubbish":
            _put(data, first, dice.randbytes(last - first))
