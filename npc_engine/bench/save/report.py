"""The report of `bench save`: JSON, tables, Markdown and plot of the same numbers.

Owns how they are shown. It measures and judges nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from npc_engine.bench.save.figures import LINE_TOKENS, Measured, judge, of_all
from npc_engine.bench.shared import report
from npc_engine.bench.shared.figures import MIB

__all__ = ["as_json", "as_markdown", "as_text", "figure", "has_figure"]

SIZES = ("tokens", "KV type", "bytes/token", "file MiB", "without KV, KiB")
TIMES = (
    *("tokens", "KV type", "copy out ms", "encode ms", "write ms"),
    *("read ms", "restore ms", "read again ms", "ratio"),
)
_SIZE = (
    "Size",
    "`bytes/token`: of the KV cache. `without KV`: the same character as `--save-kv no` saves it.",
)
_TIME = (
    "Time",
    "Medians of the rounds. `copy out`: on the engine's thread, in one step. `encode`, "
    "`write`: checksums and signature, and the file with its fsync, on the writer's thread. "
    "`restore`: from `load` to a character that sits in its slot with all that it knows, `read` "
    "(the file and its checksums) included; `read again`: the same from a save without a KV cache.",
)
_BESIDE = (
    "A save beside speakers",
    f"Steps in which all of them speak. A line is {LINE_TOKENS} of them on end; `longest` "
    "is the one that took longest. `added`: how much longer the longest of a save took than the "
    "longest without, in usual steps, the median of the rounds.",
)


def as_json(facts: Mapping[str, Any], found: Measured) -> dict[str, Any]:
    """Return the whole report, in plain JSON types."""
    whole = {**report.about_run("save"), **facts, "interrupted": found.interrupted, **of_all(found)}
    return whole | {"verdicts": judge(whole)}


def as_text(whole: Mapping[str, Any]) -> str:
    """Return the numbers as aligned text, and the verdicts."""
    return report.as_tables([*_tables(whole)]) + "\n" + report.verdicts(whole)


def as_markdown(whole: Mapping[str, Any]) -> str:
    """Return a page of documentation."""
    layouts = "; ".join(f"{kind}: {layout}" for kind, layout in whole["layouts"].items())
    setup = f"KV cache: {layouts}; beside speakers {whole['layout']}."
    return report.as_page(report.preface("Saves", whole) + setup, [*_tables(whole)], whole)


def _tables(whole: Mapping[str, Any]) -> Iterator[report.Table]:
    if rows := whole["characters"]:
        yield report.Table(*_SIZE, [SIZES, *map(_size, rows)])
        yield report.Table(*_TIME, [TIMES, *map(_time, rows)])
    if crowd := whole["crowd"]:
        yield report.Table(*_BESIDE, _beside(crowd))


def _size(row: Mapping[str, Any]) -> Sequence[str]:
    return (
        *(str(row["n_tokens"]), row["kv_type"], f"{row['bytes_per_token']:,.0f}"),
        *(f"{row['n_bytes'] / MIB:.1f}", f"{row['n_lean_bytes'] / 1024:.1f}"),
    )


def _time(row: Mapping[str, Any]) -> Sequence[str]:
    kinds = ("freeze", "encode", "write", "read", "restore", "reread")
    numbers = [f"{row['ms'][kind]:,.1f}" for kind in kinds]
    return (str(row["n_tokens"]), row["kv_type"], *numbers, f"{row['of_reread']:.0f} x")


def _beside(crowd: Mapping[str, Any]) -> list[Sequence[str]]:
    what = (
        f"{crowd['n_characters']} characters of {crowd['n_tokens']} tokens, "
        f"{crowd['n_speakers']} speaking"
    )
    worst, line = crowd["worst_ms"], crowd["line_ms"]
    return [
        (what, "without", "beside a save"),
        ("usual step, ms", f"{crowd['step_ms']:.1f}", ""),
        ("longest step, ms", f"{worst['quiet']:.1f}", f"{worst['during']:.1f}"),
        ("longest line, ms", f"{line['quiet']:.0f}", f"{line['during']:.0f}"),
        ("added to a line, steps", "", f"{crowd['added_steps']:.2f}"),
        ("from `save` to `saved`, s", "", f"{crowd['saved_ms'] / 1000:.1f}"),
        ("saved, MiB", "", f"{crowd['n_bytes'] / MIB:,.0f}"),
    ]


def has_figure(whole: Mapping[str, Any]) -> bool:
    """Whether anything was measured that can be drawn."""
    return bool(whole["characters"] or whole["crowd"])


def figure(whole: Mapping[str, Any]) -> Any:
    """Return the plot: restoring beside reading again, and the steps of those who speak."""
    draws: list[tuple[Any, Callable[[Any, Any], None]]] = [
        (whole["characters"], _draw_times),
        (whole["crowd"], _draw_steps),
    ]
    there = [(found, draw) for found, draw in draws if found]
    made, axes = report.new_figure(len(there), f"Saves: {whole['model']}")
    for ax, (found, draw) in zip(axes, there, strict=True):
        draw(ax, found)
        ax.legend(fontsize="small")
    return made


def _draw_times(ax: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    for kv_type in dict.fromkeys(row["kv_type"] for row in rows):
        own = sorted((r for r in rows if r["kv_type"] == kv_type), key=lambda r: r["n_tokens"])
        tokens = [row["n_tokens"] for row in own]
        for kind, name, style in (("reread", "read again", "o--"), ("restore", "restored", "o-")):
            ms = [row["ms"][kind] for row in own]
            ax.plot(tokens, ms, style, label=f"{kv_type}: {name}")
    report.log_axis(ax, "ms until it may speak")
    ax.set_xlabel("tokens of the character")


def _draw_steps(ax: Any, crowd: Mapping[str, Any]) -> None:
    quiet, during = crowd["quiet"], crowd["during"]
    before = len(quiet) // 2
    after = before + len(during)
    ax.plot(range(before), quiet[:before], color=report.COLOURS[0], label="without")
    ax.plot(range(before, after), during, color=report.COLOURS[1], label="beside a save")
    ax.plot(range(after, after + len(quiet) - before), quiet[before:], color=report.COLOURS[0])
    ax.set_ylim(bottom=0)
    ax.set_ylabel("ms of a step")
    ax.set_xlabel(f"steps of {crowd['n_speakers']} speakers, the last round")
