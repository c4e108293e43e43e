"""`npc-engine saves`: list, verify, prune, export and import save slots, without an engine.

Owns its flags. `slots` does it.
"""

import argparse
from pathlib import Path
from typing import Any

from npc_engine.config import Settings
from npc_engine.storage.backups import MAX_KEPT

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "list, check, prune, export and import save slots"
MAX_DAYS = 36525.0
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a command for each thing that can be done."""
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


def run(args: argparse.Namespace) -> int:
    """Do what is asked for; return the exit status. Raises NpcError."""
    from npc_engine.cli.saves import slots

    do = {
        "list": slots.show,
        "verify": slots.verify,
        "prune": slots.prune,
        "export": slots.export,
        "import": slots.bring,
    }[args.what]
    return do(Path(args.saves), args)


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
