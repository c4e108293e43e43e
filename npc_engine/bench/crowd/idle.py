"""The part `idle` of `bench crowd`: what a server takes with 50 characters that nobody speaks to.

Owns the server, a process of its own as a game would start it, and that it has come to rest before
its processor time is counted: what it reads in the first pause is work, and no idling.
"""

import math
import tempfile
import time
from collections.abc import Iterator

import psutil

from npc_engine.bench.crowd.figures import N_IDLE, Idle, Measured
from npc_engine.bench.crowd.setup import Setup
from npc_engine.cards.small_talk import CARD, lines
from npc_engine.client.sidecar import Sidecar
from npc_engine.client.zmq_client import Client
from npc_engine.errors import BackendError

__all__ = ["idle", "n_looks"]

LOOK_S = 1.0
N_RESTING = 3  # looks in a row without a step
MOST_READING_S = 900.0


def idle(setup: Setup, found: Measured) -> Iterator[str]:
    """Watch a server with 50 characters: they have met, heard something, and wait."""
    yield "a server starts"
    with (
        tempfile.TemporaryDirectory() as saves,
        Sidecar(setup.model.path, "--saves", saves) as server,
        server.client() as client,
    ):
        yield f"{N_IDLE} characters come"
        _fill(client)
        yield f"{N_IDLE} characters: the server reads"
        _await_rest(client)
        yield from _watch(psutil.Process(server.pid), setup.idle_s, found)


def n_looks(setup: Setup) -> int:
    """Return how often `idle` yields."""
    return 3 + math.ceil(setup.idle_s / LOOK_S)


def _fill(client: Client) -> None:
    """Bring everybody: no two alike, as in a game. One has spoken, all have heard something."""
    for i, line in enumerate(lines(N_IDLE)):
        about = f"{CARD['description']} A question that is still open: {line}"
        client.spawn(f"npc{i}", {"name": f"{CARD['name']} {i}", "description": about})
    client.event("A dog barks.")
    client.say("npc7", "Hello.", max_tokens=8).wait()


def _await_rest(client: Client) -> None:
    """Wait until the engine does no more steps. Raises BackendError when it never rests."""
    deadline = time.monotonic() + MOST_READING_S
    n_same, n_steps = 0, -1
    while n_same < N_RESTING:
        if time.monotonic() > deadline:
            raise BackendError(
                f"The server still works after {MOST_READING_S:g} s in which nobody spoke.",
                "Leave this part out (--parts), or give a smaller model.",
            )
        time.sleep(LOOK_S)
        now = client.stats()["n_steps"]
        n_same, n_steps = (n_same + 1 if now == n_steps else 0), now


def _watch(process: psutil.Process, seconds: float, found: Measured) -> Iterator[str]:
    """Count its processor time, look by look: an interrupted watch keeps those that were."""
    began, before = time.perf_counter(), _cpu_s(process)
    for number in range(math.ceil(seconds / LOOK_S)):
        yield f"{N_IDLE} characters: the server idles"
        until = began + min((number + 1) * LOOK_S, seconds)
        time.sleep(max(0.0, until - time.perf_counter()))
        seconds_now = time.perf_counter() - began
        found.idle = Idle(N_IDLE, seconds_now, _cpu_s(process) - before, before)


def _cpu_s(process: psutil.Process) -> float:
    """Seconds of a process and its children: on Windows a virtual environment's is a launcher."""
    try:
        every = [process, *process.children(recursive=True)]
        times = [one.cpu_times() for one in every]
    except psutil.Error:
        raise BackendError("The server ended while it was watched.") from None
    return sum(one.user + one.system for one in times)
