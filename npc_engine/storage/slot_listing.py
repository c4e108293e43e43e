"""What is in a saves folder: slots, their backups, characters, and what cut-off saves left.

Owns how folders and files are told apart by name, and their listing, for an engine and for whoever
looks without one. It changes nothing and takes no lock, so it may look beside a running engine:
what is renamed meanwhile is looked up again. It knows names and sizes, and no file's bytes.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from npc_engine.errors import SnapshotError, UnknownSlot
from npc_engine.storage.backups import original_of
from npc_engine.storage.disk import escape, explain, is_folder, unescape

__all__ = [
    "JOURNAL",
    "MAX_LISTED",
    "SUFFIX",
    "CharacterFiles",
    "Leftover",
    "Slot",
    "character_files",
    "entries",
    "files_of",
    "find_slot",
    "leftovers",
    "look",
    "read_slot",
    "refuse_link",
    "replaced",
    "slot_names",
    "slot_of",
    "steady",
    "unfinished",
    "was_replaced",
]

SUFFIX = ".npc"
JOURNAL = ".journal"  # it grows after it was written
SUFFIXES = (SUFFIX, JOURNAL)  # what `files_of` finds, in this order
MAX_LISTED = 20

_TRIES = 10  # an engine needs a moment between its renames, and saves no oftener than that
_OLD = ".old"
_UNFINISHED = re.compile(r"\.(.+)\.(?:old|tmp-[0-9a-f]+)")

T = TypeVar("T")


@dataclass(frozen=True)
class CharacterFiles:
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
    characters: tuple[CharacterFiles, ...]
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
        return was_replaced(self.folder)


def look(root: Path) -> list[Slot]:
    """Return the slots, each followed by its backups from the newest on; raises SnapshotError."""

    def all_of_them() -> list[Slot]:
        slots = [_slot(name, folder) for name, folder in _slot_folders(root).items()]
        return sorted(slots, key=lambda slot: slot.origin)

    if not root.exists():
        raise SnapshotError(
            f"There is no folder {str(root)!r}.",
            "Give --saves DIR; the engine makes it at the first save.",
        )
    return steady(all_of_them, f"The saves folder {root.name!r} cannot be read")


def find_slot(root: Path, name: str) -> Slot:
    """Return one slot or backup; raises UnknownSlot, SnapshotError."""
    slots = {slot.name: slot for slot in look(root)}
    if name not in slots:
        raise UnknownSlot(f"There is no save {name!r} in {str(root)!r}.", _there_are(slots))
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

    return steady(one_save, f"The save {name!r} cannot be read")


def files_of(folder: Path, npc_file: str) -> tuple[Path, ...]:
    """Return all files of the character whose .npc file has this name: what belongs together."""
    stem = npc_file.removesuffix(SUFFIX)
    paths = (folder / (stem + suffix) for suffix in SUFFIXES)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def leftovers(root: Path) -> list[Leftover]:
    """Return what saves left that were cut off (or are under way); raises SnapshotError."""

    def all_of_them() -> list[Leftover]:
        known = set(_slot_folders(root).values())
        folders = sorted(path for path in unfinished(root) if path not in known)
        return [Leftover(path, slot_of(path), _n_bytes(path)) for path in folders]

    return steady(all_of_them, f"The saves folder {root.name!r} cannot be read")


def slot_names(root: Path) -> list[str]:
    """Return the names of the slots, sorted; raises SnapshotError."""
    return sorted(steady(lambda: _slot_folders(root), "The saves folder cannot be listed"))


def character_files(root: Path, slot: str) -> dict[str, Path]:
    """Return name -> .npc file of the characters in a slot; raises UnknownSlot, SnapshotError."""
    target = root / escape(slot)
    known = slot_names(root)

    def files() -> dict[str, Path]:
        refuse_link(target)
        folder = target if is_folder(target) else replaced(target)
        found = {_npc(path): path for path in folder.iterdir()} if slot in known else {}
        return {npc: path for npc, path in found.items() if npc}

    found = steady(files, f"The slot {slot!r} cannot be listed")
    if slot not in known:
        raise UnknownSlot(f"There is no save {slot!r}.", _there_are(known))
    return found


def steady(act: Callable[[], T], problem: str) -> T:
    """Return what `act` finds, again where a save took something away.

    Raises SnapshotError, which begins with `problem`.
    """
    for _ in range(_TRIES - 1):
        try:
            return act()
        except FileNotFoundError:
            continue
        except OSError as e:
            raise explain(e, problem) from e
    try:
        return act()
    except OSError as e:
        raise explain(e, problem) from e


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where there is no folder. Raises OSError."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def unfinished(root: Path) -> list[Path]:
    """Return the folders of saves under way, or cut off, and of what they replace. Raises OSError.

    Where a slot is between two renames it is among them.
    """
    left = [path for path in entries(root) if _UNFINISHED.fullmatch(path.name)]
    return [path for path in left if slot_of(path) and is_folder(path)]


def slot_of(folder: Path) -> str:
    """Return the slot whose folder, .old or .tmp this is; "" where it is of none."""
    left = _UNFINISHED.fullmatch(folder.name)
    return unescape(left[1] if left else folder.name) or ""


def replaced(target: Path) -> Path:
    """Return the .old of a slot's folder."""
    return target.with_name(f".{target.name}{_OLD}")


def was_replaced(folder: Path) -> bool:
    """Whether it is a slot's .old."""
    return folder.suffix == _OLD


def refuse_link(target: Path) -> None:
    """Raise SnapshotError where a slot's folder is something else."""
    if not is_folder(target) and os.path.lexists(target):
        raise SnapshotError(
            f"The slot {target.name!r} is a link or a file, not a folder.",
            "Remove it from the saves folder, or use another slot.",
        )


def _there_are(slots: Iterable[str]) -> str:
    known = ", ".join(sorted(slots)[:MAX_LISTED])
    return f"There are: {known}." if known else "There is none yet."


def _slot_folders(root: Path) -> dict[str, Path]:
    """Return name -> folder; .old where a slot is between two renames. Raises OSError.

    FileNotFoundError where one was renamed since it was listed.
    """
    listed = {path.name: path for path in entries(root)}
    found = {}
    for path in listed.values():
        left = _UNFINISHED.fullmatch(path.name)
        if left and (not was_replaced(path) or left[1] in listed):
            continue
        path.lstat()
        if slot_of(path) and is_folder(path):
            found[slot_of(path)] = path
    return found


def _npc(path: Path) -> str | None:
    """Return whose .npc file this is, None where it is none, or a link."""
    return unescape(path.stem) if path.suffix == SUFFIX and not path.is_symlink() else None


def _n_bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.iterdir())


def _slot(name: str, folder: Path) -> Slot:
    characters, strangers, times = [], [], [folder.stat().st_mtime]
    paths = sorted(folder.iterdir())
    for path in paths:
        npc = _npc(path)
        if npc is None:
            is_ours = path.suffix in SUFFIXES[1:] and path.with_suffix(SUFFIX) in paths
            strangers += [] if is_ours else [path.name]
            continue
        files = files_of(folder, path.name)
        stats = [file.stat() for file in files]
        times += [stat.st_mtime for stat in stats]
        n_bytes = sum(stat.st_size for stat in stats)
        characters.append(CharacterFiles(npc, files or (path,), n_bytes))
    origin = original_of(name) or (name, 0)
    return Slot(name, folder, origin, max(times), tuple(characters), tuple(strangers))
