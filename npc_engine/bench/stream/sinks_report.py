"""What follows from `tune sinks`: how many of the first tokens a model needs.

Owns the comparison, block by block, the sentence about it, the table and the plot. It reads no
model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from npc_engine.bench.shared.report import new_figure, save_figure
from npc_engine.bench.stream.figures import difference
from npc_engine.text.tables import table

__all__ = ["Row", "advice", "compare", "plot", "text_table"]

TIE = 0.01  # of perplexity: nobody notices less


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
        said.append(f"{_kept(enough)} enough: within noise, or {100 * TIE:.0f} %, of the best.")
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


def _kept(row: Row) -> str:
    return f"{row.n_sinks} of them {'is' if row.n_sinks == 1 else 'are'}"


def text_table(rows: Sequence[Row]) -> str:
    """Return the rows as a table for a terminal."""
    head = ["kept", "perplexity", "against the persona", "noise"]
    lines = [head]
    for row in rows:
        name = f"{row.n_sinks} tokens" if row is not rows[-1] else f"persona, {row.n_sinks} tokens"
        more = f"{100 * row.more:+.2f} %" if row is not rows[-1] else "-"
        noise = f"+-{100 * row.noise:.2f} %" if row is not rows[-1] else "-"
        lines.append([name, f"{row.perplexity:.2f}", more, noise])
    return table(lines)


def plot(report: Mapping[str, Any], blocks: Mapping[int, Sequence[float]], path: Path) -> None:
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
