"""Which compiler makes the faster llama.cpp here: two builds, in turns, without AMX and with it.

    python benchmarks/gcc_or_zig.py MODEL... [--requantize Q4_0] [--amx] [--out FILE.md]

Most players' CPUs have no AMX, so both builds do without it; `--amx` lets zig's use it, which
gcc's cannot. Each build is a wheel of the set-up's own cache, made if it is not there (some
minutes each), and runs in a process of its own that waits while the other one measures. Speeds are
medians of the rounds, `zig / gcc` is the median of the rounds' ratios. Linux alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from build_llama import wheel_for
from compilers import AMX_OFF, Compiler, choose, probe_gcc

ROOT = Path(__file__).resolve().parent.parent
QUANTIZATIONS = {"Q4_0": 2, "Q4_1": 3, "Q4_K_M": 15}  # llama.h: enum llama_ftype
N_READ, N_DEPTH, N_STEPS = 256, 128, 16


def main() -> None:
    options = _options()
    python = ROOT / ".venv" / "bin" / "python"
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        workers = {}
        for name, compiler in _compilers(options.amx).items():
            wheel = wheel_for(compiler, python).wheel
            folder = Path(scratch, name)
            pip = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--target"]
            subprocess.run([*pip, str(folder), str(wheel)], check=True)
            workers[name] = stack.enter_context(Worker(python, folder))
        models = list(_models(options, workers["gcc"], Path(scratch)))
        rows = [
            _compare(workers, model, n_threads, options)
            for model in models
            for n_threads in options.threads
        ]
    text = _report([row for part in rows for row in part], options)
    print(text)
    if options.out:
        options.out.write_text(text, "utf-8")


def _compilers(amx: bool) -> dict[str, Compiler]:
    gcc = choose(lambda: None, probe_gcc, system="Linux", wanted="gcc")
    zig = choose(lambda: None, lambda: None, system="Linux", wanted="zig")
    return {"gcc": gcc, "zig": zig if amx else replace(zig, flags=AMX_OFF)}


class Worker:
    """One build in a process of its own; it answers a line of JSON with a line of JSON."""

    def __init__(self, python: Path, folder: Path) -> None:
        paths = os.pathsep.join((str(folder), str(ROOT)))
        self._child = subprocess.Popen(
            [python, __file__, "--worker"],
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(60)

    def ask(self, **request: object) -> Any:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        return json.loads(self._child.stdout.readline())


def _models(options: argparse.Namespace, worker: Worker, scratch: Path) -> Iterator[Path]:
    yield from options.models
    for kind in options.requantize:
        made = scratch / f"{options.models[0].stem} as {kind}.gguf"
        worker.ask(quantize=[str(options.models[0]), str(made), QUANTIZATIONS[kind]])
        yield made


def _compare(
    workers: dict[str, Worker], model: Path, n_threads: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a row for reading and one for each number of speakers."""
    for worker in workers.values():
        worker.ask(open=str(model), n_threads=n_threads, n_slots=max(options.speakers))
    rows = []
    for n in (0, *options.speakers):
        speeds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(options.rounds):
            for name, worker in workers.items():
                speeds[name].append(worker.ask(speakers=n))
        ratio = median(z / g for g, z in zip(speeds["gcc"], speeds["zig"], strict=True))
        medians = {name: median(each) for name, each in speeds.items()}
        rows.append({"model": model.stem, "threads": n_threads, "n": n, "ratio": ratio, **medians})
    return rows


def _report(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    how = "zig's with it" if options.amx else "both without it"
    lines = [
        f"# gcc and zig{', AMX for zig' if options.amx else ', AMX off'}",
        "",
        f"    python benchmarks/gcc_or_zig.py {' '.join(_shown(a) for a in sys.argv[1:])}",
        "",
        f"{options.rounds} rounds in turns, AMX: {how}. {os.cpu_count()} cores, load average at "
        f"the end {psutil.getloadavg()[1]:.1f}. Tokens per second; each speaker has {N_DEPTH} "
        "tokens of past.",
        "",
        "| model | threads | what | gcc | zig | zig / gcc |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for row in rows:
        what = f"{row['n']} speaking" if row["n"] else f"reading {N_READ}"
        lines.append(
            f"| {row['model']} | {row['threads']} | {what} | {row['gcc']:.0f} | {row['zig']:.0f} "
            f"| {row['ratio']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _shown(argument: str) -> str:
    return Path(argument).name if argument.endswith(".gguf") else argument


def _options() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(each) for each in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--requantize", nargs="*", choices=QUANTIZATIONS, default=[])
    parser.add_argument("--speakers", type=numbers, default=[1, 8])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--amx", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


class Bench:
    """What a worker does: holds one model, and measures reading or some speakers."""

    def __init__(self, model: str, n_threads: int, n_slots: int) -> None:
        from npc_engine.llama.context import Llama
        from npc_engine.llama.model import Layout, Model

        # One slot more: it reads while the others keep their past.
        self._reader = n_slots
        self._llama = Llama(
            Model(Path(model)),
            n_slots=n_slots + 1,
            n_cells=(n_slots + 1) * 512,
            n_batch=N_READ,
            n_threads=n_threads,
            layout=Layout("f16", "f16", flash_attn=False),
            owns_model=True,
        )
        for slot in range(n_slots):
            self._decode({slot: N_DEPTH}, 0)

    def close(self) -> None:
        self._llama.close()

    def measure(self, n: int) -> float:
        """Return tokens per second: of a prompt for 0, else of n speakers."""
        began = time.perf_counter()
        if n == 0:
            self._decode({self._reader: N_READ}, 0)
        for step in range(N_STEPS if n else 0):
            self._decode(dict.fromkeys(range(n), 1), N_DEPTH + step)
        took = time.perf_counter() - began
        for slot in range(n):
            self._llama.remove(slot, N_DEPTH, -1)
        self._llama.remove(self._reader, 0, -1)
        return (n * N_STEPS if n else N_READ) / took

    def _decode(self, n_tokens: dict[int, int], position: int) -> None:
        from npc_engine.llama.context import Span

        texts = {slot: [(i * 37) % 5000 + 300 for i in range(n)] for slot, n in n_tokens.items()}
        self._llama.decode([Span(slot, position, text, True) for slot, text in texts.items()])


def _worker() -> None:
    bench: Bench | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if "quantize" in request:
            answer: object = _quantize(*request["quantize"])
        elif "open" in request:
            if bench:
                bench.close()
            bench = Bench(request["open"], request["n_threads"], request["n_slots"])
            answer = None
        else:
            assert bench is not None
            answer = bench.measure(request["speakers"])
        print(json.dumps(answer), flush=True)


def _quantize(source: str, target: str, kind: int) -> int:
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = kind, True
    return int(llama_cpp.llama_model_quantize(source.encode(), target.encode(), params))


if __name__ == "__main__":
    _worker() if "--worker" in sys.argv else main()
