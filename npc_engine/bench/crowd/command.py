"""`npc-engine bench crowd`: many characters, one small machine.

Owns the command and which parts are measured. `parts` measures them, `figures` says
what they come to, `report` and `plot` how it is shown.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from npc_engine.bench.crowd.figures import Measured
from npc_engine.bench.crowd.parts import PARTS
from npc_engine.bench.crowd.plot import figure, has_figure
from npc_engine.bench.crowd.report import as_json, as_markdown, as_tables, passed, verdicts
from npc_engine.bench.crowd.setup import Setup
from npc_engine.bench.shared import report
from npc_engine.errors import ConfigError, NpcError
from npc_engine.llama.kv_layout import choose_layout
from npc_engine.llama.model import Model
from npc_engine.llama.selftest import self_test
from npc_engine.loading import n_auto_threads

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "quiet", "run"]

SUMMARY = "many characters at once: speed, first tokens, fairness, parking; busy games; idling"
ABOUT = """\
Let many characters speak at once, or wait, and measure five things:

  speakers  1, 2, 4, 8, 16 of them, each with a long past, are asked at once. Tokens per second of
            all together; time to the best, median and worst first token. In turns go a bare loop
            of llama_decode and sampling on the same context, the same loop as llama.cpp is without
            flags (unified cache, f16, flash attention), and the engine serving one after the other
  fair      16 chatter without end: tokens of the one who said least, of the one who said most
  parking   200 characters over 8 slots: what it takes to park one and call in another, beside
            reading it again; memory by part
  governor  --threads auto beside every fixed count, for 1 and 8 speakers: on the machine as it is,
            then beside a busy game, which is 2 processes that spin. (--threads is not for this)
  idle      a server of its own with 50 characters that nobody speaks to: its processor time in 30 s

It passes when 8 speakers reach 95 % of the bare loop and twice llama.cpp's defaults, when the last
first token of 8 comes within twice the median's time, when of 16 the one who said least has 90 % of
the tokens of the one who said most, when a character is called in within 20 ms, when auto reaches
90 % of the best fixed count, and 80 % beside a busy game, and when the idle server takes less than
0.5 % of a core. What is not measured is not judged. Exit status: 0 it passes, 1 it does not, 2 it
cannot start. Interrupted, it keeps what was measured so far.

By default speakers, fair and parking take 5-10 minutes with a model of 135 million parameters on
one slow core, and ten times that with one of 1.5 billion; governor 4 minutes on one core, and 100
seconds more for each further core; idle one minute. --rounds 2 --swaps 20 makes it short. On a
machine that is busy with other things the ratios still mean something, and the times little.
"""
EXAMPLES = """\
examples:
  npc-engine bench crowd --model q4.gguf
  npc-engine bench crowd --model q4.gguf --parts speakers --speakers 1,8 --rounds 2
  npc-engine bench crowd --model q4.gguf --parts parking --characters 50 --out parking.json
  npc-engine bench crowd --model q4.gguf --parts governor --rounds 3 --busy 4
"""
LIMITS = {
    "depth": (256, 1 << 20),
    "tokens": (2, 128),
    "rounds": (1, 1000),
    "characters": (1, 1000),
    "slots": (1, 64),
    "park_depth": (256, 1 << 20),
    "swaps": (1, 10_000),
    "busy": (0, 256),
    "threads": (1, 256),
}
MOST_SPEAKERS = 64
MOST_S = 3600.0
SECONDS = ("fair_seconds", "turn_seconds", "idle_seconds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its flags."""
    add = parser.add_argument
    add("--model", metavar="FILE", required=True, help="a GGUF instruct model")
    add(
        "--parts",
        metavar="A,B,..",
        default=",".join(PARTS),
        help=f"which (default: {','.join(PARTS)})",
    )
    add(
        "--speakers",
        metavar="N,...",
        default="1,2,4,8,16",
        help="how many speak at once (default: 1,2,4,8,16)",
    )
    add("--depth", metavar="N", type=int, default=900, help="tokens of past (default: 900)")
    add(
        "--tokens",
        metavar="N",
        type=int,
        default=32,
        help="of each speaker in a turn of each side (default: 32)",
    )
    add("--rounds", metavar="N", type=int, default=6, help="turns of each side (default: 6)")
    add(
        "--fair-seconds",
        metavar="S",
        type=float,
        default=10.0,
        help="how long 16 chatter (default: 10)",
    )
    add("--characters", metavar="N", type=int, default=200, help="to be parked (default: 200)")
    add("--slots", metavar="N", type=int, default=8, help="that they share (default: 8)")
    add("--park-depth", metavar="N", type=int, default=1000, help="tokens of each (default: 1000)")
    add("--swaps", metavar="N", type=int, default=60, help="how many are called in (default: 60)")
    add(
        "--busy",
        metavar="N",
        type=int,
        default=2,
        help="processes that spin beside the governor, 0 for none (default: 2)",
    )
    add(
        "--turn-seconds",
        metavar="S",
        type=float,
        default=4.0,
        help="of each count of threads in each round (default: 4)",
    )
    add(
        "--idle-seconds",
        metavar="S",
        type=float,
        default=30.0,
        help="how long the idle server is watched; less is not judged (default: 30)",
    )
    add("--threads", metavar="N", type=int, help="CPU threads (default: physical cores less one)")
    add(
        "--out",
        metavar="FILE.json",
        default="crowd.json",
        help="the report; FILE.md and the plot FILE.png stand beside it (default: crowd.json)",
    )
    add("--no-plot", action="store_true", help="write no plot")


