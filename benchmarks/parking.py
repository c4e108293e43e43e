"""What an idle resident costs a speaker, and what parking costs against reading again.

    python benchmarks/parking.py [--model GGUF] [--threads 2] [--rounds 12] [--kv f16] [--json]

1. Milliseconds of a step of one speaker beside 0 to 7 idle residents of 900 tokens: what eager
   parking could win. `slots` parks lazily where this is flat.
2. Milliseconds to park a character of 1,000 tokens, to call it in from memory and from disk, and to
   read it again from its tokens: what lazy parking saves.

From both follows the crossover: after how many steps of others parking eagerly would have paid for
itself. Everything takes turns in one run, so that what else the machine does hits all alike;
medians. A step's KV cache is split, as the engine has it.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.kvcache.sequence import Sequence
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Layout, Model

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
N_IDLE = 7
N_RESIDENT = 900  # tokens
N_PARKED = 1000
N_CELLS = 2048
N_BATCH = 256
N_STEPS = 8  # of a speaker, in each round and for each number of residents


def main() -> None:
    args = _parse()
    model = Model(args.model)
    type_k, _, type_v = args.kv.partition("/")
    layout = Layout(type_k, type_v or type_k, args.flash)
    llama = Llama(
        model,
        n_slots=N_IDLE + 2,
        n_cells=N_CELLS,
        n_batch=N_BATCH,
        n_threads=args.threads,
        layout=layout,
    )
    found = {
        "model": model.name,
        "layout": str(layout),
        "n_threads": args.threads,
        "step_ms": step_times(llama, args.rounds),
        "moves_ms": move_times(llama, args.rounds),
    }
    llama.close()
    model.close()
    _add_ratios(found)
    print(json.dumps(found, indent=2) if args.json else _table(found))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What parking costs, and what it saves.")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--kv", default="f16", help="a KV type, or K/V")
    parser.add_argument("--flash", action="store_true", help="with flash attention")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


# -- 1: a speaker beside idle residents ----------------------------------------------------------


def step_times(llama: Llama, n_rounds: int) -> dict[int, float]:
    """Return the median milliseconds of a speaker's step, by the number of idle residents."""
    speaker, idle = 0, list(range(1, N_IDLE + 1))
    for slot in (speaker, *idle):
        _read(llama, slot, N_RESIDENT)
    times: dict[int, list[float]] = {n: [] for n in range(N_IDLE + 1)}
    payloads = {slot: llama.export(slot) for slot in idle}
    n_sitting = N_IDLE
    for _ in range(n_rounds):
        for n in random.sample(list(times), len(times)):  # no number always follows another
            for slot in idle[n:n_sitting]:
                llama.remove(slot, 0, -1)
            for slot in idle[n_sitting:n]:
                llama.restore(slot, payloads[slot])
            n_sitting = n
            times[n] += _steps(llama, speaker)
    for slot in (speaker, *idle):
        llama.remove(slot, 0, -1)
    return {n: median(each) for n, each in times.items()}


def _steps(llama: Llama, slot: int) -> list[float]:
    """Milliseconds of each of a few steps, from the same depth every time."""
    times = [
        _timed(partial(llama.decode, [Span(slot, N_RESIDENT + i, [400], True)]))
        for i in range(N_STEPS + 1)
    ]
    llama.remove(slot, N_RESIDENT, -1)
    return times[1:]  # the first one after a move finds cold caches


def _read(llama: Llama, slot: int, n: int) -> None:
    tokens = [(i * 37) % 5000 + 300 for i in range(n)]
    for first in range(0, n, N_BATCH):
        llama.decode([Span(slot, first, tokens[first : first + N_BATCH], True)])


# -- 2: out of a slot, back, and read again ------------------------------------------------------


def move_times(llama: Llama, n_rounds: int) -> dict[str, float]:
    """Return the median milliseconds to park, to call in, and to read again."""
    sequence = Sequence(Ledger(N_CELLS, llama.n_pos), llama)
    tokens = [(i * 37) % 5000 + 300 for i in range(N_PARKED)]
    sequence.append(Segment(Kind.PERSONA, tokens, pinned=True))
    sequence.take_slot(0)
    times: dict[str, list[float]] = {
        name: [] for name in ("read again", "park", "call in", "write", "call in from disk")
    }
    with tempfile.TemporaryDirectory(prefix="npc-engine-bench-") as folder:
        for i in range(n_rounds):
            sequence.forget_cache()
            times["read again"].append(_timed(lambda: _read_all(sequence, llama)))
            times["park"].append(_timed(sequence.park))
            times["call in"].append(_timed(lambda: sequence.take_slot(0)))
            sequence.park()
            times["write"].append(_timed(partial(_to_disk, sequence, Path(folder) / str(i))))
            times["call in from disk"].append(_timed(lambda: sequence.take_slot(0)))
            if sequence.n_pending:
                raise SystemExit("A payload was lost: these times mean nothing.")
    return {name: median(each) for name, each in times.items()}


def _read_all(sequence: Sequence, llama: Llama) -> None:
    while sequence.n_pending:
        span = sequence.ledger.pending(N_BATCH)
        llama.decode([Span(0, sequence.ledger.next_pos, span, True)])
        sequence.commit(len(span))


def _to_disk(sequence: Sequence, path: Path) -> None:
    if sequence.copy is None:
        raise SystemExit("Nothing was parked.")
    sequence.copy.write(path)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


# -- what follows ----------------------------------------------------------------------------------


def _add_ratios(found: dict[str, Any]) -> None:
    steps, moves = found["step_ms"], found["moves_ms"]
    per_idle = (steps[N_IDLE] - steps[0]) / N_IDLE
    both = moves["park"] + moves["call in"]
    found["ms_per_idle_resident"] = per_idle
    found["crossover_steps"] = both / per_idle if per_idle > 0 else None
    found["read_again_over_call_in"] = moves["read again"] / moves["call in"]
    found["read_again_over_call_in_from_disk"] = moves["read again"] / moves["call in from disk"]


def _table(found: dict[str, Any]) -> str:
    rows = [f"{found['model']}, {found['layout']}, {found['n_threads']} threads", ""]
    rows.append(f"a step of one speaker beside idle residents of {N_RESIDENT} tokens:")
    rows += [f"  {n} idle {ms:10.2f} ms" for n, ms in found["step_ms"].items()]
    rows += ["", f"a character of {N_PARKED} tokens:"]
    rows += [f"  {name:18}{ms:10.2f} ms" for name, ms in found["moves_ms"].items()]
    crossover = found["crossover_steps"]
    rows += [
        "",
        f"reading again takes {found['read_again_over_call_in']:.1f} times a call-in, "
        f"{found['read_again_over_call_in_from_disk']:.1f} times one from disk",
        f"an idle resident costs {found['ms_per_idle_resident']:.3f} ms a step: parking it eagerly "
        + (f"pays after {crossover:.0f} steps" if crossover else "never pays"),
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
