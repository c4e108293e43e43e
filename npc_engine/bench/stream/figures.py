"""The figures of `bench stream`: what the counts of a run come to, of plain JSON types.

Owns perplexities, usual times, where a policy breaks, and what a difference is worth. It tells
nothing and reads no model.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median, stdev
from typing import Any

from npc_engine.bench.stream.contexts import title
from npc_engine.bench.stream.reader import Block, Reader

__all__ = ["BROKEN", "Figures", "course", "difference", "figures", "perplexity"]

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
        "perplexity": _of(blocks),
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


def _of(blocks: Sequence[Block]) -> float:
    return round(math.exp(sum(b.nll for b in blocks) / sum(b.n for b in blocks)), 4)


def _perplexity_same(blocks: Sequence[Block]) -> float | None:
    n = sum(b.n_same for b in blocks)
    return round(math.exp(sum(b.nll_same for b in blocks) / n), 4) if n else None


def _quarters(blocks: Sequence[Block]) -> list[float]:
    """Perplexity of each quarter of the blocks; empty for fewer than four."""
    n = len(blocks)
    cuts = [n * i // 4 for i in range(5)]
    return [_of(blocks[a:b]) for a, b in pairwise(cuts)] if n > 3 else []


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


def perplexity(f: Figures, n_blocks: int) -> float:
    """Return a policy's perplexity over its first blocks."""
    counts, nll = f["blocks"]["n_scored"][:n_blocks], f["blocks"]["nll"][:n_blocks]
    return math.exp(sum(n * x for n, x in zip(counts, nll, strict=True)) / sum(counts))


def difference(nll: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return how much more one perplexity is than another, as a part of it, and the noise of that.

    Both are means in nats of the same blocks of text, two or more: blocks differ much among
    themselves, and are compared one by one. The noise is two standard errors.
    """
    apart = [a - b for a, b in zip(nll, other, strict=True)]
    ratio = math.exp(mean(apart))
    return ratio - 1, ratio * 2 * stdev(apart) / math.sqrt(len(apart))


def course(nll: Sequence[float]) -> tuple[float, float]:
    """Return how much more the perplexity of the last quarter is than that of the second, as a part
    of it, and the noise of that.

    Means in nats of blocks, eight or more. The noise is two standard errors: these are different
    pages, and pages are not equally hard.
    """
    n = len(nll)
    second, last = nll[n // 4 : n // 2], nll[3 * n // 4 :]
    ratio = math.exp(mean(last) - mean(second))
    error = math.hypot(*(stdev(part) / math.sqrt(len(part)) for part in (second, last)))
    return ratio - 1, ratio * 2 * error
