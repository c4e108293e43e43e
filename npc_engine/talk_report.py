"""The report of `bench talk`: JSON, table, Markdown and plot of the same numbers.

Owns how they are shown. It measures and judges nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from npc_engine import __version__, report
from npc_engine.machine import library
from npc_engine.measurements import cpu_name
from npc_engine.talk_turn import MOST_EXTRA, MOST_RATIO, Side, TalkRun, judge, summary

__all__ = ["as_json", "as_markdown", "as_table", "figure", "passed"]

MIB = 1 << 20
HEAD = (
    *("window", "side", "turns", "turns ov.", "TTFT ms", "TTFT ov.", "ratio", "p95 ov.", "max ov."),
    *("total ms", "total ov.", "read", "read ov.", "errors"),
)


def passed(run: TalkRun) -> bool:
    """Whether no verdict is against it; one that was cut off has not passed."""
    return not run.interrupted and False not in judge(summary(run.ours)).values()


def as_json(facts: dict[str, Any], runs: Sequence[TalkRun]) -> dict[str, Any]:
    """Return the whole report, each turn included."""
    build = library()
    return {
        "benchmark": "talk",
        "version": __version__,
        "llama_cpp_python": build["llama_cpp_python"],
        "cpu": cpu_name(),
        "features": build["features"],
        **facts,
        "windows": [_window(run) for run in runs],
    }


def _window(run: TalkRun) -> dict[str, Any]:
    ours = summary(run.ours)
    return {
        "window": run.window,
        "n_pinned": run.n_pinned,
        "interrupted": run.interrupted,
        "verdicts": judge(ours),
        "ours": ours,
        "rival": summary(run.theirs),
        "turns": {"ours": _columns(run.ours), "rival": _columns(run.theirs)},
    }


def _columns(side: Side) -> dict[str, str]:
    """Each turn's values, one row of text to a value: a report is to be read, too."""
    rows = [asdict(turn) for turn in side.turns]
    return {name: " ".join(_short(row[name]) for row in rows) for name in rows[0]} if rows else {}


def _short(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(int(value))


def as_table(windows: Sequence[dict[str, Any]]) -> str:
    """Return the numbers as aligned text. `ov.`: of the overflow turns."""
    rows: list[Sequence[str]] = [HEAD]
    for found in windows:
        rows += [_row(found, "ours"), _row(found, "rival")]
    return report.table(rows)


def _row(found: dict[str, Any], side: str) -> list[str]:
    numbers = found[side]
    ordinary, overflow = numbers["ordinary"], numbers["overflow"]
    return [
        str(found["window"]),
        side,
        str(ordinary["n"] if ordinary else 0),
        str(overflow["n"] if overflow else 0),
        _value(ordinary, "ttft_ms"),
        _value(overflow, "ttft_ms"),
        "-" if numbers["ttft_ratio"] is None else f"{numbers['ttft_ratio']:.2f}",
        _value(overflow, "ttft_ms", "p95"),
        _value(overflow, "ttft_ms", "max"),
        _value(ordinary, "total_ms"),
        _value(overflow, "total_ms"),
        _value(ordinary, "n_read"),
        _value(overflow, "n_read"),
        str(numbers["n_errors"]),
    ]


def _value(numbers: dict[str, Any] | None, key: str, which: str = "median") -> str:
    return "-" if numbers is None else f"{numbers[key][which]:.0f}"


def as_markdown(found: dict[str, Any], name: str) -> str:
    """Return a page of documentation; `name` is that of the plot beside it, without its suffix."""
    windows = found["windows"]
    rows = [HEAD, *(_row(one, side) for one in windows for side in ("ours", "rival"))]
    table = ["| " + " | ".join(row) + " |" for row in rows]
    table.insert(1, "|" + "---:|" * len(HEAD))
    return "\n".join([*_preface(found), *table, "", *map(_aside, windows), f"![]({name}.png)", ""])


def _preface(found: dict[str, Any]) -> list[str]:
    return [
        f"# A talk of {found['n_turns']} turns: {found['model']}",
        "",
        f"`npc-engine bench talk`, version {found['version']}, llama-cpp-python "
        f"{found['llama_cpp_python']}. {found['cpu']} ({', '.join(found['features'])}), "
        f"{found['n_threads']} thread(s). Both sides: KV cache {found['layout']}, greedy, at most "
        f"{found['max_tokens']} tokens a reply, the same lines by turns. The rival is "
        "llama-cpp-python's `create_chat_completion` with its oldest turns trimmed until prompt "
        "and reply fit; it runs in a process of its own.",
        "",
        "TTFT: time to first token. `ov.`: overflow turns, for which the past had to make room. "
        "`ratio`: TTFT of overflow turns against ordinary ones, medians. `read`: tokens decoded "
        "before the reply, the new message among them. Numbers without a name are medians.",
        "",
    ]


def _aside(one: dict[str, Any]) -> str:
    ours, rival = one["ours"], one["rival"]
    extra = ours["overflow"]["n_extra"]["max"] if ours["overflow"] else 0
    return (
        f"* Window {one['window']}, persona {one['n_pinned']} tokens. Ours: overflow turns read at "
        f"most {extra} tokens beside the message (goal: {MOST_EXTRA}); ratio goal {MOST_RATIO}; "
        f"{ours['n_idle']} tokens read in the pauses, the longest {ours['idle_ms_max']:.0f} ms; "
        f"{ours['n_renumbered']} renumberings; RSS {_mib(ours)}. "
        f"Rival: {rival['n_turns']} turns, RSS {_mib(rival)}{_errors(rival)}."
    )


def _mib(numbers: dict[str, Any]) -> str:
    return f"{numbers['rss_first'] / MIB:.0f} -> {numbers['rss_last'] / MIB:.0f} MiB"


def _errors(numbers: dict[str, Any]) -> str:
    return f"; {numbers['n_errors']} errors: {numbers['errors']}" if numbers["n_errors"] else ""


def figure(runs: Sequence[TalkRun]) -> Any:
    """Return the plot: time to first token by turn, a row for each window, both sides."""
    made, axes = report.new_figure(len(runs), "Time to first token, turn by turn")
    for ax, run in zip(axes, runs, strict=True):
        for name, side in (("NPC Engine", run.ours), ("create_chat_completion", run.theirs)):
            (line,) = ax.plot(
                [t.number for t in side.turns], [t.ttft_ms for t in side.turns], label=name, lw=1
            )
            over = [t for t in side.turns if t.overflow]
            ax.plot(
                [t.number for t in over],
                [t.ttft_ms for t in over],
                ".",
                color=line.get_color(),
                label=f"{name}: overflow turn",
            )
        ax.set_yscale("log")
        ax.set_ylabel("ms")
        ax.set_title(f"window {run.window}", fontsize="medium", loc="left")
    axes[0].legend(loc="center right", fontsize="small")
    axes[-1].set_xlabel("turn")
    return made
