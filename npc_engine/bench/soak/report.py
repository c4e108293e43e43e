"""The report of `bench soak`: JSON, table and plot of the same runs.

Owns how they are shown. It measures and judges nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from npc_engine.bench.shared.figures import MIB, passed
from npc_engine.bench.shared.report import new_figure
from npc_engine.bench.soak.figures import Sample, judge, series
from npc_engine.bench.soak.process import SoakRun
from npc_engine.text.tables import table

__all__ = ["as_json", "as_text", "figure"]

HEAD = ("model", "tokens", "spoken", "RSS MiB", "growth", "ms/token", "drift", "faults", "")

Runs = Sequence[dict[str, Any]]


def as_json(name: str, run: SoakRun) -> dict[str, Any]:
    """Return one model's part of the report, in plain JSON types."""
    end = run.samples[-1] if run.samples else Sample(0, 0, 0.0, 0.0, 0.0, 0)
    return {
        "name": name,
        **run.facts,
        **asdict(end),
        "interrupted": run.interrupted,
        "n_faults": run.n_faults,
        "faults": run.faults,
        **judge(run.samples, run.n_faults),
        "series": series(run.samples),
    }


def as_text(runs: Runs) -> str:
    """Return the numbers as aligned text, and what went wrong."""
    return table([HEAD, *map(_row, runs)]) + "".join(map(_complaints, runs))


def _row(run: dict[str, Any]) -> list[str]:
    n = max(1, run["n_tokens"])
    return [
        run["name"],
        f"{run['n_tokens']:,}",
        f"{run['n_decoded'] / n:.0%}",
        f"{run['rss'] / MIB:.1f}",
        _signed(run["rss_growth"]),
        f"{1000 * run['cpu_s'] / n:.3f}",
        _signed(run["ms_drift"]),
        str(run["n_faults"]),
        "passed" if passed(run) else "FAILED",
    ]


def _signed(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:+.2%}"


def _complaints(run: dict[str, Any]) -> str:
    return "".join(f"{run['name']}: {fault}\n" for fault in run["faults"][:5])


def figure(runs: Runs) -> Any:
    """Return the plot: memory and time per token, a curve for each model."""
    made, (memory, time) = new_figure(2, "A talk without end")
    for run in runs:
        tokens = [n / 1000 for n in run["series"]["n_tokens"]]
        memory.plot(tokens, run["series"]["rss_mib"], label=run["name"])
        time.plot(tokens, run["series"]["cpu_ms"], label=run["name"])
    for ax, what in ((memory, "RSS, MiB"), (time, "processor time, ms per token")):
        ax.set_ylabel(what)
        ax.set_ylim(bottom=0)
        ax.legend(loc="lower right", fontsize="small")
    time.set_xlabel("tokens read and spoken, thousands")
    return made
