"""Reports of long measurements: JSON that survives a crash, a table to print, a page and a plot.

Owns how a report looks and that writing it is all or nothing. It knows no measurement. Plots need
matplotlib: the extra `[bench]`.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from npc_engine.errors import SetupError
from npc_engine.llama.machine import library
from npc_engine.llama.measurements import cpu_name
from npc_engine.text.tables import table
from npc_engine.version import __version__

__all__ = [
    *("COLOURS", "Table", "about_run", "as_page", "as_tables", "log_axis", "markdown_table"),
    *("need_plots", "new_figure", "preface", "save_figure", "verdicts", "write", "write_bytes"),
    *("write_json", "write_text"),
]

COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57", "#e09f3e", "#7b5ea7", "#4a4a4a", "#00a6a6", "#b56576")
_NUMBERS = re.compile(r"\[\n[-+.,eE\d\s]+\]")  # a list of hundreds belongs into one row


class Table(NamedTuple):
    """Rows of a report, the first of them its head, and what has to be known to read them."""

    title: str
    about: str
    rows: Sequence[Sequence[str]]


def about_run(benchmark: str) -> dict[str, Any]:
    """Return what every report begins with: what was run, and on which machine."""
    build = library()
    return {
        "benchmark": benchmark,
        "version": __version__,
        "llama_cpp_python": build["llama_cpp_python"],
        "cpu": cpu_name(),
        "features": build["features"],
    }


def verdicts(found: Mapping[str, Any], unknown: str = "not measured", of: str = ": ") -> str:
    """Return what passed and what did not, on one line."""
    names = {True: "passed", False: "FAILED", None: unknown}
    told = ", ".join(f"{what}{of}{names[value]}" for what, value in found["verdicts"].items())
    return told + (" (interrupted)\n" if found["interrupted"] else "\n")


def as_tables(tables: Sequence[Table]) -> str:
    """Return tables as aligned text."""
    return "\n".join(table(one.rows) for one in tables)


def as_page(preface: str, tables: Sequence[Table], whole: Mapping[str, Any]) -> str:
    """Return a page of documentation: tables, what they mean, and the verdicts."""
    parts = [preface]
    for title, about, rows in tables:
        parts += [f"## {title}\n\n{markdown_table(rows)}", about]
    return "\n\n".join([*parts, "**Verdicts.** " + verdicts(whole).strip() + "."]) + "\n"


def markdown_table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return rows as Markdown. `left`: the columns of words."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    n = len(rows[0])
    marks = "".join("---|" if i in left else "---:|" for i in range(n))
    return "\n".join([lines[0], "|" + marks, *lines[1:]])


def preface(title: str, whole: Mapping[str, Any]) -> str:
    """Return how a page begins: title, command, and the machine."""
    threads = "1 thread" if whole["n_threads"] == 1 else f"{whole['n_threads']} threads"
    return (
        f"# {title}: {whole['model']}\n\n    {whole['command']}\n\n"
        f"NPC Engine {whole['version']}, llama-cpp-python {whole['llama_cpp_python']}, "
        f"{whole['cpu']} ({', '.join(whole['features'])}), {threads}. "
    )


def write(
    args: argparse.Namespace,
    whole: Mapping[str, Any],
    told: str,
    page: str = "",
    alt: str = "",
    draw: Callable[[], Any] | None = None,
) -> None:
    """Write a report to --out, print it as `told`; write its page and its plot beside it.

    The JSON comes first: whatever happens to the others, it is there. Raises SetupError.
    """
    out, picture = Path(args.out), Path(args.out).with_suffix(".png")
    has_plot = draw is not None and not args.no_plot
    write_json(out, whole)
    if sys.stdout is not None:
        sys.stdout.write(told)
    if page:
        plot = f"\n![{alt}]({picture.name})\n" if has_plot else ""
        write_text(out.with_suffix(".md"), page + plot)
    if draw is not None and has_plot:
        save_figure(draw(), picture)


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report whole or not at all; its folder is made. Raises SetupError."""
    text = json.dumps(report, indent=1)
    write_text(path, _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; its folder is made. Raises SetupError."""
    write_bytes(
        path, text.replace("\n", os.linesep).encode(), f"The report {str(path)!r} cannot be written"
    )


def write_bytes(path: Path, data: bytes, fails: str) -> None:
    """Do so with bytes. `fails`: what the SetupError says."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".new")
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise SetupError(
            f"{fails}: {error.strerror}.",
            "Name another file with --out, or make room.",
        ) from None


def need_plots(args: argparse.Namespace) -> None:
    """Raise SetupError where plots are wanted and matplotlib is not installed.

    Better before an hour than after it.
    """
    if not args.no_plot and find_spec("matplotlib") is None:
        raise SetupError(
            "Plots need the package matplotlib, which is not installed.",
            "Install it: pip install 'npc-engine-llama[bench]', or give --no-plot.",
        )


def new_figure(n_rows: int, title: str) -> tuple[Any, list[Any]]:
    """Return a matplotlib Figure and its axes, one under the other, with one look for all plots."""
    from matplotlib.figure import Figure  # no pyplot: it wants a screen, and keeps state

    figure = Figure(figsize=(9, 1 + 2.8 * n_rows), layout="constrained", dpi=130)
    axes = list(figure.subplots(n_rows, 1, squeeze=False)[:, 0])
    figure.suptitle(title)
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_prop_cycle(color=COLOURS)
    return figure, axes


def log_axis(ax: Any, label: str) -> None:
    """Make an axis logarithmic, with plain numbers; over decades, at 1, 2 and 5 of each."""

    def plain(value: float, _position: int) -> str:
        low, high = ax.get_ylim()
        return f"{value:,g}" if high < 10 * low or f"{value:e}"[0] in "125" else ""

    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(plain)
    ax.yaxis.set_minor_formatter(plain)
    ax.set_ylabel(label)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG. Raises SetupError."""
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise SetupError(
            f"The plot {str(path)!r} cannot be written: {error.strerror}.",
            "Name another file with --out, or make room.",
        ) from None
