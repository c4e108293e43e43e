"""From the samples of a soak to three verdicts: memory, time per token, errors.

Owns what counts as growth, as drift and as too short to tell. Pure arithmetic over samples; it
knows no engine and no process.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from npc_engine.bench.shared.figures import MIB

__all__ = ["Sample", "judge", "series"]

SETTLED = 50_000  # tokens after which memory must not grow any more
LEVEL = 25_000  # tokens over which a level of memory is taken
MOST_GROWTH = 0.01
MOST_DRIFT = 0.10
N_POINTS = 100  # of a run's series in the report


@dataclass(frozen=True, slots=True)
class Sample:
    """Where a run stands after a cycle. Tokens and seconds since its beginning, RSS in bytes.

    `cpu_s`, `wall_s`: of the talk; `yard_s`: processor time of the reference work, as often in
    each cycle.
    """

    n_tokens: int
    n_decoded: int
    wall_s: float
    cpu_s: float
    yard_s: float
    rss: int


def judge(samples: Sequence[Sample], n_faults: int) -> dict[str, Any]:
    """Return growth and drift as parts of 1, tenths, and verdicts.

    They are None where a run is too short to tell. `cpu_drift` is of the processor time alone;
    `ms_drift`, which counts, of its quotient with the reference work's.
    """
    tenths = _tenths(samples)
    last = samples[-1].n_tokens if samples else 0
    growth = drift = cpu_drift = None
    if last >= SETTLED + 2 * LEVEL:
        growth = _level(samples, last - LEVEL, last) / _level(samples, SETTLED, SETTLED + LEVEL) - 1
        cpu_drift = tenths[-1]["cpu_ms"] / tenths[1]["cpu_ms"] - 1
        drift = (1 + cpu_drift) * tenths[1]["yard_ms"] / tenths[-1]["yard_ms"] - 1
    verdicts = {
        "memory": None if growth is None else growth < MOST_GROWTH,
        "time": None if drift is None else abs(drift) <= MOST_DRIFT,
        "errors": n_faults == 0,
    }
    return {
        "rss_growth": growth,
        "ms_drift": drift,
        "cpu_drift": cpu_drift,
        "tenths": tenths,
        "verdicts": verdicts,
    }


def _level(samples: Sequence[Sample], first: int, last: int) -> float:
    """The median RSS in bytes of the samples between two numbers of tokens."""
    return statistics.median(s.rss for s in samples if first <= s.n_tokens <= last)


def _tenths(samples: Sequence[Sample]) -> list[dict[str, float]]:
    """Milliseconds a token in each tenth of a run, over all its cycles, and the median RSS;
    `yard_ms`: of the reference work in a cycle; `spoken`: the part of the tokens that was
    generated.

    A mean, since cycles differ: in some, positions run out and a window is read again.
    """
    last = samples[-1].n_tokens + 1 if samples else 1
    parts: list[list[tuple[Sample, Sample]]] = [[] for _ in range(10)]
    for a, b in pairwise(samples):
        parts[10 * b.n_tokens // last].append((a, b))
    return [_tenth(part) for part in parts if part]


def _tenth(cycles: Sequence[tuple[Sample, Sample]]) -> dict[str, float]:
    first, last = cycles[0][0], cycles[-1][1]
    n = last.n_tokens - first.n_tokens
    return {
        "cpu_ms": 1000 * (last.cpu_s - first.cpu_s) / n,
        "wall_ms": 1000 * (last.wall_s - first.wall_s) / n,
        "yard_ms": 1000 * (last.yard_s - first.yard_s) / len(cycles),
        "spoken": (last.n_decoded - first.n_decoded) / n,
        "rss": statistics.median(sample.rss for _, sample in cycles),
    }


def series(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Return a run thinned out: RSS, and processor time a token since the point before."""
    points = samples[:: max(1, len(samples) // N_POINTS)]
    ms = [1000 * (b.cpu_s - a.cpu_s) / (b.n_tokens - a.n_tokens) for a, b in pairwise(points)]
    return {
        "n_tokens": [s.n_tokens for s in points[1:]],
        "rss_mib": [round(s.rss / MIB, 2) for s in points[1:]],
        "cpu_ms": [round(value, 4) for value in ms],
    }
