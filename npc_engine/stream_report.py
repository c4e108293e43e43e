"""The report of `bench stream`: figures for each policy, as JSON, table, Markdown and plot.

Owns what is computed from the counts of a run, and how it is told. It reads no model.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from npc_engine.report import new_figure, save_figure, table
from npc_engine.stream_policies import title
from npc_engine.stream_reader import Block, Reader

__all__ = ["figures", "markdown", "plot", "text_table"]

BROKEN = 3.0
"""A policy counts as broken where a block's perplexity is so many times that of the first."""

Figures = dict[str, Any]


def figures(name: str, reader: Reader | str, kv_bytes: int) -> Figures:
    """Return a policy's figures, of plain JSON types. `kv_bytes`: of the KV cache, for a token."""
    if isinstance(reader, str) or not reader.blocks:
        return {"name": name, "title": title(name), "skipped": reader or "nothing was read"}
    blocks = reader.blocks
    n_peak = max(b.n_peak for b in blocks)
    return {
        "name": name,
        "title": title(name),
        "n_read": reader.n_done,
        "n_scored": sum(b.n for b in blocks),
        "perplexity": _perplexity(blocks),
        "perplexity_same": _perplexity_same(blocks),
        "quarters": _quarters(blocks),
        "mean_context": round(sum(b.context for b in blocks) / sum(b.n for b in blocks), 1),
        "peak_cells": n_peak,
        "peak_kv_bytes": n_peak * kv_bytes,
        "read_ms": _usual([b.read_ms / b.n_read for b in blocks if b.n_read]),
        "token_ms": _usual([b.single_ms for b in blocks if b.single_ms]),
        "evict_ms": _usual([b.first_ms for b in blocks if b.first_ms]),
        "renumbered": getattr(reader.plan, "n_renumbered", 0),
        "broke_at": _broke_at(blocks),
        "ended": reader.ended,
        "blocks": {
            "n_scored": [b.n for b in blocks],
            "nll": [round(b.nll / b.n, 5) for b in blocks],
            "read_ms": [round(b.read_ms / max(1, b.n_read), 3) for b in blocks],
            "token_ms": [round(b.single_ms, 3) for b in blocks],
            "evict_ms": [round(b.first_ms, 3) for b in blocks],
            "peak_cells": [b.n_peak for b in blocks],
        },
    }


def _perplexity(blocks: Sequence[Block]) -> float:
    return round(math.exp(sum(b.nll for b in blocks) / sum(b.n for b in blocks)), 4)


def _perplexity_same(blocks: Sequence[Block]) -> float | None:
    n = sum(b.n_same for b in blocks)
    return round(math.exp(sum(b.nll_same for b in blocks) / n), 4) if n else None


