"""`npc-engine bench talk`: what does the turn cost in which the window overflows?

Owns the command and the order of the turns: ours and the rival's by turns, so that whatever else
the machine does meets both. `engine_side` and `baseline` are the two sides, `figures` says what
must hold.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from npc_engine.bench.shared import report
from npc_engine.bench.shared.script import CARD, lines
from npc_engine.bench.talk.baseline import LAYOUT, Baseline
from npc_engine.bench.talk.baseline_process import RivalProcess
from npc_engine.bench.talk.engine_side import Talk
from npc_engine.bench.talk.figures import Side, TalkRun, Turn
from npc_engine.bench.talk.report import as_json, as_markdown, as_table, figure, passed, verdicts
from npc_engine.cards.card import Card
from npc_engine.dialogue.paragraphs import USER
from npc_engine.errors import ConfigError, NpcError
from npc_engine.llama.model import Model
from npc_engine.llama.selftest import self_test
from npc_engine.loading import n_auto_threads

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "a long talk: what the turn costs in which the window overflows, and what it costs others"
ABOUT = """\
Hold the same long talk in windows of several sizes, and measure each turn: the time to the first
token, the tokens read, what was done in the pause behind it. Beside it, turn by turn and with the
same lines, threads and greedy sampling, goes what one would pick instead: llama-cpp-python's
create_chat_completion, where the oldest turns are trimmed to make the prompt fit. It runs in a
process of its own; both have an f16 KV cache without flash attention.

An overflow turn is one for which the past had to make room. It passes when, in every window, their
median time to the first token is at most 1.3 times that of the ordinary turns, none of them reads
more than its message and 10 tokens of markup, and nothing fails.
Exit status: 0 it passes, 1 it does not, 2 it cannot start. By default it takes 15-20 minutes with
a model of 135 million parameters on two slow cores; most of that is the rival's.
"""
EXAMPLES = """\
examples:
  npc-engine bench talk --model q4.gguf
  npc-engine bench talk --model q4.gguf --windows 512 --turns 60 --rival-turns 20
  npc-engine bench talk --model q4.gguf --rival-turns 0 --out talk.json
"""
REREAD = 30_720  # tokens that the rival reads again in each window, by default
MOST_ERRORS = 10  # after as many failed turns the rival is left alone
LEAST_WINDOW = 256
MOST = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its flags."""
    parser.add_argument("--model", metavar="FILE", required=True, help="a GGUF instruct model")
    parser.add_argument(
        "--turns", type=int, default=200, metavar="N", help="in each window (default: 200)"
    )
    parser.add_argument(
        "--windows",
        default="512,1024,2048",
        metavar="TOKENS,...",
        help="sizes of the window (default: 512,1024,2048)",
    )
    parser.add_argument(
        "--rival-turns",
        type=int,
        metavar="N",
        help="turns of the rival after its first overflow, in each window; 0 leaves it out "
        f"(default: {REREAD:,} / window, since each reads most of the window again)",
    )
    parser.add_argument(
        "--max-tokens", type=int, default=24, metavar="N", help="of a reply (default: 24)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads (default: physical cores less one)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE.json",
        default="talk.json",
        help="the report; FILE.md and the plot FILE.png stand beside it (default: talk.json)",
    )
    parser.add_argument("--no-plot", action="store_true", help="write no plot")


def run(args: argparse.Namespace) -> int:
    """Hold the talks; print the table, write reports and plot. Raises NpcError."""
    _check(args)
    with _quiet():
        return _measure(args)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of llama.cpp amid a progress bar."""
    log = logging.getLogger("npc_engine.llama")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _measure(args: argparse.Namespace) -> int:
    model = Model(args.model, extra_bufts=self_test(Path(args.model)).works)
    n_threads = args.threads or n_auto_threads()
    facts = {
        "command": _command(args),
        "model": model.name,
        "n_threads": n_threads,
        "layout": str(LAYOUT),
        "n_turns": args.turns,
        "max_tokens": args.max_tokens,
    }
    runs: list[TalkRun] = []
    try:
        windows = _windows(args.windows, model)
        with report.progress(args.turns * len(windows), "talk") as show:
            for i, window in enumerate(windows):
                runs.append(TalkRun(window))
                for n in _talk(runs[-1], model, n_threads, args):
                    show(i * args.turns + n, f"window {window}: turn {n} of {args.turns}")
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: the report has what was measured so far.\n")
        for one in runs[-1:]:
            one.interrupted = True
    finally:
        model.close()
    _write(args, facts, runs)
    return 0 if all(map(passed, runs)) else 1


def _check(args: argparse.Namespace) -> None:
    for name, least in (("turns", 1), ("max_tokens", 1), ("rival_turns", 0), ("threads", 1)):
        value = getattr(args, name)
        if value is not None and not least <= value <= MOST:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} is {value}.", f"It must be from {least} to {MOST:,}.")
    if not args.no_plot:
        report.need_plots()


def _windows(text: str, model: Model) -> list[int]:
    try:
        windows = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--windows is {text!r}.", "Give numbers of tokens by comma: 512,1024."
        ) from None
    for window in windows:
        if not LEAST_WINDOW <= window <= model.n_ctx_train:
            raise ConfigError(
                f"--windows has {window}.",
                f"For this model each must be from {LEAST_WINDOW} to {model.n_ctx_train:,} tokens.",
            )
    return windows


def _talk(run: TalkRun, model: Model, n_threads: int, args: argparse.Namespace) -> Iterator[int]:
    """Hold the talk in one window; yields the number of each turn that is over."""
    persona = Card.from_map(CARD).persona(user=USER).strip()
    most = REREAD // run.window if args.rival_turns is None else args.rival_turns
    with (
        closing(Talk(model, LAYOUT, run.window, n_threads, args.max_tokens)) as ours,
        closing(
            RivalProcess(Baseline, args.model, persona, run.window, n_threads, args.max_tokens)
        ) as theirs,
    ):
        run.n_pinned = ours.n_pinned
        for n, text in enumerate(lines(args.turns), 1):
            _ours(run.ours, ours, text)
            if run.theirs.n_since_overflow < most and len(run.theirs.errors) < MOST_ERRORS:
                _note(run.theirs, theirs.say(text))
            yield n


def _ours(side: Side, talk: Talk, text: str) -> None:
    try:
        _note(side, talk.say(text))
    except NpcError as error:
        _note(side, str(error))


def _note(side: Side, found: Turn | str) -> None:
    if isinstance(found, Turn):
        side.turns.append(found)
    else:
        side.errors.append(found)


def _command(args: argparse.Namespace) -> str:
    """The command that was given, with the name of the model's file alone."""
    words = ["npc-engine", "bench", "talk", "--model", Path(args.model).name]
    words += ["--windows", args.windows, "--turns", str(args.turns)]
    for flag in ("rival_turns", "max_tokens", "threads"):
        if getattr(args, flag) is not None:
            words += ["--" + flag.replace("_", "-"), str(getattr(args, flag))]
    return " ".join(words)


def _write(args: argparse.Namespace, facts: dict[str, Any], runs: Sequence[TalkRun]) -> None:
    out, picture = Path(args.out), Path(args.out).with_suffix(".png")
    found = as_json(facts, runs)
    report.write_json(out, found)
    sys.stdout.write(as_table(found["windows"]) + verdicts(found["windows"]))
    page = as_markdown(found, "" if args.no_plot else picture.name)
    report.write_text(out.with_suffix(".md"), page)
    if not args.no_plot:
        report.save_figure(figure(runs), picture)
