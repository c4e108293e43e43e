"""`npc-engine tune sinks`: how many of the first tokens does a model need to keep?

Owns the measurement: a persona and a text behind it, read in one window with 0, 1, 2, 4, 8, 16
sinks and with the whole persona. `stream` knows how they are kept, `sinks_report` what follows.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from npc_engine.bench.shared.flags import Flag, add_flags, check, threads
from npc_engine.bench.shared.report import need_plots, write_json
from npc_engine.bench.shared.run import opened, progress
from npc_engine.bench.stream.contexts import Setup, check_fit, open_reader
from npc_engine.bench.stream.reader import Reader
from npc_engine.bench.stream.sinks_report import Row, advice, compare, plot, text_table
from npc_engine.bench.stream.text import read_text
from npc_engine.cards.card import Card
from npc_engine.cards.examples import example_card, example_names
from npc_engine.errors import ConfigError
from npc_engine.llama.model import Model
from npc_engine.loading import n_auto_threads, voice_of

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "how many attention sinks a model needs, and whether the whole persona serves as them"
ABOUT = """\
How many of the first tokens does a model need to keep, when the oldest of the others leave the
window? A character's persona is read, then a long text, in a window that is far too small for it;
0, 1, 2, 4, 8 and 16 of the first tokens are kept, and last the whole persona, as the engine does.
Less perplexity is better. The engine needs no setting for it: this shows what its default is worth
on your model.
"""
EXAMPLES = """\
examples:
  npc-engine tune sinks --model q4.gguf --text novel.txt
  npc-engine tune sinks --model q4.gguf --text novel.txt --card bram.toml --window 2048

A minute or three with a model of 100 M parameters. It prints a table and writes sinks.json and
sinks.png.
"""
COUNTS = (0, 1, 2, 4, 8, 16)
N_BLOCK = 128  # tokens that are compared as one: enough of them for an error of the mean
N_CHUNK = 64
CARD = "mara"
FLAGS = (
    Flag("text", None, "a long text, UTF-8", metavar="FILE", required=True),
    Flag("card", CARD, "whose persona", metavar="FILE|NAME"),
    Flag("window", 1024, "cells"),
    Flag("tokens", 2048, "tokens scored", 2 * N_BLOCK),
    threads(most=None),
    Flag("out", ".", "where to write the report (default: here)", metavar="DIR"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    add_flags(parser, "the GGUF model to measure", FLAGS)
    parser.add_argument(
        "--no-plot", action="store_true", help="no sinks.png, which needs matplotlib"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the table and what follows, write the report. Raises NpcError."""
    need_plots(args)
    check(args, FLAGS)
    card = example_card(args.card) if args.card in example_names() else Card.load(args.card)
    with opened(args.model) as model:
        persona, _ = voice_of(model).beginning(card.persona().strip())
        blocks = _measure(model, args, persona)
        name = model.name
    rows = compare(blocks)
    sentence = advice(rows)
    report = _report(args, name, card.char, rows, sentence)
    path = Path(args.out) / "sinks.json"
    write_json(path, report)
    if not args.no_plot:
        plot(report, blocks, path.with_suffix(".png"))
    sys.stdout.write(text_table(rows) + "\n" + sentence + "\n")
    return 0


def _measure(model: Model, args: argparse.Namespace, persona: list[int]) -> dict[int, list[float]]:
    """Return each number's negative log likelihoods, means in nats of blocks of N_BLOCK tokens.

    They are counted from where the window is full: before, all are alike.
    """
    n_persona = len(persona)
    setup = Setup(
        window=args.window,
        n_chunk=N_CHUNK,
        n_pinned=n_persona,
        n_turn=N_CHUNK // 2,
        n_full=args.window,
        n_threads=args.threads or n_auto_threads(),
    )
    check_fit(model, setup, ["ours"])
    n = args.window + args.tokens // N_BLOCK * N_BLOCK
    text = persona + read_text(model, Path(args.text), n - n_persona, is_begin=False)
    readers = _open(model, setup, [*(k for k in COUNTS if k < n_persona), n_persona])
    try:
        _read(readers, text, args.window)
    finally:
        for reader in readers.values():
            reader.llama.close()
    return {k: [b.nll / b.n for b in reader.blocks] for k, reader in readers.items()}


def _open(model: Model, setup: Setup, counts: Sequence[int]) -> dict[int, Reader]:
    """Return a reader for each number, all with one policy: re-rotated, or else with holes."""
    readers: dict[int, Reader] = {}
    for k in counts:
        reader = open_reader(model, f"sinks-{k}", setup)
        if isinstance(reader, str):
            own = dataclasses.replace(setup, n_pinned=k)
            reader = open_reader(model, "ours", own)
        if isinstance(reader, str):
            raise ConfigError(f"This model cannot be measured: {reader}.")
        reader.n_single = 0
        readers[k] = reader
    return readers


def _read(readers: Mapping[int, Reader], text: list[int], window: int) -> None:
    n = len(text) - 1
    with progress(n * len(readers), "reading") as show:
        for i, (k, reader) in enumerate(readers.items()):
            show(i * window, f"{k} kept")
            reader.read(text, window)
            reader.blocks.clear()
        for start in range(window, n, N_BLOCK):
            for i, (k, reader) in enumerate(readers.items()):
                show(start * len(readers) + i * N_BLOCK, f"{k} kept")
                reader.read(text, start + N_BLOCK)


def _report(
    args: argparse.Namespace, model: str, char: str, rows: Sequence[Row], sentence: str
) -> dict[str, Any]:
    return {
        "title": f"Sinks of {Path(args.model).stem}, window {args.window}",
        "model": model,
        "text": Path(args.text).name,
        "character": char,
        "window": args.window,
        "n_block": N_BLOCK,
        "n_scored": args.tokens // N_BLOCK * N_BLOCK,
        "rows": [dataclasses.asdict(row) for row in rows],
        "advice": sentence,
    }
