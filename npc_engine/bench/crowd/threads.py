"""The part `governor` of `bench crowd`: `--threads auto` beside every fixed count.

Owns the turns: on the machine as it is, then beside a busy game. Each way to choose threads has an
engine of its own over the same weights. In every round all take a turn with as many speakers who
never end their lines. Auto has a turn of its own before the rounds to find its count, as it would
in the first minute of a game; what it tries out later counts.

A busy game is processes that spin, the worst that a game can do. They end with this process,
whatever happens to it: each reads its stdin, which closes even when this process is killed.
"""

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from npc_engine.bench.crowd.crowd import MOST_TOKENS, ROOM, Crowd
from npc_engine.bench.crowd.figures import AUTO, N_SHARED_PAST, Measured, Sharing
from npc_engine.bench.crowd.setup import Setup, check_room
from npc_engine.cpu import n_usable_cores
from npc_engine.errors import BackendError

__all__ = ["SPIN", "busy_game", "governor", "n_turns"]

SPEAKERS = (1, 8)
N_WARM_UP = 2.5  # turns
SPIN = """
import os, sys, threading
def leave():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=leave, daemon=True).start()
while True:
    pass
"""


def governor(setup: Setup, found: Measured) -> Iterator[str]:
    """Let auto and every fixed count speak by turns: quiet, then beside a busy game."""
    names = _names()
    check_room(setup, setup.layout, len(names) * max(SPEAKERS), N_SHARED_PAST + ROOM)
    with ExitStack() as stack:
        ways: dict[str, Crowd] = {}
        for name in names:
            yield f"threads {name}: reading"
            n_threads = None if name == AUTO else int(name)
            ways[name] = Crowd(setup.model, setup.layout, max(SPEAKERS), N_SHARED_PAST, n_threads)
            stack.callback(ways[name].close)
        for n_busy in _games(setup):
            with busy_game(n_busy) as is_busy:
                for n in SPEAKERS:
                    yield from _rounds(setup, found, ways, Sharing(n, n_busy), is_busy)


def n_turns(setup: Setup) -> int:
    """Return how often `governor` yields."""
    n_ways = len(_names())
    return n_ways + len(_games(setup)) * len(SPEAKERS) * (1 + setup.n_rounds * n_ways)


def _names() -> list[str]:
    return [AUTO, *map(str, range(1, n_usable_cores() + 1))]


def _games(setup: Setup) -> list[int]:
    """How many processes spin: none at first, for auto comes upon a busy game from a quiet one."""
    return sorted({0, setup.n_busy})


def _rounds(
    setup: Setup,
    found: Measured,
    ways: Mapping[str, Crowd],
    sharing: Sharing,
    is_busy: Callable[[], bool],
) -> Iterator[str]:
    """All turns of so many speakers; what stands in `found` are whole rounds."""
    where = f"{sharing.n_speakers} speaking, {sharing.n_busy} busy processes"
    yield f"{where}: auto finds its count"
    _turn(ways[AUTO], sharing.n_speakers, N_WARM_UP * setup.turn_s)
    for number in range(setup.n_rounds):
        turns = {}
        for name, crowd in ways.items():
            yield f"{where}: threads {name}, round {number + 1} of {setup.n_rounds}"
            turns[name] = _turn(crowd, sharing.n_speakers, setup.turn_s)
        if not is_busy():
            raise BackendError("A busy process ended by itself.", "Leave it out: --busy 0.")
        if not sharing.rounds:
            found.sharing.append(sharing)
        sharing.rounds.append(turns)
        sharing.stats = ways[AUTO].engine.stats()


def _turn(crowd: Crowd, n: int, seconds: float) -> tuple[int, float]:
    """Let n speak for so long; return their tokens, and how long it was."""
    try:
        crowd.gather(n)
        ((done_s, tokens),) = deque(crowd.chatter(seconds, MOST_TOKENS), maxlen=1)
    finally:
        crowd.clear()
    return sum(tokens), done_s


@contextmanager
def busy_game(n: int) -> Iterator[Callable[[], bool]]:
    """Run n processes that do nothing, as fast as they can; gives whether all still do."""
    with ExitStack() as stack:
        processes = []
        for _ in range(n):
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", "-c", SPIN],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # Ctrl-C reaches it as well, and it would say so
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        yield lambda: all(process.poll() is None for process in processes)
