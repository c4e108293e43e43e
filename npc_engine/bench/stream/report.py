"""The report of `bench stream` as table, Markdown and plot.

Owns how a run is told. `figures` computes what is told; this reads no model, and a report
that was kept as JSON can be told again.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from npc_engine.bench.shared.report import log_axis, markdown_table, new_figure, save_figure
from npc_engine.bench.stream.figures import BROKEN, Figures, course, difference, perplexity
from npc_engine.text.tables import table

__all__ = ["markdown", "plot", "text_table"]

_STYLES: Mapping[str, dict[str, Any]] = {
    "full": {"color": "#222222", "lw": 1.4},
    "linear": {"color": "#222222", "lw": 1.2, "ls": "--"},
    "no-sinks": {"color": "#e08a1e", "lw": 1.4},
    "recompute": {"color": "#2e8b57", "lw": 1.4, "ls": ":"},
    "ours": {"color": "#d1495b", "lw": 4, "alpha": 0.55, "zorder": 1},
}
_SINKS = ("#9ecae1", "#6baed6", "#3182bd", "#08519c")


def text_table(report: Mapping[str, Any]) -> str:
    """Return the table of a report, aligned for a terminal."""
    rows = _rows(report)
    width = max(len(row[-1]) for row in rows)
    return table([[*row[:-1], row[-1].ljust(width)] for row in rows])  # the only words


def _rows(report: Mapping[str, Any]) -> list[list[str]]:
    head = ["policy", "tokens", "perplexity", "2nd quarter", "4th quarter", "ms read", "ms token"]
    rows = [[*head, "ms evict", "context", "KV MiB", "end"]]
    for f in report["policies"]:
        if "skipped" in f:
            rows.append([f["title"], *["-"] * 9, f"not run: {f['skipped']}"])
            continue
        quarters = [] if f["ended"] else f["quarters"]
        rows.append(
            [
                f["title"],
                f"{f['n_scored']:,}",
                f"{f['perplexity']:.2f}",
                *([f"{quarters[i]:.2f}" for i in (1, 3)] if quarters else ["-", "-"]),
                f"{f['read_ms']:.2f}",
                f"{f['token_ms']:.1f}",
                f"{f['evict_ms']:.1f}",
                f"{f['mean_context']:.0f}",
                f"{f['peak_kv_bytes'] / (1 << 20):.1f}",
                _end(f),
            ]
        )
    return rows


def _end(f: Figures) -> str:
    parts = []
    if f["broke_at"]:
        parts.append(f"perplexity x {BROKEN:g} by {f['broke_at']:,}")
    if f["ended"]:
        parts.append(f"{f['ended']} at {f['n_read']:,}")
    return "; ".join(parts) or "goes on"


def _notes(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the figures has to know."""
    s = report["settings"]
    known = {f["name"]: f for f in report["policies"] if "skipped" not in f}
    found = [
        f"Window: {s['window']} cells; full attention has {s['n_full']:,} (`--full-tokens`). KV "
        f"cache: {report['layout']}. Threads: {s['n_threads']}.",
        f"The text is read in chunks of {s['n_chunk']} tokens, room being made before each. All "
        "policies score the same tokens. `context`: tokens that one could see, on average.",
        "`ms read`: a token of a chunk, with the making of room. `ms token`: a token read alone, "
        "as when a reply is generated. `ms evict`: the same, the first one behind the making of "
        "room, with the moving of cells where cells move. Medians over blocks of "
        f"{report['n_block']:,} tokens; the policies take turns block by block, so that a busy "
        "machine slows all of them.",
        f"`KV MiB`: most cells in use, at {report['kv_bytes_per_token']:,} bytes.",
    ]
    return found + _on_ended(known) + _on_recomputation(known) + _on_ours(known, s)


def _on_ended(known: Mapping[str, Figures]) -> list[str]:
    """Perplexities of different stretches of text cannot be compared."""
    others = [f for f in known.values() if not f["ended"]]
    other = known.get("ours") or (others[0] if others else None)
    ended = [f for f in known.values() if f["ended"]]
    if other is None:
        return []
    return [
        f"{f['title']} ended at {f['n_read']:,} tokens; over the same tokens {other['title']} has "
        f"{perplexity(other, len(f['blocks']['nll'])):.2f}."
        for f in ended
    ]


