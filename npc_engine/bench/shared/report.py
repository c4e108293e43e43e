"""Reports of long measurements: JSON that survives a crash, plots, and progress.

Owns how a report looks and that writing it is all or nothing. It knows no benchmark. Plots need
matplotlib and progress bars rich: the extra `[bench]`.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from npc_engine.errors import SetupError

__all__ = [
    "log_axis",
    "need_plots",
    "new_figure",
    "progress",
    "save_figure",
    "write_json",
    "write_text",
]

COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57", "#e09f3e", "#7b5ea7", "#4a4a4a", "#00a6a6", "#b56576")


_NUMBERS = re.compile(r"\[\n[-+.,eE\d\s]+\]")  # a list of hundreds belongs into one row


def need_plots() -> None:
    """Raise SetupError where matplotlib is not installed: better before an hour than after it."""
    if find_spec("matplotlib") is None:
        raise SetupError(
            "Plots need the package matplotlib, which is not installed.",
            "Install it: pip install 'npc-engine-llama[bench]', or give --no-plot.",
        )


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report whole or not at all; its folder is made. Raises SetupError."""
    text = json.dumps(report, indent=1)
    write_text(path, _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; its folder is made. Raises SetupError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".new")
        beside.write_text(text, "utf-8")
        beside.replace(path)
    except OSError as error:
        raise SetupError(
            f"The report {str(path)!r} cannot be written: {error.strerror}.",
            "Name another file with --out, or make room.",
        ) from None


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


@contextmanager
def progress(total: float, what: str) -> Iterator[Callable[[float, str], None]]:
    """Show progress on stderr; gives a function of (done so far, what is being done).

    A bar with the time left where there is a terminal, a line every 5 % where there is none.
    """
    if find_spec("rich") is None or sys.stderr is None or not sys.stderr.isatty():
        yield _lines(total, what)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, now: bar.update(task, completed=done, description=now or what)


def _lines(total: float, what: str) -> Callable[[float, str], None]:
    last = -1

    def show(done: float, now: str) -> None:
        nonlocal last
        step = int(20 * done / max(total, 1e-9))
        if step > last and sys.stderr is not None:
            last = step
            sys.stderr.write(f"{5 * step:3d} %  {now or what}\n")
            sys.stderr.flush()

    return show
