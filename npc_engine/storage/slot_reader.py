"""What the folders of a saves folder hold: slots, characters, and one of these from its files.

Owns how the folders are told apart by name, and what a load makes of a character's files. It
changes nothing and takes no lock; that is `store`'s, which calls it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from npc_engine.errors import SnapshotError, UnknownSlot
from npc_engine.storage.disk import escape, explain, is_folder, read_file, unescape
from npc_engine.storage.journal.records import MAX_BYTES, Replay, examine
from npc_engine.storage.snapshot import MAX_FILE_BYTES, Snapshot, decode

__all__ = [
    "CUT_OFF",
    "JOURNAL",
    "REPLACED",
    "SUFFIX",
    "SlotReader",
    "entries",
    "leftovers",
    "read_journal",
    "refuse_link",
    "replaced",
    "slot_of",
]

SUFFIX = ".npc"
JOURNAL = ".journal"  # it grows after it was written
MAX_LISTED = 20

REPLACED = re.compile(r"\.(.+)\.old")
CUT_OFF = re.compile(r"\.(.+)\.tmp-[0-9a-f]+")


class SlotReader:
    """Reads the slots under `root`. `key`: the installation's, which signs payloads."""

    def __init__(self, root: Path, key: bytes) -> None:
        self._root = root
        self._key = key

    def slots(self) -> list[str]:
        """Return the names of the slots, sorted; raises SnapshotError."""
        try:
            folders = [unescape(path.name) for path in entries(self._root) if is_folder(path)]
            folders += [slot_of(old) for old in leftovers(self._root, REPLACED)]
        except OSError as e:
            raise explain(e, "The saves folder cannot be listed") from e
        return sorted({name for name in folders if name})

    def characters(self, slot: str) -> dict[str, Path]:
        """Return name -> file of the characters in a slot; raises UnknownSlot, SnapshotError."""
        folder = self._root / escape(slot)
        known = self.slots()
        try:
            refuse_link(folder)
            folder = folder if is_folder(folder) else replaced(folder)
            paths = [p for p in entries(folder) if p.suffix == SUFFIX and not p.is_symlink()]
        except OSError as e:
            raise explain(e, f"The slot {slot!r} cannot be listed") from e
        if slot not in known:
            there = (
                f"There are: {', '.join(known[:MAX_LISTED])}." if known else "There is none yet."
            )
            raise UnknownSlot(f"There is no save {slot!r}.", there)
        names = {unescape(path.name.removesuffix(SUFFIX)): path for path in paths}
        return {name: path for name, path in names.items() if name}

    def read(self, slot: str, npc: str, there: Mapping[str, Path]) -> Snapshot | SnapshotError:
        """Return one of the characters that are `there`, with its journal, or what is wrong."""
        if npc not in there:
            return SnapshotError(
                f"The save {slot!r} holds no {npc!r}.",
                f"It holds: {', '.join(sorted(there)[:MAX_LISTED])}.",
            )
        what = f"{slot}/{there[npc].name}"
        try:
            snapshot = decode(read_file(there[npc], MAX_FILE_BYTES), self._key)
        except OSError as e:
            return explain(e, f"{what} cannot be read")
        except MemoryError:
            return SnapshotError(f"{what} is larger than the free memory.", "Close other programs.")
        except SnapshotError as e:
            return SnapshotError(f"{what}: {e.message}", e.help)
        whose = snapshot.header["npc"]
        if whose != npc:
            name = escape(whose) + SUFFIX
            return SnapshotError(f"{what} holds {whose!r}, not {npc!r}.", f"Rename it to {name}.")
        return read_journal(snapshot, there[npc].with_suffix(JOURNAL)).loaded


def read_journal(snapshot: Snapshot, path: Path) -> Replay:
    """Return what the journal at `path` adds to a snapshot; what cannot be read adds nothing."""
    if not os.path.lexists(path):
        return Replay(snapshot)
    try:
        data = read_file(path, MAX_BYTES)
    except OSError as e:
        return Replay(snapshot, problem=explain(e, "it cannot be read").message.rstrip("."))
    except SnapshotError as e:
        return Replay(snapshot, problem=e.message.rstrip("."))
    return examine(snapshot, data)


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where there is no folder. Raises OSError."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def leftovers(root: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    """Yield the folders of that pattern, REPLACED or CUT_OFF. Raises OSError."""
    for path in entries(root):
        found = pattern.fullmatch(path.name)
        if found and unescape(found[1]) and is_folder(path):
            yield path


def refuse_link(target: Path) -> None:
    """Raise SnapshotError where a slot's folder is something else."""
    if not is_folder(target) and os.path.lexists(target):
        raise SnapshotError(
            f"The slot {target.name!r} is a link or a file, not a folder.",
            "Remove it from the saves folder, or use another slot.",
        )


def replaced(target: Path) -> Path:
    """Return the .old of a slot's folder."""
    return target.with_name(f".{target.name}.old")


def slot_of(folder: Path) -> str:
    """Return the slot whose folder, or .old, this is."""
    return unescape(folder.name.removeprefix(".").removesuffix(".old")) or ""
