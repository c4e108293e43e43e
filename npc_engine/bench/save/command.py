"""`npc-engine bench save`: what a save takes, what it spares, and whether anybody notices.

Owns the command and what is set up. `parts` measures, `figures` says what it comes to, `report`
how it is shown.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from npc_engine.bench.save.figures import Measured
from npc_engine.bench.save.parts import PARTS, Setup
from npc_engine.bench.save.report import as_json, as_markdown, as_text, figure, has_figure
from npc_engine.bench.shared import flags
from npc_engine.bench.shared.figures import passed
from npc_engine.bench.shared.flags import Flag, add_flags, add_out, threads
from npc_engine.bench.shared.report import need_plots, write
from npc_engine.bench.shared.run import measure, opened, quiet
from npc_engine.config import KV_TYPES
from npc_engine.errors import ConfigError
from npc_engine.llama.kv_layout import choose_layout
from npc_engine.llama.model import Layout, Model
from npc_engine.loading import n_auto_threads

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "what a save takes: bytes, time, restoring beside reading again, and who speaks meanwhile"
ABOUT = """\
Save characters with a long past and load them again, and measure two things:

  trips   one character there and back, for each KV type and number of tokens: bytes per token; the
          time to copy it out, encode, write and read it; and from the load to the moment when it
          may speak: with its KV cache, and read again from its tokens
  beside  20 characters are saved while 4 of them speak: every step of theirs, with and without

It passes when a character of 1,000 tokens is restored 20 times faster than it is read again, and
when a save adds at most one step's time to any line of those who speak. What is not measured is not
judged. Exit status: 0 it passes, 1 it does not, 2 it cannot start. Interrupted, it keeps what was
measured so far.

The engine saves each character with its KV cache here, whatever --save-kv would say. Files go into
a temporary folder: --folder names another disk. By default it takes 5-10 minutes with a model of
135 million parameters on one slow core: --rounds 2 --depths 1000 makes it short. On a machine that
is busy with other things the ratios still mean something, and the times little.
"""
EXAMPLES = """\
examples:
  npc-engine bench save --model q4.gguf
  npc-engine bench save --model q4.gguf --parts trips --kv-types q8_0 --depths 500,4000
  npc-engine bench save --model q4.gguf --parts beside --characters 10 --out beside.json
"""
DEFAULT_KV_TYPES = ("f16", "q8_0")
KNOWN_KV_TYPES = tuple(name for name in KV_TYPES if name != "auto")
OF_TRIPS = "of trips (default: f16 and q8_0, as far as the model takes them)"
DEPTHS = (256, 1 << 20)
FLAGS = (
    Flag("parts", ",".join(PARTS), "which", metavar="A,B,.."),
    Flag("kv-types", None, OF_TRIPS, metavar="A,B"),
    Flag("depths", "300,1000,2000", "tokens of the one character", metavar="N,..."),
    Flag("rounds", 5, "turns of each", 1, 1000),
    Flag("characters", 20, "saved beside", 1, 64),
    Flag("speakers", 4, "of them, who speak", 1, 64),
    Flag("depth", 1000, "tokens of each", *DEPTHS),
    Flag("steps", 60, "steps without a save, before it and behind it", 2, 100),
    threads(),
)
FOLDER = "where to save, for the time (default: a temporary folder)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its flags."""
    add_flags(
        parser, "a GGUF instruct model", [*FLAGS, Flag("folder", None, FOLDER, metavar="DIR")]
    )
    add_out(parser, "save.json")


def run(args: argparse.Namespace) -> int:
    """Measure; print the tables, write report and plot. Raises NpcError."""
    wanted = flags.names("parts", args.parts, PARTS)
    kv_types = None
    if args.kv_types is not None:
        kv_types = flags.names("kv-types", args.kv_types, KNOWN_KV_TYPES)
    depths = flags.numbers("depths", args.depths, "Give numbers by comma: 300,1000.", DEPTHS)
    _check(args)
    with quiet(), _folder(args.folder) as folder, opened(args.model) as model:
        setup = _setup(args, model, kv_types, tuple(sorted(set(depths))), Path(folder))
        facts = {
            "command": flags.in_words("bench save", vars(args), [flag.name for flag in FLAGS]),
            "model": model.name,
            "n_threads": setup.n_threads,
            "layout": str(setup.layout),
            "layouts": {kind: str(layout) for kind, layout in setup.layouts.items()},
        }
        parts = [part for name, part in PARTS.items() if name in wanted]
        found = measure("save", parts, setup, Measured())
    whole = as_json(facts, found)
    draw = partial(figure, whole) if has_figure(whole) else None
    alt = "Restoring and reading again, and steps beside a save"
    write(args, whole, as_text(whole), as_markdown(whole), alt, draw)
    return 0 if passed(whole) else 1


def _check(args: argparse.Namespace) -> None:
    flags.check(args, FLAGS)
    if args.speakers > args.characters:
        raise ConfigError(
            f"--speakers is {args.speakers}, --characters {args.characters}.",
            "Give no more speakers than characters.",
        )
    need_plots(args)


def _folder(parent: str | None) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="npc-engine-bench-", dir=parent)
    except OSError as error:
        raise ConfigError(
            f"No folder can be made for the saves in {parent!r}: {error.strerror}.",
            "Name a folder with --folder that may be written to.",
        ) from None


def _setup(
    args: argparse.Namespace,
    model: Model,
    kv_types: list[str] | None,
    depths: tuple[int, ...],
    folder: Path,
) -> Setup:
    n_threads = args.threads or n_auto_threads()
    return Setup(
        model=model,
        layouts=_layouts(model, kv_types, n_threads),
        layout=choose_layout(model, "auto", "auto", n_threads),
        n_threads=n_threads,
        folder=folder,
        depths=depths,
        n_rounds=args.rounds,
        n_characters=args.characters,
        n_speakers=args.speakers,
        depth=args.depth,
        n_quiet=args.steps,
    )


def _layouts(model: Model, kv_types: list[str] | None, n_threads: int) -> dict[str, Layout]:
    """The layout for each KV type; of the default ones, those that the model takes."""
    layouts = {}
    for kind in kv_types or DEFAULT_KV_TYPES:
        try:
            layouts[kind] = choose_layout(model, kind, "auto", n_threads)
        except ConfigError:
            if kv_types is not None:
                raise
    return layouts
