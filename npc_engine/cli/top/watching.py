"""Looking at a running engine: once, or again and again until it is gone or the player leaves.

Owns the connection, which begins anew when the engine is gone; over how long speeds are taken; and
how long an engine that is gone is waited for. The picture is `picture`'s.
"""

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from npc_engine.cli.flags import CONNECT_S
from npc_engine.cli.keyboard import listening
from npc_engine.cli.output import write
from npc_engine.cli.top.picture import draw
from npc_engine.cli.top.sample import Rates, Sample, rates
from npc_engine.cli.window_bars import glyphs_for
from npc_engine.client.zmq_client import Client
from npc_engine.errors import ConnectionLost

__all__ = ["GIVE_UP_S", "MOST_ROWS", "Link", "live", "once", "watch"]

GIVE_UP_S = 30.0
AGAIN_S = 1.0  # as CONNECT_S, of one that has gone and may come back
RATES_S = 2.0  # over how long speeds are taken: half a second holds few steps on a slow machine
MOST_ROWS = 20  # of a frame that goes to no screen

Wait = Callable[[float], str]


class Link:
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


def once(link: Link, every_s: float) -> None:
    """Print one frame. It takes two looks: a speed is a difference."""
    before = link.look()
    time.sleep(every_s)
    now = link.look()
    glyphs = glyphs_for(getattr(sys.stdout, "encoding", None))
    width = shutil.get_terminal_size().columns
    rows = draw(now, rates(before, now), width, height=MOST_ROWS, glyphs=glyphs)
    text = ("".join(text for _style, text in row).rstrip() for row in rows)
    write("\n".join(text))


def live(link: Link, every_s: float, clock: Callable[[], float]) -> int:
    """Fill the screen again and again; return the exit status: 1 when the engine stays away."""
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
