"""How all plots look, and that there can be any: they need matplotlib, of the extra `[bench]`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from npc_engine.errors import SetupError

__all__ = ["COLOURS", "log_axis", "need_plots", "new_figure", "save_figure"]

COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57", "#e09f3e", "#7b5ea7", "#4a4a4a", "#00a6a6", "#b56576")


def need_plots() -> None:
    """Raise SetupError where matplotlib is not installed: better before an hour than after it."""
    if find_spec("matplotlib") is None:
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
