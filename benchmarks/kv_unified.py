"""A split or a unified KV cache? What a step takes, with idle residents beside those who speak.

usage: python benchmarks/kv_unified.py MODEL.gguf [--speakers 1,2,4,8] [--idle 0,4,8,16]
           [--depths 512,1024,2048] [--rounds 7] [--threads 1] [--out kv_unified.json]

Milliseconds of a step with one row for each speaker, sampling left out: it is the same in both.
Every sequence, idle ones too, holds as many tokens as the depth says. Split and unified, in plain
f16 and in the layout that is fastest here, take turns step by step; medians. A history is read
once in each context and copied into its other slots, on a clean cache for each row of the table.

A second table: does it matter in which slots eight speakers sit (split)? llama.cpp decodes rows
together only where their slots follow each other, so the engine sorts them.

Writes OUT as JSON and the tables beside it as Markdown. Ctrl-C writes what there is.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from npc_engine.bench.crowd.timed_llama import Past, Timed
from npc_engine.bench.shared.report import write_json, write_text
from npc_engine.bench.shared.run import progress
from npc_engine.errors import ModelError, NpcError
from npc_engine.llama.context import Span
from npc_engine.llama.kv_layout import choose_layout
from npc_engine.llama.machine import library
from npc_engine.llama.measurements import cpu_name
from npc_engine.llama.model import Layout, Model
from npc_engine.loading import n_auto_threads

PLAIN = Layout("f16", "f16")
ROOM = 64  # cells beyond the depth, for the steps
MOST_S = 6.0  # for the rounds of one row of the table, where there were MIN_ROUNDS of them
MIN_ROUNDS = 3
RESERVE_BYTES = 2 << 30
SEATS = {
    "in order": [0, 1, 2, 3, 4, 5, 6, 7],
    "reversed": [7, 6, 5, 4, 3, 2, 1, 0],
    "shuffled": [3, 0, 6, 1, 7, 4, 2, 5],
    "with gaps": [0, 2, 4, 6, 8, 10, 12, 14],
}


class Side:
    """One kind of cache, with room for all sequences at the largest depth."""

    def __init__(
        self, model: Model, layout: Layout, unified: bool, n_slots: int, depth: int, n_threads: int
    ) -> None:
        self.layout, self.unified = layout, unified
        self.name = f"{'unified' if unified else 'split'}, {layout}"
        need = model.kv_bytes_per_token(layout) * n_slots * (depth + ROOM)
        if need + RESERVE_BYTES > psutil.virtual_memory().available:
            raise ModelError(f"{self.name}: no room for {need >> 20} MiB.")
        self._llama = Timed(
            model,
            n_slots=n_slots,
            n_cells=depth + ROOM,
            n_threads=n_threads,
            layout=layout,
            unified=unified,
        )
        self._n_slots = n_slots
        self._past = Past(self._llama, [997 * i % model.n_vocab for i in range(depth)])
        self._ends: dict[int, int] = {}

    def fill(self, n_speakers: int, n_idle: int, depth: int) -> None:
        """Seat the speakers first, then the idle ones; nobody else is there."""
        for slot in range(self._n_slots):
            self._llama.remove(slot, 0, -1)
        self._past.fill(n_speakers + n_idle, depth)
        self._ends = dict.fromkeys(range(n_speakers + n_idle), depth)

    def step(self, slots: Sequence[int]) -> float:
        """Decode one row for each of these slots; return the milliseconds it took."""
        spans = [Span(slot, self._ends[slot], [1], True) for slot in slots]
        began = time.perf_counter()
        self._llama.decode(spans)
        taken = (time.perf_counter() - began) * 1000
        for slot in slots:
            self._ends[slot] += 1
        return taken

    def close(self) -> None:
        self._llama.close()


def compare(sides: Sequence[Side], slots: Sequence[int], n_rounds: int) -> dict[str, float]:
    """Return each side's usual step; the first one also builds the graph, and does not count."""
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for side in sides:
        side.step(slots)
    began = time.perf_counter()
    for i in range(n_rounds):
        for side in sides:
            times[side.name].append(side.step(slots))
        if i + 1 >= MIN_ROUNDS and time.perf_counter() - began > MOST_S:
            break
    return {name: median(taken) for name, taken in times.items()}


def slots(sides: Sequence[Side], depth: int, n_rounds: int) -> dict[str, dict[str, float]]:
    """Return the usual step by where eight speakers sit, of split caches with 16 slots."""
    split = [side for side in sides if not side.unified]
    for side in split:
        side.fill(16, 0, depth)
    times: dict[str, dict[str, list[float]]] = {
        side.name: {kind: [] for kind in SEATS} for side in split
    }
    for _ in range(n_rounds):
        for kind, slots in SEATS.items():
            for side in split:
                side.step(slots)  # another order than the last step's: a graph of its own
                times[side.name][kind].append(side.step(slots))
    return {
        name: {kind: median(taken) for kind, taken in kinds.items()}
        for name, kinds in times.items()
    }