def _quarters(blocks: Sequence[Block]) -> list[float]:
    """Perplexity of each quarter of the blocks; empty for fewer than four."""
    n = len(blocks)
    cuts = [n * i // 4 for i in range(5)]
    return [_perplexity(blocks[a:b]) for a, b in pairwise(cuts)] if n > 3 else []


def _usual(values: Sequence[float]) -> float:
    return round(median(values), 3) if values else 0.0


def _broke_at(blocks: Sequence[Block]) -> int | None:
    """The end of the first block, in tokens scored, that is far worse than the first."""
    n = 0
    for block in blocks:
        n += block.n
        if block.nll / block.n > blocks[0].nll / blocks[0].n + math.log(BROKEN):
            return n
    return None


def text_table(report: Mapping[str, Any]) -> str:
    """Return the table of a report, aligned for a terminal."""
    return table(_rows(report))


def _rows(report: Mapping[str, Any]) -> list[list[str]]:
    head = ["policy", "tokens", "perplexity", "2nd quarter", "4th quarter", "ms read", "ms token"]
    rows = [[*head, "ms evict", "context", "KV MiB", "end"]]
    for f in report["policies"]:
        if "skipped" in f:
            rows.append([f["title"], *["-"] * 9, f"not run: {f['skipped']}"])
            continue
        quarters = f["quarters"] or [None] * 4
        rows.append(
            [
                f["title"],
                f"{f['n_scored']:,}",
                f"{f['perplexity']:.2f}",
                *(f"{q:.2f}" if q else "-" for q in (quarters[1], quarters[3])),
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
        parts.append(f"{f['n_read']:,}: {f['ended']}")
    return "; ".join(parts) or "goes on"


def notes(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the figures has to know."""
    s = report["settings"]
    known = {f["name"]: f for f in report["policies"] if "skipped" not in f}
    found = [
        f"Window: {s['window']} cells for each policy but full attention, which has {s['n_full']:,}"
        f" (--full-tokens). KV cache f16, no flash attention, {s['n_threads']} thread(s).",
        f"The text is read in chunks of {s['n_chunk']} tokens, room being made before each. "
        f"`context`: tokens that a scored token could see, on average. "
        "Every policy scores each token, with the same chunks.",
        "`ms read`: a token of a chunk, with the making of room. `ms token`: a token read alone, "
        "as when a reply is generated. `ms evict`: the token behind which room was made, with the "
        "moving of cells where cells move. Medians over blocks of 1,024 tokens; the policies take "
        "turns block by block, so a busy machine slows all of them.",
        f"`KV MiB`: most cells held, times {report['kv_bytes_per_token']:,} bytes.",
    ]
    if "recompute" in known:
        same = ", ".join(
            f"{f['title']} {f['perplexity_same']:.2f}" for f in known.values() if not f["ended"]
        )
        found.append(
            "Recomputation is sampled: one chunk of so many is scored, after the cache was "
            "cleared and the window read again. Its `ms token` is that of reading the window, "
            f"which it pays for every token of a reply. On the sampled tokens alone: {same}."
        )
    if "ours" in known:
        found.append(
            f"Ours: the engine's ledger, {s['n_pinned']} pinned tokens, turns of {s['n_turn']}; "
            f"holes were closed {known['ours']['renumbered']} times."
        )
    return found


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
        "| " + " | ".join(rows[0]) + " |",
        "|---|" + "---:|" * (len(rows[0]) - 2) + "---|",
        *("| " + " | ".join(row) + " |" for row in rows[1:]),
        "",
        *(plotted if picture else []),
        *(f"* {note}" for note in notes(report)),
        "",
    ]
    return "\n".join(lines)


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Write perplexity, ms per token and KV bytes against tokens read as PNG."""
    figure, axes = new_figure(3, report["title"])
    for f in report["policies"]:
        if "skipped" in f:
            continue
        blocks = f["blocks"]
        sampled = f["name"] == "recompute"
        n_block = report["n_block"]
        at = [min(n_block * (i + 1), f["n_read"]) / 1000 for i in range(len(blocks["nll"]))]
        smooth = _smooth([math.exp(x) for x in blocks["nll"]])
        axes[0].plot(at, smooth, label=f["title"], lw=1.2, ls=":" if sampled else "-")
        axes[1].plot(at, _smooth(blocks["token_ms"]), label=f["title"], lw=1.2)
        kv = [n * report["kv_bytes_per_token"] / (1 << 20) for n in blocks["peak_cells"]]
        axes[2].plot(at, kv, label=f["title"], lw=1.2)
    axes[0].set_ylabel("perplexity")
    axes[1].set_ylabel("ms per token alone")
    axes[2].set_ylabel("KV cache, MiB")
    for ax in axes:
        ax.set_yscale("log")
    axes[2].set_xlabel("thousand tokens read")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save_figure(figure, path)


def _smooth(values: Sequence[float]) -> list[float]:
    """Medians of five neighbours: a block's own difficulty would hide the curve."""
    return [median(values[max(0, i - 2) : i + 3]) for i in range(len(values))]
