"""`npc-engine inspect`: what a saved character has in its file, a running one in its window.

Owns the flags; and of a running engine, whom it shows, and how often. It knows the client and the
screen; the picture is `window_picture`'s, and a file is `saved`'s.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from npc_engine.cli.attach import CONNECT_S, add_token, token_from
from npc_engine.cli.flags import TOKEN_VARIABLE, seconds
from npc_engine.cli.inspect import saved as inspect_file
from npc_engine.cli.output import write
from npc_engine.client.zmq_client import Client
from npc_engine.errors import ConnectionLost, UnknownNpc
from npc_engine.protocol import WindowReply

if TYPE_CHECKING:
    from npc_engine.cli.terminal import Screen

__all__ = ["main"]

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

Named = list[tuple[WindowReply, str]]
"""Windows, each with the name on its character's card."""


def main(argv: Sequence[str], sleep: Callable[[float], None] = time.sleep) -> int:
    """Run the command; return its exit status. Raises NpcError.

    1 when the engine goes away while it is watched; Ctrl-C ends watching with 0.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if (args.live is None) == (args.what is None):
        parser.error("give FILE or SLOT, or --live ENDPOINT")
    if args.live is None and args.watch:
        parser.error("--watch needs --live: a file does not change")
    if args.live is not None and (args.text or args.model):
        parser.error("--text and --model are for a save, not for --live")
    if args.live is None:
        return inspect_file.run(args)
    with Client(args.live, token=token_from(args), timeout=CONNECT_S, name="inspect") as client:
        if args.json:
            records = [msgspec.to_builtins(window) for window, _name in _windows(client, args.npc)]
            write(json.dumps(records, indent=2))
            return 0
        from npc_engine.cli.terminal import open_screen  # here: JSON needs no rich

        screen = open_screen()
        if args.watch:
            return _watch(client, args.npc, args.watch, screen, sleep)
        screen.windows(_windows(client, args.npc))
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="npc-engine inspect",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    inspect_file.add_arguments(parser)
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
    return parser


def _windows(client: Client, npc: str | None) -> Named:
    """Return the windows to show; raises UnknownNpc for one that was asked for by name."""
    names = {info.npc: info.name for info in client.list_npcs()}
    if npc is not None:
        return [(client.window(npc), names.get(npc, npc))]
    found: Named = []
    for there, name in names.items():
        try:
            found.append((client.window(there), name))
        except UnknownNpc:  # it has left since
            continue
    return found


def _watch(
    client: Client,
    npc: str | None,
    every_s: float,
    screen: "Screen",
    sleep: Callable[[float], None],
) -> int:
    try:
        with screen.watching() as draw:
            while True:
                draw(_windows(client, npc))
                sleep(every_s)
    except KeyboardInterrupt:
        return 0
    except ConnectionLost as error:
        screen.problem(error)
        return 1
