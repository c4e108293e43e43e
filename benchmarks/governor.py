"""`--threads auto` beside every fixed count: quiet, and with a busy game on the same cores.

usage: python benchmarks/governor.py [--model GGUF] [--speakers 1,8] [--busy 0,2] [--json]

Some minutes. `--check` makes the exit status 1 when auto is below 90 % of the best fixed count on
the quiet machine, or below 80 % of it beside busy processes.

Each way has an engine of its own over the same weights. They take turns of `--seconds` in every
round, all with as many speakers who never end their lines, so that a noisy machine weighs on all
alike. Before the rounds auto has a turn to find its count, as it would in the first minute of a
game; `--cold` leaves that out. The busy processes spin, which is the worst a game can do, and end
with this one, whatever happens to it.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from npc_engine.config import Settings
from npc_engine.cores import OthersLoad, n_usable_cores
from npc_engine.crowd import Endless
from npc_engine.engine import Engine
from npc_engine.llama import Llama
from npc_engine.llama_model import Layout, Model
from npc_engine.loading import n_auto_threads, voice_of
from npc_engine.speech import Speech
from npc_engine.threads import Threads

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
CARD = {"name": "Mara", "description": "Mara keeps the Crooked Lantern inn by the harbour."}
GOALS = {"quiet": 0.9, "busy": 0.8}
MAX_GAME_S = 1800  # a busy process ends by itself, also when nobody is left to end it
SPIN = """
import os, time
parent, until = os.getppid(), time.monotonic() + {}
while time.monotonic() < until and os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


@contextlib.contextmanager
def busy_game(n: int) -> Iterator[None]:
    """Run `n` processes that do nothing, as fast as they can."""
    command = [sys.executable, "-c", SPIN.format(MAX_GAME_S)]
    with contextlib.ExitStack() as stack:
        for _ in range(n):
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        yield


class Way:
    """An engine whose threads are chosen one way, and its speakers. `n_threads`: None is auto."""

    def __init__(self, model: Model, n_threads: int | None, n_speakers: int, saves: str) -> None:
        self.name = "auto" if n_threads is None else str(n_threads)
        first = n_threads or n_auto_threads()
        llama = Llama(
            model, n_slots=n_speakers, n_cells=1024, n_threads=first, layout=Layout("f16", "f16")
        )
        voice = voice_of(model)
        voice.vocabulary = Endless(model)
        is_auto = n_threads is None
        self.engine = Engine(
            llama,
            voice,
            Settings(saves=saves, slots=n_speakers, window=1024),
            threads=Threads(first, n_usable_cores()) if is_auto else None,
            load=OthersLoad(time.perf_counter) if is_auto else lambda: None,
        )
        self.n_tokens, self.seconds = 0, 0.0
        for i in range(n_speakers):
            self.engine.spawn(f"npc{i}", CARD, sampling={"seed": i})
        self._speeches: list[Speech] = []

    def turn(self, seconds: float, counts: bool = True) -> None:
        """Let everybody speak for so long, each from a short context. Only that time counts."""
        for i, name in enumerate(list(self.engine.stage.characters)):
            self.engine.despawn(name)
            self.engine.spawn(name, CARD, sampling={"seed": i})
            self._speeches.append(self.engine.say(name, "Tell me of the sea.", max_tokens=100_000))
        characters = [c.claim for c in self.engine.stage.characters.values()]
        while not all(claim.speaking for claim in characters):
            self.engine.step()
        began, n_before = time.perf_counter(), self.engine._n_decoded
        while time.perf_counter() - began < seconds and all(c.speaking for c in characters):
            self.engine.step()
        if counts:
            self.seconds += time.perf_counter() - began
            self.n_tokens += self.engine._n_decoded - n_before
        while self._speeches:
            self._speeches.pop().close()

    @property
    def tps(self) -> float:
        return self.n_tokens / self.seconds if self.seconds else 0.0


def measure(model: Model, n_speakers: int, n_busy: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return tokens/s of every way."""
    counts = [*range(1, n_usable_cores() + 1)] if args.counts is None else args.counts
    with tempfile.TemporaryDirectory() as saves, busy_game(n_busy):
        ways = [Way(model, n, n_speakers, saves) for n in (None, *counts)]
        try:
            if not args.cold:
                ways[0].turn(args.warm_up, counts=False)
            for _ in range(args.rounds):
                for way in ways:
                    way.turn(args.seconds)
                    print(".", end="", flush=True, file=sys.stderr)
            stats = ways[0].engine.stats()
            tps = {way.name: way.tps for way in ways}
        finally:
            for way in ways:
                way.engine.close()
    best = max(tps[str(n)] for n in counts)
    return {
        "speakers": n_speakers,
        "busy": n_busy,
        "tps": tps,
        "ratio": tps["auto"] / best,
        "n_threads": stats["n_threads"],
        "n_thread_switches": stats["n_thread_switches"],
        "load": stats["load"],
    }


def numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


def main() -> int:
    """Print the table; with --check, exit status 1 when auto is below its goals."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--speakers", type=numbers, default=[1, 8], help="how many, by comma")
    parser.add_argument("--busy", type=numbers, default=[0, n_usable_cores()], help="by comma")
    parser.add_argument("--counts", type=numbers, help="fixed counts of threads (default: all)")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds of auto's first turn")
    parser.add_argument("--cold", action="store_true", help="no warm-up")
    parser.add_argument("--check", action="store_true", help="fail below 90 %% and 80 %%")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    model = Model(args.model)
    rows = [measure(model, n, busy, args) for busy in args.busy for n in args.speakers]
    print(file=sys.stderr)
    model.close()
    if args.json:
        print(json.dumps({"model": args.model.name, "rows": rows}, indent=2))
    else:
        show(rows, args.model.name)
    below = [row for row in rows if row["ratio"] < GOALS["busy" if row["busy"] else "quiet"]]
    for row in below:
        print(f"Too slow: {row['speakers']} speakers, {row['busy']} busy.", file=sys.stderr)
    return 1 if below and args.check else 0


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the table."""
    names = list(rows[0]["tps"])
    print(f"{title}, tokens/s by number of threads")
    head = "".join(f"{name:>9}" for name in names)
    print(f"{'speakers':>8} {'busy':>5}{head} {'auto/best':>10} {'ends at':>8} {'switches':>9}")
    for row in rows:
        tps = "".join(f"{row['tps'][name]:>9.1f}" for name in names)
        print(
            f"{row['speakers']:>8} {row['busy']:>5}{tps} {row['ratio']:>9.1%} "
            f"{row['n_threads']:>8} {row['n_thread_switches']:>9}"
        )


if __name__ == "__main__":
    sys.exit(main())
