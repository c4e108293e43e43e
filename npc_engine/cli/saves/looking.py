"""Save slots as text: which there are, and whether each file is whole.

Owns how they look. It takes no lock and changes nothing, and may run beside an engine.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from npc_engine.cli.output import write
from npc_engine.cli.saves.report import Report, reports_on
from npc_engine.storage.signing_key import key_if_any
from npc_engine.storage.slot_listing import Leftover, Slot, leftovers, look, read_slot
from npc_engine.text.tables import counted, size, table
from npc_engine.text.visible import plain

__all__ = ["show", "verify"]

MAX_NAMES = 6


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