def _on_recomputation(known: Mapping[str, Figures]) -> list[str]:
    if "recompute" not in known:
        return []
    same = [f"{f['title']} {f['perplexity_same']:.2f}" for f in known.values() if not f["ended"]]
    return [
        "Recomputation is sampled: of so many chunks one is scored, after the cache was cleared "
        "and the window read again. Its `ms token` is what reading the window takes: it is paid "
        f"for every token of a reply. On the sampled tokens alone: {', '.join(same)}."
    ]


def _on_ours(known: Mapping[str, Figures], settings: Mapping[str, Any]) -> list[str]:
    ours = known.get("ours")
    if ours is None:
        return []
    found = [
        f"Ours: the engine's ledger with {settings['n_pinned']} pinned tokens and turns of "
        f"{settings['n_turn']}; holes were closed {ours['renumbered']} times."
    ]
    nll = ours["blocks"]["nll"]
    for name in ("sinks-4", "no-sinks"):
        if name in known and len(nll) > 1:
            more, noise = difference(nll, known[name]["blocks"]["nll"])
            found.append(
                f"Ours against {known[name]['title']}: {100 * more:+.2f} % (+-{100 * noise:.2f} %)."
            )
    if ours["quarters"]:
        courses = [
            _course(f)
            for f in known.values()
            if not f["ended"] and f["name"] in ("ours", "sinks-4", "no-sinks")
        ]
        found.append(
            f"Second quarter of the text, and last: {'; '.join(courses)}. The noise is that of the "
            "text, which is not equally hard everywhere."
        )
    return found


def _course(f: Figures) -> str:
    said = f"{f['title']} {f['quarters'][1]:.2f}, then {f['quarters'][3]:.2f}"
    if len(f["blocks"]["nll"]) < 8:
        return said
    more, noise = course(f["blocks"]["nll"])
    return f"{said} ({100 * more:+.1f} % +-{100 * noise:.1f} %)"


def markdown(report: Mapping[str, Any], picture: str) -> str:
    """Return a report as Markdown; `picture`: the plot's file name, "" for none."""
    rows = _rows(report)
    plotted = [f"![Perplexity, time and memory against tokens read]({picture})", ""]
    lines = [f"# {report['title']}", "", f"    {report['command']}", ""]
    model, text, machine = report["model"], report["text"], report["machine"]
    lines += [
        f"Model: {model['name']} ({model['arch']}), {model['n_bytes'] >> 20} MiB, trained for "
        f"{model['n_ctx_train']:,} tokens. Text: {text['name']}, {report['n_tokens']:,} tokens. "
        f"Machine: {machine['n_physical']} cores, {', '.join(machine['features'])}; "
        f"llama-cpp-python {machine['llama_cpp_python']} ({machine['compiler'] or 'unknown'}).",
        "",
        markdown_table(rows, left=(0, len(rows[0]) - 1)),
        "",
        *(plotted if picture else []),
        *(f"* {note}" for note in _notes(report)),
        "",
    ]
    return "\n".join(lines)


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Write perplexity, ms per token and KV bytes against tokens read as PNG."""
    figure, axes = new_figure(3, report["title"])
    n_sinks = 0
    for f in report["policies"]:
        if "skipped" in f:
            continue
        style = _STYLES.get(f["name"]) or {"color": _SINKS[n_sinks % len(_SINKS)], "lw": 1.1}
        n_sinks += f["name"] not in _STYLES
        blocks = f["blocks"]
        at = [min(report["n_block"] * (i + 1), f["n_read"]) for i in range(len(blocks["nll"]))]
        kv = [n * report["kv_bytes_per_token"] / (1 << 20) for n in blocks["peak_cells"]]
        # Of few tokens in a block a longer stretch says something.
        width = 11 if f["name"] == "recompute" else 5
        nll = _smooth(blocks["nll"], width)
        axes[0].plot(at, [math.exp(x) for x in nll], label=f["title"], **style)
        axes[1].plot(at, _smooth(blocks["token_ms"], width), **style)
        axes[2].plot(at, kv, **style)
    log_axis(axes[0], "perplexity")
    log_axis(axes[1], "ms per token read alone")
    log_axis(axes[2], "KV cache in use, MiB")
    axes[2].set_xlabel("tokens read")
    for ax in axes:
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save_figure(figure, path)


def _smooth(values: Sequence[float], width: int) -> list[float]:
    """Medians of neighbours: a block's own difficulty would hide the curve."""
    half = width // 2
    return [median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
