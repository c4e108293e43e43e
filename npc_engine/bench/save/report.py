"""The report of `bench save`: JSON, tables, Markdown and plot of the same numbers.

Owns how they are shown. It measures and judges nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from npc_engine.bench.save.figures import LINE_TOKENS, Measured, judge, of_all
from npc_engine.bench.shared import report
from npc_engine.llama.machine import library
from npc_engine.llama.measurements import cpu_name
from npc_engine.text.tables import table
from npc_engine.version import __version__

__all__ = ["as_json", "as_markdown", "as_tables", "figure", "passed", "verdicts"]

MIB = 1 << 20
SIZES = ("tokens", "KV type", "bytes/token", "file MiB", "without KV, KiB")
TIMES = (
    *("tokens", "KV type", "copy out ms", "encode ms", "write ms"),
    *("read ms", "restore ms", "read again ms", "ratio"),
)
_SIZE, _TIME, _BESIDE = "Size", "Time", "A save beside speakers"
_ABOUT = {
    _SIZE: "`bytes/token`: of the KV cache. `without KV`: the same character as `--save-kv no` "
    "saves it.",
    _TIME: "Medians of the rounds. `copy out`: on the engine's thread, in one step. `encode`, "
    "`write`: checksums and signature, and the file with its fsync, on the writer's thread. "
    "`restore`: from `load` to a character that sits in its slot with all that it knows, `read` "
    "(the file and its checksums) included; `read again`: the same from a save without a KV cache.",
    _BESIDE: f"Steps in which all of them speak. A line is {LINE_TOKENS} of them on end; `longest` "
    "is the one that took longest. `added`: how much longer the longest of a save took than the "
    "longest without, in usual steps, the median of the rounds.",
}

Table = tuple[str, list[Sequence[str]]]


def as_json(facts: Mapping[str, Any], found: Measured) -> dict[str, Any]:
    """Return the whole report, in plain JSON types."""
    build = library()
    whole = {
        "benchmark": "save",
        "version": __version__,
        "llama_cpp_python": build["llama_cpp_python"],
        "cpu": cpu_name(),
        "features": build["features"],
        **facts,
        "interrupted": found.interrupted,
        **of_all(found),
    }
    return whole | {"verdicts": judge(whole)}


def passed(whole: Mapping[str, Any]) -> bool:
    """Whether no verdict is against it; one that was cut off has not passed."""
    return not whole["interrupted"] and False not in whole["verdicts"].values()


def verdicts(whole: Mapping[str, Any]) -> str:
    """Return what passed and what did not, on one line."""
    names = {True: "passed", False: "FAILED", None: "not measured"}
    told = ", ".join(f"{what}: {names[value]}" for what, value in whole["verdicts"].items())
    return told + (" (interrupted)\n" if whole["interrupted"] else "\n")


def as_tables(whole: Mapping[str, Any]) -> str:
    """Return the numbers as aligned text."""
    return "\n".join(table(rows) for _, rows in _tables(whole))


def as_markdown(whole: Mapping[str, Any], picture: str) -> str:
    """Return a page of documentation; `picture` is the plot's file, "" for none."""
    parts = [_preface(whole)]
    for title, rows in _tables(whole):
        marks = "|" + "---|" + "---:|" * (len(rows[0]) - 1)
        table = ["| " + " | ".join(row) + " |" for row in rows]
        parts.append("\n".join([f"## {title}", "", table[0], marks, *table[1:]]))
        parts.append(_ABOUT[title])
    parts.append("**Verdicts.** " + verdicts(whole).strip() + ".")
    if picture:
        parts.append(f"![Restoring and reading again, and steps beside a save]({picture})")
    return "\n\n".join(parts) + "\n"


def _tables(whole: Mapping[str, Any]) -> list[Table]:
    tables: list[Table] = []
    if rows := whole["characters"]:
        tables.append((_SIZE, [SIZES, *map(_size, rows)]))
        tables.append((_TIME, [TIMES, *map(_time, rows)]))
    if crowd := whole["crowd"]:
        tables.append((_BESIDE, _beside(crowd)))
    return tables


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


def _preface(whole: Mapping[str, Any]) -> str:
    threads = "1 thread" if whole["n_threads"] == 1 else f"{whole['n_threads']} threads"
    return (
        f"# Saves: {whole['model']}\n\n    {whole['command']}\n\n"
        f"NPC Engine {whole['version']}, llama-cpp-python {whole['llama_cpp_python']}, "
        f"{whole['cpu']} ({', '.join(whole['features'])}), {threads}. KV cache: "
        + "; ".join(f"{kind}: {layout}" for kind, layout in whole["layouts"].items())
        + f"; beside speakers {whole['layout']}."
    )


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
