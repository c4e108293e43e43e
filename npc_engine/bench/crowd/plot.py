"""The plot of `bench crowd`: a panel for each thing that was measured by numbers of something.

Owns how it is drawn. It measures and judges nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from npc_engine.bench.crowd.figures import AUTO
from npc_engine.bench.shared import report

__all__ = ["figure", "has_figure"]

WAYS = {
    "engine": "NPC Engine",
    "bare": "bare loop",
    "defaults": "bare loop, llama.cpp's defaults",
    "serial": "one by one",
}

Rows = Sequence[Mapping[str, Any]]


def has_figure(whole: Mapping[str, Any]) -> bool:
    """Whether anything was measured that can be drawn."""
    return bool(whole["speakers"] or whole["governor"])


def figure(whole: Mapping[str, Any]) -> Any:
    """Return the plot; of nothing measured it is one empty panel."""
    speakers, shared = whole["speakers"], whole["governor"]
    n_panels = 2 * bool(speakers) + bool(shared)
    made, panels = report.new_figure(max(1, n_panels), f"A crowd: {whole['model']}")
    if speakers:
        _speed(panels[0], speakers)
        _waits(panels[1], speakers)
    if shared:
        _threads(panels[-1], shared)
    return made


def _speed(ax: Any, rows: Rows) -> None:
    """Tokens per second, by number of speakers."""
    counts = [row["n_speakers"] for row in rows]
    for way in ("bare", "engine", "defaults"):
        if all(way in row["decode_tps"] for row in rows):
            ax.plot(counts, [row["decode_tps"][way] for row in rows], "o-", label=WAYS[way])
    for way in ("engine", "serial"):
        served = [row["served_tps"][way] for row in rows]
        ax.plot(counts, served, "o--", label=f"{WAYS[way]}, with what they read")
    ax.set_ylabel("tokens per second, all together")
    ax.set_ylim(bottom=0)
    _by_speakers(ax, counts)


def _waits(ax: Any, rows: Rows) -> None:
    """First tokens, by number of speakers."""
    counts = [row["n_speakers"] for row in rows]
    for way, which in (("engine", "median"), ("engine", "worst"), ("serial", "worst")):
        label = f"{WAYS[way]}: {'the last' if which == 'worst' else which}"
        ax.plot(counts, [row["first_ms"][way][which] for row in rows], "o-", label=label)
    report.log_axis(ax, "first token, ms")
    _by_speakers(ax, counts)


def _by_speakers(ax: Any, counts: Sequence[int]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(counts, map(str, counts))
    ax.set_xlabel("speakers, all asked at once")
    ax.legend(fontsize="small")


def _threads(ax: Any, rows: Rows) -> None:
    """Every fixed count of threads as a line, auto as a dashed level of the same colour."""
    fixed = [way for way in rows[0]["tps"] if way != AUTO]
    for row in rows:
        who = "1 speaker" if row["n_speakers"] == 1 else f"{row['n_speakers']} speakers"
        game = f"{row['n_busy']} busy processes" if row["n_busy"] else "quiet"
        tps = [row["tps"][way] for way in fixed]
        (line,) = ax.plot([*map(int, fixed)], tps, "o-", label=f"{who}, {game}")
        ax.axhline(row["tps"][AUTO], color=line.get_color(), ls="--")
    ax.plot([], [], "k--", label="auto")
    ax.set_xticks([*map(int, fixed)])
    ax.set_xlabel("threads, a fixed count")
    ax.set_ylabel("tokens per second, all together")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize="small")
