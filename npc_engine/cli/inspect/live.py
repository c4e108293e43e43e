"""The windows of a running engine's characters: whom it shows, and how often.

It knows the client and the screen; the picture is `window_picture`'s.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from npc_engine.cli.flags import CONNECT_S, token_from
from npc_engine.cli.output import write
from npc_engine.client.zmq_client import Client
from npc_engine.errors import ConnectionLost, UnknownNpc
from npc_engine.protocol import WindowReply

if TYPE_CHECKING:
    from npc_engine.cli.terminal import Screen

__all__ = ["run"]

Named = list[tuple[WindowReply, str]]
"""Windows, each with the name on its character's card."""


def run(args: argparse.Namespace, sleep: Callable[[float], None] = time.sleep) -> int:
    """Draw the windows; return the exit status. Raises NpcError.

    1 when the engine goes away while it is watched; Ctrl-C ends watching with 0.
    """
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
