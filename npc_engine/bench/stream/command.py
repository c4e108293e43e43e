"""`npc-engine bench stream`: a long text in a small window, every policy side by side.

Owns the command line and what goes into the report. `policies` has the policies, `reader`
measures one, `run` all of them, `report` tells the result.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from npc_engine.bench.shared.flags import Flag, add_flags, check, in_words, threads
from npc_engine.bench.shared.report import need_plots, write_json, write_text
from npc_engine.bench.shared.run import opened, say
from npc_engine.bench.stream.contexts import LAYOUT, POLICIES, Setup, check_fit, parse_policies
from npc_engine.bench.stream.figures import figures
from npc_engine.bench.stream.reader import N_BLOCK, Reader
from npc_engine.bench.stream.report import markdown, plot, text_table
from npc_engine.bench.stream.run import Run, digest
from npc_engine.bench.stream.text import read_text
from npc_engine.llama.machine import computer, library
from npc_engine.llama.model import Model
from npc_engine.loading import n_auto_threads

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "read a long text in a small window: perplexity, time and memory of every policy"
ABOUT = """\
Read a long text as an endless conversation would be read, in a small window of the KV cache, and
compare how well the model still predicts it: with full attention until it fails, with a window that
forgets the beginning, with 1, 2, 4 or 8 of the first tokens kept (attention sinks, arXiv
2309.17453), with the window read again each time, with stretched positions, and with what this
engine does: the persona pinned, old turns evicted, holes left where they were.

The policies take turns, 1,024 tokens each. Interrupt it at any time: the same command goes on.
"""
EXAMPLES = """\
policies:
  full       full attention: every token stays, until --full-tokens
  no-sinks   the last tokens of the window, moved to positions from 0 on
  sinks-K    the same, with the first K tokens kept
  recompute  the last tokens, read again from nothing (a sample of the text)
  ours       the engine's ledger: --pinned first tokens, old turns leave, holes stay
  linear     full attention with positions squeezed to half (arXiv 2306.15595)

examples:
  npc-engine bench stream --model q4.gguf --text novel.txt
  npc-engine bench stream --model q4.gguf --text novel.txt --tokens 100000 --out reports/
  npc-engine bench stream --model q4.gguf --text novel.txt --policies ours,sinks-4 --window 1024

It writes stream.json, stream.md and stream.png. With a model of 135 M parameters on one thread of a
small machine a policy takes about 8 ms a token: all of them 20 minutes for 20,000 tokens, and
two hours for 100,000.
"""
CELLS = "cells of full attention (default: 1.5 times the trained length, at most 12288)"
FLAGS = (
    Flag("text", None, "a long text, UTF-8; a novel is best", metavar="FILE", required=True),
    Flag("tokens", 20_000, "how much of it", 64),
    Flag("window", 512, "cells of a policy", 2),
    Flag("policies", ",".join(POLICIES), "which (default: all)", metavar="A,B,.."),
    Flag("pinned", 64, "ours: pinned tokens", 0),
    Flag("turn", 32, "ours: tokens of a turn", 1),
    Flag("chunk", 32, "tokens read together", 1),
    Flag("full-tokens", None, CELLS, 64),
    threads(most=None),
)
OUT = Flag("out", ".", "where to write the report (default: here)", metavar="DIR|FILE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    add_flags(parser, "the GGUF model to measure", [*FLAGS, OUT])
    parser.add_argument(
        "--no-plot", action="store_true", help="no stream.png, which needs matplotlib"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, write the report, print the table. Raises SetupError."""
    need_plots(args)
    names = parse_policies(args.policies)
    path = _report_path(args.out)
    with opened(args.model) as model:
        setup = _setup(args, model)
        check_fit(model, setup, names)
        text = read_text(model, Path(args.text), args.tokens)
        whole = Run(model, setup, text, path.with_suffix(".partial"))
        readers = whole.run(names)
        report = _report(args, model, setup, text, readers)
    picture = path.with_suffix(".png")
    write_json(path, report)
    if not args.no_plot:
        plot(report, picture)
    write_text(path.with_suffix(".md"), markdown(report, "" if args.no_plot else picture.name))
    whole.partial.unlink(missing_ok=True)
    sys.stdout.write(text_table(report))
    say(f"Written: {path}, and the same as {'.md' if args.no_plot else '.md and .png'} beside it.")
    return 0


def _report_path(out: str) -> Path:
    path = Path(out)
    return path if path.suffix == ".json" else path / "stream.json"


def _setup(args: argparse.Namespace, model: Model) -> Setup:
    check(args, FLAGS)
    n_full = args.full_tokens or min(12_288, model.n_ctx_train * 3 // 2)
    return Setup(
        window=args.window,
        n_chunk=args.chunk,
        n_pinned=args.pinned,
        n_turn=args.turn,
        n_full=min(n_full, args.tokens),
        n_threads=args.threads or n_auto_threads(),
    )


def _report(
    args: argparse.Namespace,
    model: Model,
    setup: Setup,
    text: list[int],
    readers: dict[str, Reader | str],
) -> dict[str, Any]:
    kv_bytes = model.kv_bytes_per_token(LAYOUT)
    here, build = computer(), library()
    given = {**vars(args), "text": Path(args.text).name}
    return {
        "title": f"{len(text) - 1:,} tokens of {Path(args.text).stem} in a window of "
        f"{setup.window}: {Path(args.model).stem}",
        "command": in_words("bench stream", given, [flag.name for flag in FLAGS]),
        "n_tokens": len(text) - 1,
        "n_block": N_BLOCK,
        "settings": dataclasses.asdict(setup),
        "layout": str(LAYOUT),
        "kv_bytes_per_token": kv_bytes,
        "model": {
            "name": model.name,
            "arch": model.arch,
            "n_bytes": model.n_bytes,
            "n_ctx_train": model.n_ctx_train,
            "fingerprint": model.fingerprint(),
        },
        "text": {"name": Path(args.text).name, "digest": digest(text)},
        "machine": {
            "n_physical": here["n_physical"],
            "features": build["features"],
            "llama_cpp_python": build["llama_cpp_python"],
            "compiler": build["compiler"],
        },
        "policies": [figures(name, reader, kv_bytes) for name, reader in readers.items()],
    }
