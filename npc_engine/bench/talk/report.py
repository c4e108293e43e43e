"""The report of `bench talk`: JSON, table, Markdown and plot of the same numbers.

Owns how they are shown. It measures and judges nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from npc_engine.bench.shared.figures import MIB
from npc_engine.bench.shared.report import about_run, markdown_table, new_figure, preface, verdicts
from npc_engine.bench.talk import figures
from npc_engine.text.tables import table

__all__ = ["as_json", "as_markdown", "as_text", "figure"]

HEAD = (
    *("window", "side", "turns", "turns ov.", "TTFT ms", "TTFT ov.", "ratio", "p95 ov.", "max ov."),
    *("total ms", "total ov.", "read", "read ov.", "errors"),
)


def as_json(facts: dict[str, Any], runs: Sequence[figures.TalkRun]) -> dict[str, Any]:
    """Return the whole report, each turn included."""
    return {**about_run("talk"), **facts, "windows": [_window(run) for run in runs]}


def _window(run: figures.TalkRun) -> dict[str, Any]:
    ours = figures.summary(run.ours)
    return {
        "window": run.window,
        "n_pinned": run.n_pinned,
        "interrupted": run.interrupted,
        "verdicts": figures.judge(ours),
        "ours": ours,
        "rival": figures.summary(run.baseline),
        "turns": {"ours": _columns(run.ours), "rival": _columns(run.baseline)},
    }


def _columns(side: figures.Side) -> dict[str, str]:
    """Each turn's values, one row of text to a value: a report is to be read, too."""
    rows = [asdict(turn) for turn in side.turns]
    return {name: " ".join(_short(row[name]) for row in rows) for name in rows[0]} if rows else {}


def _short(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(int(value))


def as_text(whole: dict[str, Any]) -> str:
    """Return the numbers as aligned text, and for each window what passed and what did not."""
    judged = (f"window {o['window']}: {verdicts(o, 'no overflow', ' ')}" for o in whole["windows"])
    return table(_rows(whole)) + "".join(judged)


def _rows(whole: dict[str, Any]) -> list[Sequence[str]]:
    """The numbers. `ov.`: of the overflow turns."""
    sides = ("ours", "rival")
    return [HEAD, *(_row(window, side) for window in whole["windows"] for side in sides)]


def _row(found: dict[str, Any], side: str) -> list[str]:
    numbers = found[side]
    ordinary, overflow = numbers["ordinary"], numbers["overflow"]
    return [
        *(str(found["window"]), side),
        *(str(turns["n"] if turns else 0) for turns in (ordinary, overflow)),
        *(_value(turns, "ttft_ms") for turns in (ordinary, overflow)),
        "-" if numbers["ttft_ratio"] is None else f"{numbers['ttft_ratio']:.2f}",
        *(_value(overflow, "ttft_ms", which) for which in ("p95", "max")),
        *(_value(turns, "total_ms") for turns in (ordinary, overflow)),
        *(_value(turns, "n_read") for turns in (ordinary, overflow)),
        str(numbers["n_errors"]),
    ]


def _value(numbers: dict[str, Any] | None, key: str, which: str = "median") -> str:
    return "-" if numbers is None else f"{numbers[key][which]:.0f}"


def as_markdown(whole: dict[str, Any]) -> str:
    """Return a page of documentation."""
    asides = "".join(f"{_aside(window)}\n" for window in whole["windows"])
    return f"{_preface(whole)}\n\n{markdown_table(_rows(whole), left=())}\n\n{asides}"


def _preface(whole: dict[str, Any]) -> str:
    return (
        preface(f"A talk of {whole['n_turns']} turns", whole) + "Both sides: KV cache "
        f"{whole['layout']}, greedy, at most {whole['max_tokens']} tokens a reply, the same lines "
        "turn by turn. The rival is llama-cpp-python's `create_chat_completion`, where the oldest "
        "turns are trimmed until prompt and reply fit; it runs in a process of its own.\n\n"
        "TTFT: time to first token. `ov.`: overflow turns, for which the past had to make room; "
        "the other columns are of ordinary turns. `ratio`: TTFT of the former against the latter. "
        "`read`: tokens decoded before the reply, the new message among them. Numbers are medians "
        "where nothing else is said."
    )


def _aside(one: dict[str, Any]) -> str:
    ours, baseline = one["ours"], one["rival"]
    extra = ours["overflow"]["n_extra"]["max"] if ours["overflow"] else 0
    idle = ours["n_idle"] / max(1, ours["n_turns"])
    return (
        f"* **Window {one['window']}**, persona {one['n_pinned']} tokens. Ours: overflow turns "
        f"read at most {extra} tokens beside the message (goal: {figures.MOST_EXTRA}; of the "
        f"ratio: {figures.MOST_RATIO}); in the pauses {idle:.1f} tokens a turn, the longest pause "
        f"{ours['idle_ms_max']:.0f} ms; renumbered {ours['n_renumbered']} times; RSS {_mib(ours)}. "
        f"Rival: {baseline['n_turns']} turns, RSS {_mib(baseline)}{_errors(baseline)}."
    )


def _mib(numbers: dict[str, Any]) -> str:
    return f"{numbers['rss_first'] / MIB:.0f} -> {numbers['rss_last'] / MIB:.0f} MiB"


def _errors(numbers: dict[str, Any]) -> str:
    return f"; {numbers['n_errors']} errors: {numbers['errors']}" if numbers["n_errors"] else ""


def figure(runs: Sequence[figures.TalkRun]) -> Any:
    """Return the plot: time to first token by turn, a row for each window, both sides."""
    made, axes = new_figure(max(1, len(runs)), "Time to first token, turn by turn")
    for ax, run in zip(axes, runs, strict=False):
        for name, side in (("NPC Engine", run.ours), ("create_chat_completion", run.baseline)):
            _curve(ax, name, side.turns)
        _scale(ax, [t.ttft_ms for t in run.ours.turns + run.baseline.turns])
        ax.set_title(f"window of {run.window} tokens", fontsize="medium", loc="left")
        if run.ours.turns or run.baseline.turns:
            ax.legend(loc="upper right", fontsize="small")
    axes[-1].set_xlabel("turn (a dot: the past had to make room)")
    return made


def _curve(ax: Any, name: str, turns: Sequence[figures.Turn]) -> None:
    if not turns:
        return
    numbers, ms = [t.number for t in turns], [t.ttft_ms for t in turns]
    (line,) = ax.plot(numbers, ms, label=name, lw=1)
    over = [t for t in turns if t.overflow]
    dots = [t.number for t in over], [t.ttft_ms for t in over]
    ax.plot(*dots, ".", color=line.get_color(), markersize=4)


def _scale(ax: Any, ms: Sequence[float]) -> None:
    """A logarithmic axis with labels at 1, 2 and 5, however small its range is."""
    ax.set_yscale("log")
    ticks = [digit * 10**power for power in range(-1, 6) for digit in (1, 2, 5)]
    shown = [t for t in ticks if min(ms, default=1) / 2 < t < max(ms, default=1) * 3]
    ax.set_yticks(shown, [f"{t:g} ms" if t < 1000 else f"{t / 1000:g} s" for t in shown])
    ax.minorticks_off()
