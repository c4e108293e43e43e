"""The engine's decode loop beside a bare one: the same context, batch, depth and sampling.

usage: python benchmarks/decode_loop.py [--model GGUF] [--characters 1,8] [--rounds 6] [--json]

It takes some minutes. `--check` makes the exit status 1 when the engine is below 95 % of the bare
loop; on a machine that is busy with other things neither number means much.

Each round speaks `--tokens` tokens with every character at once through `Engine.step`, then does
the same with nothing but `llama_decode` and `llama_sampler_sample`. Only steps that hold one row
for each speaker count, and rounds alternate, so that a noisy machine disturbs both alike. What the
engine adds is bookkeeping: scheduling, ledger, detokenizer, sentences, records.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from npc_engine.config import Sampling, Settings
from npc_engine.engine import Engine
from npc_engine.llama import Llama
from npc_engine.llama_model import Layout, Model
from npc_engine.loading import n_auto_threads, voice_of

import llama_cpp.llama_cpp as C  # isort: skip  # noqa: N812

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
CARD = {"name": "Mara", "description": "Mara keeps the Crooked Lantern inn by the harbour."}
GOAL = 0.95


class Endless:
    """The model's vocabulary with no end token: every reply has the length that is asked for."""

    eog: frozenset[int] = frozenset()

    def __init__(self, model: Model) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def engine_steps(llama: Llama, voice: Any, n: int, n_tokens: int) -> tuple[list[float], int]:
    """Return the seconds of each pure decode step, and the depth at which they began (tokens)."""
    with tempfile.TemporaryDirectory() as saves:
        engine = Engine(llama, voice, Settings(saves=saves, slots=llama.n_slots))
        for i in range(n):
            engine.spawn(f"npc{i}", CARD, sampling={"seed": i})
        speeches = [
            engine.say(f"npc{i}", "Tell me of the sea.", max_tokens=n_tokens) for i in range(n)
        ]
        characters = list(engine.stage.characters.values())
        while sum(c.claim.speaking for c in characters) < n:
            engine.step()
        depth = characters[0].npc.ledger.n_tokens
        seconds = []
        while sum(c.claim.speaking for c in characters) == n:
            began = time.perf_counter()
            engine.step()
            seconds.append(time.perf_counter() - began)
        for i, speech in enumerate(speeches):
            speech.close()
            engine.despawn(f"npc{i}")
    return seconds, depth


def bare_steps(llama: Llama, n: int, n_tokens: int, depth: int) -> list[float]:
    """Return the seconds of each `llama_decode` + sampling of `n` rows, from `depth` on."""
    ctx, model = llama._ctx, llama.model
    filler = model.tokenize("Tell me of the sea. " * depth)[:depth]
    batch = C.llama_batch_init(llama.n_batch, 0, 1)
    samplers = [llama.sampler(Sampling(), i) for i in range(n)]
    try:
        for slot in range(n):
            llama.remove(slot, 0, -1)
            fill(batch, ((slot, pos, token) for pos, token in enumerate(filler)), last=depth - 1)
            check(C.llama_decode(ctx, batch))
        tokens = [filler[0]] * n
        seconds = []
        for step in range(n_tokens - 1):
            began = time.perf_counter()
            fill(batch, ((slot, depth + step, tokens[slot]) for slot in range(n)))
            check(C.llama_decode(ctx, batch))
            tokens = [
                C.llama_sampler_sample(sampler.chain, ctx, row)
                for row, sampler in enumerate(samplers)
            ]
            seconds.append(time.perf_counter() - began)
        return seconds
    finally:
        for slot in range(n):
            llama.remove(slot, 0, -1)
        for sampler in samplers:
            sampler.close()
        C.llama_batch_free(batch)


def fill(batch: Any, rows: Iterator[tuple[int, int, int]], last: int | None = None) -> None:
    """Fill a batch with (slot, position, token); logits of all rows, or of row `last` alone."""
    n = 0
    for slot, pos, token in rows:
        batch.token[n] = token
        batch.pos[n] = pos
        batch.n_seq_id[n] = 1
        batch.seq_id[n][0] = slot
        batch.logits[n] = last is None or n == last
        n += 1
    batch.n_tokens = n


def check(code: int) -> None:
    """Stop at a failed decode: a benchmark of failures says nothing."""
    if code:
        raise SystemExit(f"llama_decode returned {code}")


def measure(llama: Llama, voice: Any, n: int, n_tokens: int, rounds: int) -> dict[str, Any]:
    """Return medians over all rounds for `n` characters at once."""
    engine: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        seconds, depth = engine_steps(llama, voice, n, n_tokens)
        engine += seconds
        bare += bare_steps(llama, n, n_tokens, depth)
        print(".", end="", flush=True, file=sys.stderr)
    engine_ms = statistics.median(engine) * 1000
    bare_ms = statistics.median(bare) * 1000
    return {
        "characters": n,
        "steps": len(engine),
        "engine_ms": engine_ms,
        "bare_ms": bare_ms,
        "engine_tps": n * 1000 / engine_ms,
        "bare_tps": n * 1000 / bare_ms,
        "ratio": bare_ms / engine_ms,
    }


def main() -> int:
    """Print the table; with --check, exit status 1 when the engine is below its goal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--characters", default="1,8", help="how many speak at once, by comma")
    parser.add_argument("--tokens", type=int, default=96, help="tokens of each reply")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=n_auto_threads())
    parser.add_argument("--check", action="store_true", help="fail below 95 %% of the bare loop")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    counts = [int(n) for n in args.characters.split(",")]
    model = Model(args.model)
    layout = Layout("f16", "f16")
    llama = Llama(model, n_slots=max(counts), n_cells=512, n_threads=args.threads, layout=layout)
    voice = voice_of(model)
    voice.vocabulary = Endless(model)
    rows = [measure(llama, voice, n, args.tokens, args.rounds) for n in counts]
    print(file=sys.stderr)
    llama.close()
    if args.json:
        print(json.dumps({"model": model.name, "threads": args.threads, "rows": rows}, indent=2))
    else:
        show(rows, f"{model.name}, {layout}, {args.threads} threads")
    below = [str(row["characters"]) for row in rows if row["ratio"] < GOAL]
    if below:
        print(f"Below {GOAL:.0%} with {', '.join(below)} characters.", file=sys.stderr)
    return 1 if below and args.check else 0


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the table."""
    print(title)
    print(f"{'characters':>10} {'bare tok/s':>11} {'engine tok/s':>13} {'engine/bare':>12}")
    for row in rows:
        print(
            f"{row['characters']:>10} {row['bare_tps']:>11.1f} {row['engine_tps']:>13.1f} "
            f"{row['ratio']:>11.1%}"
        )


if __name__ == "__main__":
    sys.exit(main())