def measure(args: argparse.Namespace, model: Model, found: dict[str, Any]) -> None:
    """Fill `found` row by row, so that Ctrl-C loses none."""
    layouts = dict.fromkeys((PLAIN, choose_layout(model, "auto", "auto", args.threads)))
    n_slots, deepest = max(args.speakers) + max(args.idle), max(args.depths)
    sides: list[Side] = []
    rows = [(d, s, i) for d in args.depths for s in args.speakers for i in args.idle]
    try:
        for layout in layouts:
            for unified in (False, True):
                try:
                    side = Side(model, layout, unified, n_slots, deepest, args.threads)
                except ModelError as error:
                    found["left_out"].append(error.message)
                else:
                    sides.append(side)
        with progress(len(rows) + 1, "kv") as show:
            for n, (depth, n_speakers, n_idle) in enumerate(rows):
                show(n, f"depth {depth}, {n_speakers} speaking, {n_idle} idle")
                for side in sides:
                    side.fill(n_speakers, n_idle, depth)
                ms = compare(sides, range(n_speakers), args.rounds)
                row = {"depth": depth, "n_speakers": n_speakers, "n_idle": n_idle, "ms": ms}
                found["rows"].append(row)
            if n_slots >= 16:
                show(len(rows), "where they sit")
                depth = min(args.depths, key=lambda d: abs(d - 1024))
                found["seats"] = {"depth": depth, "ms": slots(sides, depth, args.rounds)}
    finally:
        for side in sides:
            side.close()


def markdown(found: Mapping[str, Any]) -> str:
    """Return both tables with what they are of."""
    threads = "1 thread" if found["n_threads"] == 1 else f"{found['n_threads']} threads"
    parts = [
        f"# Split or unified KV cache: {found['model']}",
        f"llama-cpp-python {found['llama_cpp_python']}, {found['cpu']} "
        f"({', '.join(found['features'])}), {threads}. Milliseconds of a step with one row for "
        "each speaker, medians; every sequence holds as many tokens as the depth says. Written by "
        "`benchmarks/kv_unified.py`.",
        *found["left_out"],
    ]
    if found["rows"]:
        names = list(found["rows"][0]["ms"])
        head = ["depth", "speaking", "idle", *names]
        body = [
            [str(row[k]) for k in ("depth", "n_speakers", "n_idle")]
            + [f"{row['ms'][name]:.1f}" for name in names]
            for row in found["rows"]
        ]
        parts.append(_table(head, body))
    if found["seats"]:
        parts.append(
            f"## Where eight speakers sit, behind {found['seats']['depth']} tokens (split)"
        )
        body = [
            [name, *(f"{ms:.1f}" for ms in kinds.values())]
            for name, kinds in found["seats"]["ms"].items()
        ]
        parts.append(_table(["KV cache", *SEATS], body))
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---:"] * len(head), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def counts(text: str) -> list[int]:
    """Numbers by comma, in order."""
    found = sorted({int(part) for part in text.split(",")})
    if not found or found[0] < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers by comma")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--speakers", type=counts, default=[1, 2, 4, 8])
    parser.add_argument("--idle", type=counts, default=[0, 4, 8, 16])
    parser.add_argument("--depths", type=counts, default=[512, 1024, 2048])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=n_auto_threads())
    parser.add_argument("--out", type=Path, default=Path("kv_unified.json"))
    args = parser.parse_args()
    if not args.speakers[0] or not args.depths[0] or args.rounds < 1 or args.threads < 1:
        parser.error("speakers, depths, rounds and threads are 1 or more")
    build = library()
    try:
        model = Model(args.model)
        found: dict[str, Any] = {
            "benchmark": "kv_unified",
            "model": model.name,
            "cpu": cpu_name(),
            "features": build["features"],
            "llama_cpp_python": build["llama_cpp_python"],
            "n_threads": args.threads,
            "left_out": [],
            "rows": [],
            "seats": None,
        }
        status = 0
        try:
            measure(args, model, found)
        except KeyboardInterrupt:
            print("Interrupted: written is what was measured so far.", file=sys.stderr)
            status = 1
        write_json(args.out, found)
        page = markdown(found)
        write_text(args.out.with_suffix(".md"), page)
    except NpcError as error:
        print(error, file=sys.stderr)
        return 2
    print(page)
    return status


if __name__ == "__main__":
    sys.exit(main())
