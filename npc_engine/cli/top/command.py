"""`npc-engine top`: a running engine at a glance. Owns its flags; `watching` looks and shows."""

import argparse
import json
import sys
import time
from collections.abc import Callable

from npc_engine.cli.flags import CONNECT_S, TOKEN_VARIABLE, add_token, seconds, token_from
from npc_engine.cli.output import need_rich, write

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "watch a running engine: who speaks, who waits, speeds, memory"
ABOUT = f"""\
Show a running engine: who speaks, who waits and who is parked, how full each window is, speeds,
memory by part. Nothing in the engine changes by it. q or Ctrl-C leaves. Where the output is no
terminal it prints one frame (--once). When the engine goes away it waits for it, 30 seconds long.
If the engine wants a token: --token, or the environment variable {TOKEN_VARIABLE}.
"""
EXAMPLES = """\
examples:
  npc-engine top
  npc-engine top tcp://127.0.0.1:5757 --every 2
  npc-engine top --once | less
  npc-engine top --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which engine, how often, and how it is shown."""
    parser.add_argument(
        "endpoint",
        nargs="?",
        metavar="ENDPOINT",
        default="tcp://127.0.0.1:5757",
        help="the engine (default: tcp://127.0.0.1:5757)",
    )
    add_token(parser)
    parser.add_argument(
        "--every",
        metavar="SECONDS",
        type=seconds,
        default=0.5,
        help="look again so often (default: 0.5)",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="print one frame as plain text")
    how.add_argument("--json", action="store_true", help="print the records: docs/protocol.md")


def run(args: argparse.Namespace, clock: Callable[[], float] = time.monotonic) -> int:
    """Show an engine; return the exit status. Raises NpcError.

    1 when the engine goes away and does not come back; q and Ctrl-C end it with 0.
    """
    is_live = not (args.once or args.json) and sys.stdout is not None and sys.stdout.isatty()
    if is_live:
        need_rich()
    from npc_engine.cli.top.watching import Link, live, once

    link = Link(args.endpoint, token_from(args))
    try:
        link.open(CONNECT_S)
        if is_live:
            return live(link, args.every, clock)
        if args.json:
            write(json.dumps(link.facts(), indent=2))
        else:
            once(link, args.every)
    except KeyboardInterrupt:
        return 0
    finally:
        link.close()
    return 0
