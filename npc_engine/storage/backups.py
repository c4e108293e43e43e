"""The saves before: what backups are called, and how they move up when another comes.

Owns the names `SLOT.bak` (the newest), `SLOT.bak2`, ... and their renames. It knows no locks and no
files in a slot.

Rules
 1. A backup is a slot like any other to whoever reads; nobody saves into one.
 2. They move up from the oldest on, each to a name that is free. So whenever the machine stops, all
    of them are still there; with a gap perhaps, and the next time only those below the gap move.
 3. The one that has no place any more goes only when the new save is safe.
"""

import re
import secrets
import shutil
from pathlib import Path

from npc_engine.storage.disk import NAME, escape, is_folder, rename, sync_folder, unescape

__all__ = ["MAX_KEPT", "backup_name", "backups_of", "discard", "is_backup", "original_of", "rotate"]

MAX_KEPT = 99

_BACKUP = re.compile(r"(.+)\.bak([2-9]|[1-9][0-9])?")
_RESERVED = re.compile(r".+\.bak[0-9]*")


def is_backup(slot: str) -> bool:
    """Whether a slot's name is kept for backups."""
    return _RESERVED.fullmatch(slot) is not None


def original_of(slot: str) -> tuple[str, int] | None:
    """Return of which slot this is a backup, and which one (1 is the newest); else None."""
    found = _BACKUP.fullmatch(slot)
    return (found[1], int(found[2] or 1)) if found else None


def backup_name(slot: str, number: int) -> str | None:
    """Return what a slot's backup is called; None where the slot's own name leaves no room."""
    name = f"{slot}.bak{number if number > 1 else ''}"
    return name if NAME.fullmatch(name) else None


def backups_of(root: Path, slot: str) -> dict[int, Path]:
    """Return number -> folder of the backups of a slot, newest first. Raises OSError."""
    found = {}
    for path in root.iterdir():
        origin = original_of(unescape(path.name) or "")
        if origin and origin[0] == slot and is_folder(path):
            found[origin[1]] = path
    return dict(sorted(found.items()))


def rotate(root: Path, slot: str, old: Path, keep: int) -> None:
    """Make the folder `old` the newest backup, so that at most `keep` remain. Raises OSError."""
    there = backups_of(root, slot)
    while keep and backup_name(slot, keep) is None:
        keep -= 1
    for number in [n for n in there if n > keep]:
        discard(there.pop(number))
    if not keep:
        discard(old)
        return
    free = next((n for n in range(1, keep + 1) if n not in there), None)
    if free is None:
        discard(there[keep])
        free = keep
    for number in range(free, 1, -1):
        rename(_folder(root, slot, number - 1), _folder(root, slot, number))
    rename(old, _folder(root, slot, 1))
    sync_folder(root)


def discard(folder: Path) -> None:
    """Remove a folder of the saves, at once as far as a start after a crash can see.

    Raises OSError. That it is gone has to be on the disk before any of its files are: half of a
    save must not come back under its name.
    """
    slot = folder.name.removeprefix(".").removesuffix(".old")
    dead = folder.with_name(f".{slot}.tmp-{secrets.token_hex(8)}")
    rename(folder, dead)
    sync_folder(folder.parent)
    shutil.rmtree(dead, ignore_errors=True)


def _folder(root: Path, slot: str, number: int) -> Path:
    name = backup_name(slot, number)
    assert name is not None  # `rotate` keeps no more than have a name
    return root / escape(name)
