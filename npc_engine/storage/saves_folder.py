"""What is in a saves folder, for whoever looks without an engine.

Owns the list of slots, backups and leftovers, and which files a character has. It changes nothing
and takes no lock, so it may look beside a running engine: what is renamed meanwhile is looked up
again. It knows names and sizes, and no file's bytes.
"""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from npc_engine.errors import SnapshotError, UnknownSlot
from npc_engine.storage.backups import original_of
from npc_engine.storage.disk import explain, is_folder, unescape
from npc_engine.storage.slot_reader import JOURNAL, SUFFIX

__all__ = [
    "Character",
    "Leftover",
    "Slot",
    "files_of",
    "find_slot",
    "leftovers",
    "look",
    "read_slot",
    "steady",
]

MAX_LISTED = 20
SUFFIXES = (SUFFIX, JOURNAL)  # what `files_of` finds, in this order

_TRIES = 10  # an engine needs a moment between its renames, and saves no oftener than that
_LEFT = re.compile(r"\.(.+)\.(old|tmp-[0-9a-f]+)")

T = TypeVar("T")


@dataclass(frozen=True)
class Character:
    """One character in a slot; `files` are all that belong to it, the .npc first."""

    npc: str
    files: tuple[Path, ...]
    n_bytes: int


@dataclass(frozen=True)
class Slot:
    """A slot or a backup. `origin`: of which slot it is the how manyth backup (a slot: itself, 0).

    `saved` is a time in seconds since 1970; `strangers` are files that the engine does not read.
    """

    name: str
    folder: Path
    origin: tuple[str, int]
    saved: float
    characters: tuple[Character, ...]
    strangers: tuple[str, ...]

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name

    @property
    def n_bytes(self) -> int:
        """Bytes of its characters."""
        return sum(character.n_bytes for character in self.characters)


@dataclass(frozen=True)
class Leftover:
    """A folder of a save that is under way, or was cut off."""

    folder: Path
    slot: str
    n_bytes: int

    @property
    def label(self) -> str:
        """What to call it."""
        return self.folder.name

    @property
    def is_whole(self) -> bool:
        """Whether it is a save before, and the next start will make it a backup."""
        return self.folder.name.endswith(".old")


def look(root: Path) -> list[Slot]:
    """Return the slots, each followed by its backups from the newest on; raises SnapshotError."""

    def all_of_them() -> list[Slot]:
        slots = [_slot(name, folder) for name, folder in _folders(root).items()]
        return sorted(slots, key=lambda slot: slot.origin)

    if not root.exists():
        raise SnapshotError(
            f"There is no folder {str(root)!r}.",
            "Give --saves DIR; the engine makes it at the first save.",
        )
    return steady(all_of_them, f"The saves folder {root.name!r}")


def find_slot(root: Path, name: str) -> Slot:
    """Return one slot or backup; raises UnknownSlot, SnapshotError."""
    slots = {slot.name: slot for slot in look(root)}
    if name not in slots:
        known = ", ".join(sorted(slots)[:MAX_LISTED])
        raise UnknownSlot(
            f"There is no save {name!r} in {str(root)!r}.",
            f"There are: {known}." if known else "There is none yet.",
        )
    return slots[name]


def read_slot(root: Path, name: str, act: Callable[[Slot], T]) -> T:
    """Return what `act` makes of a slot's files: all of one save, and none of the next.

    `act` is called again where a save came meanwhile. Raises as `find_slot`, and what `act` raises.
    """

    def one_save() -> T:
        slot = find_slot(root, name)
        which = slot.folder.stat().st_ino
        found = act(slot)
        if slot.folder.stat().st_ino != which:
            raise FileNotFoundError(errno.ENOENT, "it was replaced again and again")
        return found

    return steady(one_save, f"The save {name!r}")


def files_of(folder: Path, npc_file: str) -> tuple[Path, ...]:
    """Return all files of the character whose .npc file has this name: what belongs together."""
    stem = npc_file.removesuffix(SUFFIX)
    paths = (folder / (stem + suffix) for suffix in SUFFIXES)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def leftovers(root: Path) -> list[Leftover]:
    """Return what saves left that were cut off (or are under way); raises SnapshotError."""

    def all_of_them() -> list[Leftover]:
        known = set(_folders(root).values())
        found = []
        for path in root.iterdir():
            match = _LEFT.fullmatch(path.name)
            slot = unescape(match[1]) if match else None
            if slot and is_folder(path) and path not in known:
                sizes = [file.lstat().st_size for file in path.iterdir()]
                found.append(Leftover(path, slot, sum(sizes)))
        return sorted(found, key=lambda left: left.folder.name)

    return steady(all_of_them, f"The saves folder {root.name!r}")


def steady(act: Callable[[], T], what: str) -> T:
    """Return what `act` finds, again where a save took something away; raises SnapshotError."""
    for _ in range(_TRIES - 1):
        try:
            return act()
        except FileNotFoundError:
            continue
        except OSError as e:
            raise explain(e, f"{what} cannot be read") from e
    try:
        return act()
    except OSError as e:
        raise explain(e, f"{what} cannot be read") from e


def _folders(root: Path) -> dict[str, Path]:
    """Return name -> folder; .old where a slot is between two renames.

    Raises FileNotFoundError where one was renamed since it was listed.
    """
    listed = {path.name: path for path in root.iterdir()}
    found = {}
    for path in listed.values():
        match = _LEFT.fullmatch(path.name)
        is_old = match is not None and match[2] == "old" and match[1] not in listed
        name = unescape(match[1] if match and is_old else path.name)
        if name is None:
            continue
        path.lstat()
        if is_folder(path):
            found[name] = path
    return found


def _slot(name: str, folder: Path) -> Slot:
    characters, strangers, times = [], [], [folder.stat().st_mtime]
    paths = sorted(folder.iterdir())
    for path in paths:
        npc = unescape(path.stem) if path.suffix == SUFFIX and not path.is_symlink() else None
        if npc is None:
            is_ours = path.suffix in SUFFIXES[1:] and path.with_suffix(SUFFIX) in paths
            strangers += [] if is_ours else [path.name]
            continue
        files = files_of(folder, path.name)
        stats = [file.stat() for file in files]
        times += [stat.st_mtime for stat in stats]
        characters.append(Character(npc, files or (path,), sum(stat.st_size for stat in stats)))
    origin = original_of(name) or (name, 0)
    return Slot(name, folder, origin, max(times), tuple(characters), tuple(strangers))
