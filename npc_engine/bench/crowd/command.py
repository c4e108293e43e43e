"""`npc-engine bench crowd`: many characters, one small machine.

Owns the command and what is set up. `parts` measures, `figures` says what it comes to, `report`
how it is shown.
"""

import argparse
from functools import partial

from npc_engine.bench.crowd.figures import Measured
from npc_engine.bench.crowd.parts import PARTS
from npc_engine.bench.crowd.report import as_json, as_markdown, as_text, figure, has_figure
from npc_engine.bench.crowd.setup import Setup
from npc_engine.bench.shared import flags
from npc_engine.bench.shared.figures import passed
from npc_engine.bench.shared.flags import Flag, add_flags, add_out, threads
from npc_engine.bench.shared.report import need_plots, write
from npc_engine.bench.shared.run import measure, opened, quiet
from npc_engine.llama.kv_layout import choose_layout
from npc_engine.llama.model import Model
from npc_engine.loading import n_auto_threads

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

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
ALL = ",".join(PARTS)
WATCHED = "how long the idle server is watched; less is not judged"
FLAGS = (
    Flag("parts", ALL, "which", metavar="A,B,.."),
    Flag("speakers", "1,2,4,8,16", "how many speak at once", metavar="N,..."),
    Flag("depth", 900, "tokens of past", 256, 1 << 20),
    Flag("tokens", 32, "of each speaker in a turn of each side", 2, 128),
    Flag("rounds", 6, "turns of each side", 1, 1000),
    Flag("fair-seconds", 10.0, "how long 16 chatter", 0, 3600, "S"),
    Flag("characters", 200, "to be parked", 1, 1000),
    Flag("slots", 8, "that they share", 1, 64),
    Flag("park-depth", 1000, "tokens of each", 256, 1 << 20),
    Flag("swaps", 60, "how many are called in", 1, 10_000),
    Flag("busy", 2, "processes that spin beside the governor, 0 for none", 0, 256),
    Flag("turn-seconds", 4.0, "of each count of threads in each round", 0, 3600, "S"),
    Flag("idle-seconds", 30.0, WATCHED, 0, 3600, "S"),
    threads(),
)
WORDS = sorted((flag.name for flag in FLAGS[2:]), key=lambda name: "seconds" not in name)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its flags."""
    add_flags(parser, "a GGUF instruct model", FLAGS)
    add_out(parser, "crowd.json")


def run(args: argparse.Namespace) -> int:
    """Measure; print the tables, write report and plot. Raises NpcError."""
    wanted = flags.names("parts", args.parts, PARTS)
    speakers = flags.numbers("speakers", args.speakers, "Give numbers by comma: 1,8.", (1, 64))
    flags.check(args, FLAGS)
    need_plots(args)
    with quiet(), opened(args.model) as model:
        setup = _setup(args, model, tuple(sorted(set(speakers))))
        facts = {
            "command": flags.in_words("bench crowd", vars(args), ["parts", "speakers", *WORDS]),
            "model": model.name,
            "n_threads": setup.n_threads,
            "layout": str(setup.layout),
            "depth": setup.depth,
        }
        parts = [part for name, part in PARTS.items() if name in wanted]
        found = measure("crowd", parts, setup, Measured())
    whole = as_json(facts, found)
    draw = partial(figure, whole) if has_figure(whole) else None
    write(args, whole, as_text(whole), as_markdown(whole), "The same as a plot", draw)
    return 0 if passed(whole) else 1


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
