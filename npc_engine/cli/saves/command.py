"""`npc-engine saves`: list, verify, prune, export and import save slots, without an engine.

Owns its flags, what is removed, and how slots look as text. Where it only looks it takes no lock
and changes nothing; where it writes it is a `Store` like an engine's, and so refused beside one
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
from npc_engine.config import Settings
from npc_engine.storage.archive import export_slot, import_slot
from npc_engine.storage.backups import MAX_KEPT, discard
from npc_engine.storage.disk import explain
from npc_engine.storage.signing_key import key_if_any
from npc_engine.storage.slot_listing import Leftover, Slot, leftovers, look, read_slot
from npc_engine.storage.store import Store
from npc_engine.text.tables import table
from npc_engine.text.wording import counted, plain, size

__all__ = ["main"]

DAY_S = 86400.0
MAX_DAYS = 36525.0
MAX_NAMES = 6
ABOUT = """\
Look after save slots. list and verify change nothing, and may run beside an engine; so may
export. prune and import are refused while an engine that has saved runs on the same folder.
"""
EXAMPLES = """\
examples:
  npc-engine saves list
  npc-engine saves verify tavern --saves my-game/saves
  npc-engine saves prune --keep 1 --older-than 30 --dry-run
  npc-engine saves export tavern tavern.npcsave
  npc-engine saves import tavern.npcsave --as from-a-friend
"""
VERIFY = """\
Read every file of the slots (default: all, backups too) and check it: checksums, names, whether it
holds a character; of a journal, whether it is whole and of the snapshot beside it. Exit status 1 if
one is broken or torn (a power cut may tear a journal's end, which costs that record alone). A KV
cache that another installation wrote is no fault: the character is read again from its tokens.
"""
PRUNE = """\
Remove backups, and what saves left that were cut off. A slot itself always stays; so does the
newest backup where its slot is gone. Without flags one backup of each slot stays (--keep 1).
--older-than alone removes backups of any number, if they are that old; both together keep N and
of the others what is younger.
"""
EXPORT = """\
Write a slot as one file, to be sent around: a plain zip of the characters' files. Each is checked.
Of a journal, what a load would take goes along.
"""
IMPORT = """\
Make such a file a slot. It may come from anybody: all of it is checked before anything is placed.
With --replace the slot that was there becomes its newest backup.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit status. Raises NpcError."""
    args = _parser().parse_args(argv)
    run = {
        "list": _list,
        "verify": _verify,
        "prune": _prune,
        "export": _export,
        "import": _import,
    }[args.what]
    return run(Path(args.saves), args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="npc-engine saves",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="what", metavar="WHAT", required=True, dest="what")
    _add(commands, "list", "slots and backups: when, who, how large", "").add_argument(
        "--json", action="store_true", help="print it as JSON"
    )
    verify = _add(commands, "verify", "check every file", VERIFY)
    verify.add_argument("slots", nargs="*", metavar="SLOT", help="default: all, backups too")
    verify.add_argument("--json", action="store_true", help="print it as JSON")
    prune = _add(commands, "prune", "remove backups and leftovers", PRUNE)
    prune.add_argument("--keep", metavar="N", type=_count, help="backups of each slot that stay")
    prune.add_argument("--older-than", metavar="DAYS", type=_days, help="only those that old")
    prune.add_argument("--dry-run", action="store_true", help="say what would go, and leave it")
    export = _add(commands, "export", "a slot as one file", EXPORT)
    export.add_argument("slot", metavar="SLOT")
    export.add_argument("file", metavar="FILE.npcsave", type=Path)
    export.add_argument("--replace", action="store_true", help="where the file is there already")
    bring = _add(commands, "import", "a slot from such a file", IMPORT)
    bring.add_argument("file", metavar="FILE.npcsave", type=Path)
    bring.add_argument("--as", dest="slot", metavar="SLOT", help="its name (default: the file's)")
    bring.add_argument("--replace", action="store_true", help="where the slot is there already")
    return parser


def _add(commands: Any, name: str, summary: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=about or summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = Settings().saves
    parser.add_argument(
        "--saves", metavar="DIR", default=default, help=f"the folder (default: {default})"
    )
    return parser


def _list(root: Path, args: argparse.Namespace) -> int:
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


def _verify(root: Path, args: argparse.Namespace) -> int:
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


def _prune(root: Path, args: argparse.Namespace) -> int:
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


def _export(root: Path, args: argparse.Namespace) -> int:
    n_bytes = export_slot(root, args.slot, args.file, args.replace)
    write(f"{args.slot} is in {args.file}, {size(n_bytes)}.")
    return 0


def _import(root: Path, args: argparse.Namespace) -> int:
    with closing(Store(root, b"", MAX_KEPT)) as store:
        slot, npcs = import_slot(store, args.file, args.slot, args.replace)
    write(f"{slot} holds {', '.join(npcs)}.")
    return 0


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


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= MAX_KEPT:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {MAX_KEPT}")
    return int(text)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days
