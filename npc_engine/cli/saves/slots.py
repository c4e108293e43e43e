"""What can be done to save slots without an engine: list, verify, prune, export, import.

Owns how slots look, and what is removed. `show` and `verify` take no lock and change nothing, and
may run beside an engine. What writes has a `Store` like an engine's, and so is refused beside one
that has saved.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from npc_engine.cli.output import write
from npc_engine.cli.saves.report import Report, reports_on
from npc_engine.storage.archive import export_slot, import_slot
from npc_engine.storage.backups import MAX_KEPT, discard
from npc_engine.storage.disk import explain
from npc_engine.storage.signing_key import key_if_any
from npc_engine.storage.slot_listing import Leftover, Slot, leftovers, look, read_slot
from npc_engine.storage.store import Store
from npc_engine.text.tables import counted, size, table
from npc_engine.text.visible import plain

__all__ = ["bring", "export", "prune", "show", "verify"]

MAX_NAMES = 6
DAY_S = 86400.0


def show(root: Path, args: argparse.Namespace) -> int:
    """List slots, backups and what was left over; return the exit status."""
    slots, left = look(root), leftovers(root)
    if args.json:
        records = {"slots": [*map(_slot_facts, slots)], "leftovers": [*map(_left_facts, left)]}
        write(json.dumps(records, indent=2))
        return 0
    rows = [(s.name, _when(s.saved), size(s.n_bytes), _names(s)) for s in slots]
    write(_aligned([("slot", "saved", "size", "characters"), *rows]) if rows else "No saves yet.")
    for one in left:
        write(f"{one.folder.name}: {size(one.n_bytes)} of a save under way, or cut off.")
    return 0


def verify(root: Path, args: argparse.Namespace) -> int:
    """Check every file; return 1 if one is broken or torn."""
    key = key_if_any()
    names = args.slots or [slot.name for slot in look(root)]
    read = [read_slot(root, name, lambda slot: (slot, reports_on(slot, key))) for name in names]
    found = [(slot, report) for slot, reports in read for report in reports]
    rows = [row for slot, report in found for row in _verdicts(slot, report)]
    n_broken = sum(verdict != "ok" for _, verdict, _ in rows)
    if args.json:
        write(json.dumps([{"slot": s.name, **r.facts()} for s, r in found], indent=2))
        return 1 if n_broken else 0
    write(_aligned([("file", "", "what"), *rows]) if rows else "No saves yet.")
    for slot, _ in read:
        for name in slot.strangers:
            write(f"{slot.name}/{plain(name)}: not read by the engine.")
    write(f"{counted(len(rows), 'file')}, {n_broken} broken.")
    return 1 if n_broken else 0


def _verdicts(slot: Slot, report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield (file, ok or what else, why) of a character's files."""
    file = f"{slot.name}/{report.file.name}"
    broken = str(report.problem) if report.problem else report.own_damage
    notice = (report.snapshot and report.snapshot.notice) or ""
    yield (file, "BROKEN", plain(broken)) if broken else (file, "ok", notice)
    journal = report.journal
    if journal is not None:
        verdict = "BROKEN" if journal.problem else "TORN" if journal.n_torn else "ok"
        yield f"{slot.name}/{journal.file.name}", verdict, plain(journal.text)


def _slot_facts(slot: Slot) -> dict[str, Any]:
    of, number = slot.origin
    return {
        "slot": slot.name,
        "backup_of": of if number else None,
        "saved": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(slot.saved)),
        "n_bytes": slot.n_bytes,
        "characters": [{"npc": c.npc, "n_bytes": c.n_bytes} for c in slot.characters],
        "not_read": list(slot.strangers),
    }


def _left_facts(left: Leftover) -> dict[str, Any]:
    return {"folder": left.folder.name, "slot": left.slot, "n_bytes": left.n_bytes}


def _names(slot: Slot) -> str:
    names = [character.npc for character in slot.characters]
    more = f", and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{len(names)}: {', '.join(names[:MAX_NAMES])}{more}" if names else "none"


def _when(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    return table(rows, right=False).rstrip()


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
        do = "would remove" if args.dry_run else "removing"
        # It goes on where nobody reads any more: npc-engine saves prune | head -1
        write(f"{do} {one.label}, {size(one.n_bytes)}", flush=False)
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
