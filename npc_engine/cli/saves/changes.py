"""What is done to save slots without an engine: prune, export, import.

Owns what is removed. Where it writes it is a `Store` like an engine's, and so refused beside one
that has saved.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from npc_engine.cli.output import write
from npc_engine.storage.archive import export_slot, import_slot
from npc_engine.storage.backups import MAX_KEPT, discard
from npc_engine.storage.disk import explain
from npc_engine.storage.slot_listing import Leftover, Slot, leftovers, look
from npc_engine.storage.store import Store
from npc_engine.text.tables import counted, size

__all__ = ["bring", "export", "prune"]

DAY_S = 86400.0


def prune(root: Path, args: argparse.Namespace) -> int:
    """Remove backups and leftovers; return the exit status."""
    look(root)  # a folder that is not there is an error, and is not made
    if args.dry_run:
        return _remove(root, args)
    with closing(Store(root, b"", MAX_KEPT)) as store:  # what can be a backup becomes one
        store.hold()
        return _remove(root, args)


def _remove(root: Path, args: argparse.Namespace) -> int:
    keep = args.keep if args.keep is not None else 0 if args.older_than is not None else 1
    before = time.time() - (args.older_than or 0) * DAY_S
    backups = [slot for slot in _beyond(look(root), keep) if slot.saved <= before]
    left = [one for one in leftovers(root) if not one.is_whole]
    all_of_it: list[Slot | Leftover] = [*backups, *left]
    for one in all_of_it:
        write(f"{'would remove' if args.dry_run else 'removing'} {one.label}, {size(one.n_bytes)}")
        if not args.dry_run:
            _away(one.folder)
    n_bytes = sum(one.n_bytes for one in all_of_it)
    write(f"{counted(len(backups), 'backup')}, {counted(len(left), 'leftover')}, {size(n_bytes)}.")
    return 0


def _away(folder: Path) -> None:
    try:
        discard(folder)
    except OSError as e:
        raise explain(e, f"{folder.name} was not removed") from e


def _beyond(slots: Sequence[Slot], keep: int) -> Iterator[Slot]:
    """Yield the backups that are not among the newest `keep` of their slot."""
    n_seen: dict[str, int] = {}
    there = {slot.name for slot in slots}
    for slot in slots:
        name, number = slot.origin
        if not number:
            continue
        n_seen[name] = n_seen.get(name, 0) + 1
        if n_seen[name] > max(keep, 0 if name in there else 1):
            yield slot


def export(root: Path, args: argparse.Namespace) -> int:
    """Write a slot as one file; return the exit status."""
    n_bytes = export_slot(root, args.slot, args.file, args.replace)
    write(f"{args.slot} is in {args.file}, {size(n_bytes)}.")
    return 0


def bring(root: Path, args: argparse.Namespace) -> int:
    """Make such a file a slot; return the exit status."""
    with closing(Store(root, b"", MAX_KEPT)) as store:
        slot, npcs = import_slot(store, args.file, args.slot, args.replace)
    write(f"{slot} holds {', '.join(npcs)}.")
    return 0
