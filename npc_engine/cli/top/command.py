"""`npc-engine top`: a running engine at a glance, again and again.

Owns its flags, how often it looks, and what happens when the engine goes away. It knows the client
and the screen; the picture is `picture`'s.
"""

import argparse
import json
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from npc_engine.cli.attach import CONNECT_S, add_token, token_from
from npc_engine.cli.flags import TOKEN_VARIABLE, seconds
from npc_engine.cli.keyboard import listening
from npc_engine.cli.output import write
from npc_engine.cli.top.picture import draw
from npc_engine.cli.top.sample import Rates, Sample, rates
from npc_engine.cli.window_bars import Row, glyphs_for
from npc_engine.client.zmq_client import Client
from npc_engine.errors import ConnectionLost

__all__ = ["main", "watch"]

AGAIN_S = 1.0  # as CONNECT_S, of one that has gone and may come back
GIVE_UP_S = 30.0
RATES_S = 2.0  # over how long speeds are taken: half a second holds few steps on a slow machine
MOST_ROWS = 20  # of a frame that goes to no screen
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

Put = Callable[[list[Row]], None]
Wait = Callable[[float], str]


def main(argv: Sequence[str], clock: Callable[[], float] = time.monotonic) -> int:
    """Run the command; return its exit status. Raises NpcError.

    1 when the engine goes away and does not come back; q and Ctrl-C end it with 0.
    """
    args = _parser().parse_args(argv)
    link = _Link(args.endpoint, token_from(args))
    try:
        link.open(CONNECT_S)
        if args.json:
            write(json.dumps(link.facts(), indent=2))
        elif args.once or sys.stdout is None or not sys.stdout.isatty():
            _once(link, args.every)
        else:
            return _live(link, args.every, clock)
    except KeyboardInterrupt:
        return 0
    finally:
        link.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="npc-engine top",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
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
    return parser


class _Link:
    """A connection that can be made again when the engine comes back."""

    def __init__(self, endpoint: str, token: str | None) -> None:
        self.endpoint = endpoint
        self._token = token
        self._client: Client | None = None

    def open(self, timeout: float) -> Client:
        """Return the connection, made if there is none. Raises ConnectionLost, Unauthorized."""
        if self._client is None:
            self._client = Client(self.endpoint, token=self._token, timeout=timeout, name="top")
        return self._client

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def look(self) -> Sample:
        """Return how the engine is doing. Raises ConnectionLost, and begins anew the next time."""
        try:
            client = self.open(AGAIN_S)
            npcs, stats = client.list_npcs(timeout=CONNECT_S), client.stats(timeout=CONNECT_S)
        except ConnectionLost:
            self.close()
            raise
        model, slots = client.welcome.model.get("name"), client.welcome.limits.get("slots")
        return Sample(
            self.endpoint,
            model if isinstance(model, str) else "",
            slots if isinstance(slots, int) else None,
            npcs,
            stats,
        )

    def facts(self) -> dict[str, Any]:
        """Return all that the engine tells, in plain JSON types."""
        client = self.open(CONNECT_S)
        return {
            "endpoint": self.endpoint,
            "engine": client.welcome.engine,
            "model": client.welcome.model,
            "limits": client.welcome.limits,
            "stats": client.stats(timeout=CONNECT_S),
            "npcs": msgspec.to_builtins(client.list_npcs(timeout=CONNECT_S)),
        }


def _once(link: _Link, every_s: float) -> None:
    """Print one frame. It takes two looks: a speed is a difference."""
    before = link.look()
    time.sleep(every_s)
    now = link.look()
    glyphs = glyphs_for(getattr(sys.stdout, "encoding", None))
    width = shutil.get_terminal_size().columns
    rows = draw(now, rates(before, now), width, height=MOST_ROWS, glyphs=glyphs)
    text = ("".join(text for _style, text in row).rstrip() for row in rows)
    write("\n".join(text))


def _live(link: _Link, every_s: float, clock: Callable[[], float]) -> int:
    from npc_engine.cli.terminal import open_screen  # here: one frame needs no rich

    screen = open_screen()
    try:
        with listening() as wait, screen.frames() as put:

            def show(sample: Sample, speeds: Rates, problem: str) -> None:
                width, height = screen.size
                put(
                    draw(
                        *(sample, speeds, width),
                        height=height,
                        glyphs=screen.glyphs,
                        problem=problem,
                    )
                )

            watch(link.look, show, wait, every_s, clock)
    except ConnectionLost as error:
        screen.problem(error)
        return 1
    return 0


def watch(
    look: Callable[[], Sample],
    show: Callable[[Sample, Rates, str], None],
    wait: Wait,
    every_s: float,
    clock: Callable[[], float],
) -> None:
    """Look and show until q is pressed. Raises ConnectionLost when the engine stays away."""
    seen = deque([look()])
    lost_at: float | None = None
    problem = ""
    while True:
        show(seen[-1], Rates() if problem else rates(seen[0], seen[-1]), problem)
        if wait(every_s) in ("q", "Q"):
            return
        try:
            sample = look()
        except ConnectionLost as error:
            now = clock()
            lost_at = now if lost_at is None else lost_at
            left_s = GIVE_UP_S - (now - lost_at)
            if left_s <= 0:
                raise
            problem = f"{error.message} Trying again for {left_s:.0f} s; q leaves."
        else:
            if problem:
                seen.clear()
            lost_at, problem = None, ""
            seen.append(sample)
            while len(seen) * every_s > RATES_S + every_s and len(seen) > 2:
                seen.popleft()
