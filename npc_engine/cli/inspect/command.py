"""`npc-engine inspect`: what a saved character has in its file, a running one in its window.

Owns its flags. A file is `saved`'s, a running engine `live`'s.
"""

import argparse
from pathlib import Path

from npc_engine.cli.flags import TOKEN_VARIABLE, add_token, seconds
from npc_engine.cli.output import need_rich
from npc_engine.config import Settings

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "what is in a save, or in the windows of a running engine"
ABOUT = f"""\
Of a save: is it whole, what is in it, and will it load by its KV cache or from its tokens?
FILE is a character's .npc file or a folder of them, SLOT a slot of --saves. Exit status 1 if
something is damaged.

Of a running engine (--live): draw the windows of its characters: the pinned persona, pinned turns,
the other turns with their age (in turns) and importance, holes, free cells, and how near positions
are to the limit that the model was trained for. Nothing in the engine changes by it.
If the engine wants a token: --token, or the environment variable {TOKEN_VARIABLE}.
"""
EXAMPLES = """\
examples:
  npc-engine inspect tavern
  npc-engine inspect saves/tavern/mara.npc --model q4.gguf
  npc-engine inspect tavern.bak --npc mara --text
  npc-engine inspect --live tcp://127.0.0.1:5757
  npc-engine inspect --live tcp://127.0.0.1:5757 --npc mara --watch 0.5
  npc-engine inspect --live tcp://127.0.0.1:5757 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which save or engine is meant, and how it is shown."""
    _add_save(parser)
    parser.add_argument("--npc", metavar="NAME", help="one character (default: all)")
    live = parser.add_argument_group("a running engine")
    live.add_argument("--live", metavar="ENDPOINT", help="the engine: tcp://127.0.0.1:5757")
    add_token(live)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--text", action="store_true", help="of a save: print the conversation in the window"
    )
    how.add_argument(
        "--watch", metavar="SECONDS", type=seconds, help="draw again so often, until Ctrl-C"
    )
    how.add_argument("--json", action="store_true", help="print the records, for tools")


def _add_save(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="FILE|SLOT", help="a save")
    save = parser.add_argument_group("a save")
    default = Settings().saves
    save.add_argument(
        "--saves", metavar="DIR", default=default, help=f"where slots are (default: {default})"
    )
    save.add_argument(
        "--model",
        metavar="GGUF",
        type=Path,
        help="say how it will load with this model and the default settings; the KV layout is "
        "measured the first time, in about 3 s",
    )


def run(args: argparse.Namespace) -> int:
    """Show what is meant; return the exit status. Raises NpcError."""
    if (args.live is None) == (args.what is None):
        raise argparse.ArgumentError(None, "give FILE or SLOT, or --live ENDPOINT")
    if args.live is None:
        if args.watch:
            raise argparse.ArgumentError(None, "--watch needs --live: a file does not change")
        from npc_engine.cli.inspect import saved

        return saved.run(args)
    if args.text or args.model:
        raise argparse.ArgumentError(None, "--text and --model are for a save, not for --live")
    if not args.json:
        need_rich()
    from npc_engine.cli.inspect import live

    return live.run(args)
