"""`npc-engine bench soak`: does anything grow, slow down or fail over a million tokens?

Owns the command, its report, table and plot. What is done over those tokens is the script of
`acts`, and what is made of it is for `figures` to say.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from npc_engine.bench.shared import report
from npc_engine.bench.soak.figures import MIB, Sample, judge, series
from npc_engine.bench.soak.process import SoakRun, soak_apart
from npc_engine.bench.soak.soak import N_SLOTS
from npc_engine.config import Settings
from npc_engine.errors import ConfigError
from npc_engine.llama.machine import library
from npc_engine.llama.measurements import cpu_name
from npc_engine.text.tables import table
from npc_engine.version import __version__

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
LEAST_TOKENS = 1000
LEAST_WINDOW = 256  # a smaller one has no room for the script's ordinary lines

Runs = Sequence[dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its flags."""
    parser.add_argument(
        "--model",
        metavar="FILE",
        action="append",
        required=True,
        help="a GGUF model; give it several times to soak one model after another",
    )
    parser.add_argument(
        "--tokens",
        type=int,
        default=1_000_000,
        metavar="N",
        help="tokens to read and speak with each model (default: 1,000,000)",
    )
    parser.add_argument(
        "--window", type=int, default=512, metavar="TOKENS", help="of each character (default: 512)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads (default: physical cores less one)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE.json",
        default="soak.json",
        help="the report; its plot is FILE.png beside it (default: soak.json)",
    )
    parser.add_argument("--no-plot", action="store_true", help="write no plot")


def run(args: argparse.Namespace) -> int:
    """Soak each model; print the table, write report and plot. Raises NpcError."""
    for flag, value, least in (
        ("--tokens", args.tokens, LEAST_TOKENS),
        ("--window", args.window, LEAST_WINDOW),
    ):
        if value < least:
            raise ConfigError(f"{flag} is {value}.", f"Give at least {least}.")
    if not args.no_plot:
        report.need_plots()
    settings = [_settings(args, model) for model in args.model]
    runs = []
    with report.progress(len(settings) * args.tokens, "soak") as show:
        for i, one in enumerate(settings):
            name = Path(one.model).stem
            found = soak_apart(one, args.tokens, _teller(show, i * args.tokens, args.tokens, name))
            runs.append(_result(name, found))
            if found.interrupted:
                sys.stderr.write("Interrupted: the report has what was measured so far.\n")
                break
    _report(runs, args)
    return 0 if all(map(_passed, runs)) else 1


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


def _result(name: str, run: SoakRun) -> dict[str, Any]:
    """One model's part of the report, of plain JSON types."""
    end = run.samples[-1] if run.samples else Sample(0, 0, 0.0, 0.0, 0.0, 0)
    return {
        "name": name,
        **run.facts,
        **asdict(end),
        "interrupted": run.interrupted,
        "n_faults": run.n_faults,
        "faults": run.faults,
        **judge(run.samples, run.n_faults),
        "series": series(run.samples),
    }


def _passed(run: dict[str, Any]) -> bool:
    """No verdict against it; a run that was too short for one passes, one that was cut does not."""
    return not run["interrupted"] and all(v is not False for v in run["verdicts"].values())


def _report(runs: Runs, args: argparse.Namespace) -> None:
    found = library()
    facts = {
        "benchmark": "soak",
        "version": __version__,
        "llama_cpp_python": found["llama_cpp_python"],
        "cpu": cpu_name(),
        "features": found["features"],
        "n_tokens_wanted": args.tokens,
    }
    report.write_json(Path(args.out), {**facts, "runs": runs})
    sys.stdout.write(_table(runs) + "".join(map(_complaints, runs)))
    if not args.no_plot:
        report.save_figure(_figure(runs), Path(args.out).with_suffix(".png"))


def _table(runs: Runs) -> str:
    head = ["model", "tokens", "spoken", "RSS MiB", "growth", "ms/token", "drift", "faults", ""]
    return table([head, *map(_row, runs)])


def _row(run: dict[str, Any]) -> list[str]:
    n = max(1, run["n_tokens"])
    return [
        run["name"],
        f"{run['n_tokens']:,}",
        f"{run['n_decoded'] / n:.0%}",
        f"{run['rss'] / MIB:.1f}",
        _signed(run["rss_growth"]),
        f"{1000 * run['cpu_s'] / n:.3f}",
        _signed(run["ms_drift"]),
        str(run["n_faults"]),
        "passed" if _passed(run) else "FAILED",
    ]


def _signed(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:+.2%}"


def _complaints(run: dict[str, Any]) -> str:
    return "".join(f"{run['name']}: {fault}\n" for fault in run["faults"][:5])


def _figure(runs: Runs) -> Any:
    figure, (memory, time) = report.new_figure(2, "A talk without end")
    for run in runs:
        tokens = [n / 1000 for n in run["series"]["n_tokens"]]
        memory.plot(tokens, run["series"]["rss_mib"], label=run["name"])
        time.plot(tokens, run["series"]["cpu_ms"], label=run["name"])
    for ax, what in ((memory, "RSS, MiB"), (time, "processor time, ms per token")):
        ax.set_ylabel(what)
        ax.set_ylim(bottom=0)
        ax.legend(loc="lower right", fontsize="small")
    time.set_xlabel("tokens read and spoken, thousands")
    return figure
