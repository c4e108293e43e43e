"""`npc-engine tune sinks`: how many of the first tokens does a model need to keep?

Owns the measurement: a persona and a text behind it, read in one window with 0, 1, 2, 4, 8, 16
sinks and with the whole persona; the comparison, block by block, and what follows from it.
`contexts` knows how they are kept.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from npc_engine.bench.shared.flags import Flag, add_flags, check, threads
from npc_engine.bench.shared.report import need_plots, new_figure, save_figure, write_json
from npc_engine.bench.shared.run import opened, progress
from npc_engine.bench.stream.contexts import Setup, check_fit, open_reader
from npc_engine.bench.stream.figures import difference
from npc_engine.bench.stream.reader import Reader
from npc_engine.bench.stream.text import read_text
from npc_engine.cards.card import Card
from npc_engine.cards.examples import example_card, example_names
from npc_engine.errors import ConfigError
from npc_engine.llama.model import Model
from npc_engine.loading import chat_format_of, n_auto_threads
from npc_engine.text.tables import table

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "Row", "add_arguments", "advice", "compare", "run"]

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
TIE = 0.01  # of perplexity: nobody notices less
FLAGS = (
    Flag("text", None, "a long text, UTF-8", metavar="FILE", required=True),
    Flag("card", CARD, "whose persona", metavar="FILE|NAME"),
    Flag("window", 1024, "cells"),
    Flag("tokens", 2048, "tokens scored", 2 * N_BLOCK),
    threads(most=None),
    Flag("out", ".", "where to write the report (default: here)", metavar="DIR"),
)


@dataclass(frozen=True)
class Row:
    """What a number of sinks gave. `more`: perplexity above the whole persona's, as a part of it.

    `noise`: two standard errors of `more`, from the differences block by block.
    """

    n_sinks: int
    perplexity: float
    more: float
    noise: float

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than noise."""
        return abs(self.more) > self.noise


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
        persona, _ = chat_format_of(model).beginning(card.persona().strip())
        blocks = _measure(model, args, persona)
        name = model.name
    rows = compare(blocks)
    sentence = advice(rows)
    report = _report(args, name, card.char, rows, sentence)
    path = Path(args.out) / "sinks.json"
    write_json(path, report)
    if not args.no_plot:
        _plot(report, blocks, path.with_suffix(".png"))
    sys.stdout.write(_text_table(rows) + "\n" + sentence + "\n")
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


def compare(blocks: Mapping[int, Sequence[float]]) -> list[Row]:
    """Return a row for each number of sinks; the last of `blocks` is the whole persona."""
    whole = list(blocks.values())[-1]
    return [Row(k, math.exp(mean(nll)), *difference(nll, whole)) for k, nll in blocks.items()]


def advice(rows: Sequence[Row]) -> str:
    """Say what follows, in a sentence or three."""
    *few, persona = rows
    best = min(rows, key=lambda r: r.perplexity)
    none = next((r for r in few if r.n_sinks == 0), None)
    said = []
    if none is not None and none.more - best.more > max(none.noise, TIE):
        said.append(f"Without the first tokens this model reads {_percent(none, best)} worse.")
        enough = next(r for r in rows if r.n_sinks and r.more - best.more <= max(r.noise, TIE))
        n = enough.n_sinks
        said.append(
            f"{n} of them {'is' if n == 1 else 'are'} enough: within noise, or {100 * TIE:.0f} %, "
            "of the best."
        )
    else:
        said.append("This model does not lean on its first tokens: no difference beyond noise.")
    cost = persona.more - best.more
    if best is persona or not best.is_clear or cost <= TIE:
        said.append(
            f"Set nothing: the engine pins the whole persona, {persona.n_sinks} tokens, which is "
            "as good as any."
        )
    else:
        said.append(
            f"Set nothing: the engine pins the whole persona. Its {persona.n_sinks} tokens cost "
            f"{_percent(persona, best)} here, since they leave less of the window to the text; a "
            "larger --window wins that back."
        )
    return " ".join(said)


def _percent(row: Row, best: Row) -> str:
    return f"{100 * (row.perplexity / best.perplexity - 1):.0f} %"


def _text_table(rows: Sequence[Row]) -> str:
    head = ["kept", "perplexity", "against the persona", "noise"]
    lines = [head]
    for row in rows:
        name = f"{row.n_sinks} tokens" if row is not rows[-1] else f"persona, {row.n_sinks} tokens"
        more = f"{100 * row.more:+.2f} %" if row is not rows[-1] else "-"
        noise = f"+-{100 * row.noise:.2f} %" if row is not rows[-1] else "-"
        lines.append([name, f"{row.perplexity:.2f}", more, noise])
    return table(lines)


def _plot(report: Mapping[str, Any], blocks: Mapping[int, Sequence[float]], path: Path) -> None:
    """Write the perplexity of each, and its course, as PNG."""
    figure, (bars, lines) = new_figure(2, report["title"])
    names = [*map(str, [*blocks][:-1]), f"persona\n({[*blocks][-1]})"]
    heights = [row["perplexity"] for row in report["rows"]]
    errors = [row["perplexity"] * row["noise"] for row in report["rows"]]
    bars.bar(names, heights, yerr=errors, color="#1f6fb4", width=0.6, capsize=3)
    bars.set_ylim(bottom=0.9 * min(heights))
    bars.set_xlabel("first tokens kept (bars: noise of the difference to the persona)")
    bars.set_ylabel("perplexity")
    for nll, name in zip(blocks.values(), names, strict=True):
        at = [report["window"] + report["n_block"] * (i + 1) for i in range(len(nll))]
        so_far = [math.exp(mean(nll[: i + 1])) for i in range(len(nll))]
        lines.plot(at, so_far, lw=1.4, label=name.replace("\n", " "))
    lines.set_ylabel("perplexity so far")
    lines.set_xlabel("tokens read")
    lines.legend(ncols=4, fontsize="small", title="first tokens kept")
    save_figure(figure, path)