def run(args: argparse.Namespace) -> int:
    """Measure; print the tables, write report and plot. Raises NpcError."""
    parts = _parts(args.parts)
    speakers = _speakers(args.speakers)
    _check(args)
    with quiet():
        model = Model(args.model, extra_bufts=self_test(Path(args.model)).works)
        try:
            setup = _setup(args, model, speakers)
            facts = _facts(args, setup)
            found = _measure(parts, setup)
        finally:
            model.close()
    whole = as_json(facts, found)
    _write(args, whole)
    return 0 if passed(whole) else 1


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of llama.cpp amid a progress bar."""
    log = logging.getLogger("npc_engine.llama")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PARTS:
            raise ConfigError(f"--parts has {name!r}.", f"There are: {', '.join(PARTS)}.")
    return [name for name in PARTS if name in names]


def _speakers(text: str) -> tuple[int, ...]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--speakers is {text!r}.", "Give numbers by comma: 1,8.") from None
    for n in counts:
        if not 1 <= n <= MOST_SPEAKERS:
            raise ConfigError(f"--speakers has {n}.", f"Each must be from 1 to {MOST_SPEAKERS}.")
    return tuple(sorted(set(counts)))


def _check(args: argparse.Namespace) -> None:
    for name, (least, most) in LIMITS.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} is {value}.", f"It must be from {least} to {most:,}.")
    for name in SECONDS:
        if not 0 < (seconds := getattr(args, name)) <= MOST_S:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{flag} is {seconds:g}.", f"It must be above 0, and at most {MOST_S:g}."
            )
    if not args.no_plot:
        report.need_plots()


def _setup(args: argparse.Namespace, model: Model, speakers: tuple[int, ...]) -> Setup:
    n_threads = args.threads or n_auto_threads()
    return Setup(
        model=model,
        layout=choose_layout(model, "auto", "auto", n_threads),
        n_threads=n_threads,
        speakers=speakers,
        depth=args.depth,
        n_steps=args.tokens,
        n_rounds=args.rounds,
        fair_s=args.fair_seconds,
        n_characters=args.characters,
        n_slots=args.slots,
        parked_depth=args.park_depth,
        n_swaps=args.swaps,
        turn_s=args.turn_seconds,
        n_busy=args.busy,
        idle_s=args.idle_seconds,
    )


def _measure(parts: list[str], setup: Setup) -> Measured:
    found = Measured()
    total = sum(PARTS[name].n_units(setup) for name in parts)
    n_done = 0
    try:
        with report.progress(total, "crowd") as show:
            for name in parts:
                for now in PARTS[name].measure(setup, found):
                    show(n_done, now)
                    n_done += 1
            show(n_done, "done")
    except KeyboardInterrupt:
        _cut_off(found, "Interrupted")
    except NpcError as error:
        if found == Measured():
            raise
        _cut_off(found, str(error))
    return found


def _cut_off(found: Measured, why: str) -> None:
    found.interrupted = True
    if sys.stderr is not None:
        sys.stderr.write(f"{why.rstrip('.')}: the report has what was measured so far.\n")


def _facts(args: argparse.Namespace, setup: Setup) -> dict[str, Any]:
    return {
        "command": _command(args),
        "model": setup.model.name,
        "n_threads": setup.n_threads,
        "layout": str(setup.layout),
        "depth": setup.depth,
    }


def _command(args: argparse.Namespace) -> str:
    """The command that was given, with the name of the model's file alone."""
    words = ["npc-engine", "bench", "crowd", "--model", Path(args.model).name]
    for flag in ("parts", "speakers", *SECONDS, *LIMITS):
        if (value := getattr(args, flag)) is not None:
            value = f"{value:g}" if isinstance(value, float) else value
            words += ["--" + flag.replace("_", "-"), str(value)]
    return " ".join(words)


def _write(args: argparse.Namespace, whole: dict[str, Any]) -> None:
    out, picture = Path(args.out), Path(args.out).with_suffix(".png")
    has_plot = not args.no_plot and has_figure(whole)
    report.write_json(out, whole)
    if sys.stdout is not None:
        sys.stdout.write(as_tables(whole) + "\n" + verdicts(whole))
    report.write_text(out.with_suffix(".md"), as_markdown(whole, picture.name if has_plot else ""))
    if has_plot:
        report.save_figure(figure(whole), picture)
