"""`npc-engine bench soak`: does anything grow, slow down or fail over a million tokens?

Owns the command. What is done over those tokens is the script of `acts`; `figures` says what is
made of it, `report` how it is shown.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from npc_engine.bench.shared.figures import passed
from npc_engine.bench.shared.flags import Flag, threads
from npc_engine.bench.shared.report import about_run, need_plots, write
from npc_engine.bench.shared.run import progress, say_cut_off
from npc_engine.bench.soak.process import soak_apart
from npc_engine.bench.soak.report import as_json, as_text, figure
from npc_engine.bench.soak.soak import N_SLOTS
from npc_engine.config import Settings
from npc_engine.errors import ConfigError

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "a million tokens: does memory grow, do tokens get slower, does anything fail?"
ABOUT = """\
Talk without end with three characters in two slots, in cycles of the same work: lines and half-
typed lines, silence, messages of three windows, endless replies, barge-ins early and late, events,
chat-template markers and control characters typed by the player, full queues, saves and loads.
Tokens are counted as they are decoded: read and spoken. Each model runs in a process of its own.

It passes when no request fails or is answered twice, the resident memory (RSS) after the first
50,000 tokens grows by less than 1 %, and a token of the last tenth takes within 10 % of one of
the second tenth. What counts is processor time, held against that of a fixed piece of work which
is done in between (the yardstick): other programs slow both.
Exit status: 0 it passes, 1 it does not, 2 it cannot start. It takes 5-10 minutes for a tiny model
and a million tokens.
"""
EXAMPLES = """\
examples:
  npc-engine bench soak --model models/tiny/tiny-llama.gguf
  npc-engine bench soak --model a.gguf --model b.gguf --tokens 200000 --out soak.json
"""
MODEL = "a GGUF model; give it several times to soak one model after another"
N_TOKENS = "tokens to read and speak with each model (default: 1,000,000)"
OUT = "the report; its plot is FILE.png beside it"
FLAGS = (
    Flag("tokens", 1_000_000, N_TOKENS, 1000),
    # A smaller window has no room for the script's ordinary lines.
    Flag("window", 512, "of each character", 256, metavar="TOKENS"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its flags."""
    parser.add_argument("--model", metavar="FILE", action="append", required=True, help=MODEL)
    for flag in (*FLAGS, threads(), Flag("out", "soak.json", OUT, metavar="FILE.json")):
        flag.add(parser)
    parser.add_argument("--no-plot", action="store_true", help="write no plot")


def run(args: argparse.Namespace) -> int:
    """Soak each model; print the table, write report and plot. Raises NpcError."""
    for flag in FLAGS:
        if (value := getattr(args, flag.name)) < flag.least:
            raise ConfigError(f"--{flag.name} is {value}.", f"Give at least {flag.least}.")
    need_plots(args)
    settings = [_settings(args, model) for model in args.model]
    runs = []
    with progress(len(settings) * args.tokens, "soak") as show:
        for i, one in enumerate(settings):
            name = Path(one.model).stem
            found = soak_apart(one, args.tokens, _teller(show, i * args.tokens, args.tokens, name))
            runs.append(as_json(name, found))
            if found.interrupted:
                say_cut_off("Interrupted")
                break
    whole = {**about_run("soak"), "n_tokens_wanted": args.tokens, "runs": runs}
    write(args, whole, as_text(runs), draw=partial(figure, runs))
    return 0 if all(map(passed, runs)) else 1


def _settings(args: argparse.Namespace, model: str) -> Settings:
    if not Path(model).is_file():
        raise ConfigError(f"--model is {model!r}: no such file.", "Name a GGUF file.")
    values: dict[str, object] = {"model": model, "window": args.window, "slots": N_SLOTS}
    if args.threads is not None:
        values["threads"] = args.threads
    return Settings.parse({**values, "kv_type": "f16", "flash_attn": "off"})


def _teller(
    show: Callable[[float, str], None], before: int, n_most: int, name: str
) -> Callable[[int], None]:
    return lambda n_tokens: show(before + min(n_tokens, n_most), f"{name}: {n_tokens:,} tokens")
