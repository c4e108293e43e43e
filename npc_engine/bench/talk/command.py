"""`npc-engine bench talk`: what does the turn cost in which the window overflows?

Owns the command and the order of the turns: ours and the baseline's by turns, so that whatever
else the machine does meets both. `engine_side` and `baseline` are the two sides, `figures` says
what must hold.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from npc_engine.bench.shared import flags
from npc_engine.bench.shared.figures import passed
from npc_engine.bench.shared.flags import Flag, add_flags, add_out, threads
from npc_engine.bench.shared.report import need_plots, write
from npc_engine.bench.shared.run import opened, progress, quiet, say_cut_off
from npc_engine.bench.talk.baseline import LAYOUT, Baseline, BaselineProcess
from npc_engine.bench.talk.engine_side import EngineSide
from npc_engine.bench.talk.figures import Side, TalkRun, Turn
from npc_engine.bench.talk.report import as_json, as_markdown, as_text, figure
from npc_engine.cards.card import Card
from npc_engine.cards.small_talk import CARD, lines
from npc_engine.dialogue.paragraphs import USER
from npc_engine.errors import NpcError
from npc_engine.llama.model import Model
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
REREAD = 30_720  # tokens that the baseline reads again in each window, by default
MOST_ERRORS = 10  # after as many failed turns the baseline is left alone
LEAST_WINDOW = 256
MOST = 100_000
AFTER_OVERFLOW = (
    "turns of the rival after its first overflow, in each window; 0 leaves it out "
    f"(default: {REREAD:,} / window, since each reads most of the window again)"
)
FLAGS = (
    Flag("turns", 200, "in each window", 1, MOST),
    Flag("windows", "512,1024,2048", "sizes of the window", metavar="TOKENS,..."),
    Flag("rival-turns", None, AFTER_OVERFLOW, 0, MOST),
    Flag("max-tokens", 24, "of a reply", 1, MOST),
    threads(MOST),
)
WORDS = ("windows", "turns", "rival-turns", "max-tokens", "threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its flags."""
    add_flags(parser, "a GGUF instruct model", FLAGS)
    add_out(parser, "talk.json")


def run(args: argparse.Namespace) -> int:
    """Hold the talks; print the table, write reports and plot. Raises NpcError."""
    flags.check(args, FLAGS)
    need_plots(args)
    runs: list[TalkRun] = []
    with quiet(), opened(args.model) as model:
        n_threads = args.threads or n_auto_threads()
        facts = {
            "command": flags.in_words("bench talk", vars(args), WORDS),
            "model": model.name,
            "n_threads": n_threads,
            "layout": str(LAYOUT),
            "n_turns": args.turns,
            "max_tokens": args.max_tokens,
        }
        _measure(runs, model, n_threads, args)
    whole = as_json(facts, runs)
    alt, draw = "Time to first token, turn by turn", partial(figure, runs)
    write(args, whole, as_text(whole), as_markdown(whole), alt, draw)
    return 0 if all(map(passed, whole["windows"])) else 1


def _measure(runs: list[TalkRun], model: Model, n_threads: int, args: argparse.Namespace) -> None:
    """Hold the talk in one window after the other; an interrupted one is kept."""
    must = "For this model each must be from {} to {:,} tokens."
    give, limits = "Give numbers of tokens by comma: 512,1024.", (LEAST_WINDOW, model.n_ctx_train)
    windows = flags.numbers("windows", args.windows, give, limits, must)
    try:
        with progress(args.turns * len(windows), "talk") as show:
            for i, window in enumerate(windows):
                runs.append(TalkRun(window))
                for n in _talk(runs[-1], model, n_threads, args):
                    show(i * args.turns + n, f"window {window}: turn {n} of {args.turns}")
    except KeyboardInterrupt:
        say_cut_off("Interrupted")
        for one in runs[-1:]:
            one.interrupted = True


def _talk(run: TalkRun, model: Model, n_threads: int, args: argparse.Namespace) -> Iterator[int]:
    """Hold the talk in one window; yields the number of each turn that is over."""
    persona = Card.from_map(CARD).persona(user=USER).strip()
    most = REREAD // run.window if args.rival_turns is None else args.rival_turns
    with (
        closing(EngineSide(model, LAYOUT, run.window, n_threads, args.max_tokens)) as engine,
        closing(
            BaselineProcess(Baseline, args.model, persona, run.window, n_threads, args.max_tokens)
        ) as baseline,
    ):
        run.n_pinned = engine.n_pinned
        for n, text in enumerate(lines(args.turns), 1):
            _hear(run.ours, engine.say, text)
            if run.baseline.n_since_overflow < most and len(run.baseline.errors) < MOST_ERRORS:
                _hear(run.baseline, baseline.say, text)
            yield n


def _hear(side: Side, say: Callable[[str], Turn | str], text: str) -> None:
    """Say a line, and note the turn or what went wrong."""
    try:
        found = say(text)
    except NpcError as error:
        found = str(error)
    if isinstance(found, Turn):
        side.turns.append(found)
    else:
        side.errors.append(found)
