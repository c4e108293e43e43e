"""What all figures are made of: a spread of values, and whether a verdict is against them."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MIB", "passed", "spread"]

MIB = 1 << 20


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of values, the one that 95 % do not exceed, and the largest."""
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "max": ordered[-1],
    }


def passed(found: Mapping[str, Any]) -> bool:
    """Whether no verdict is against it; one that was cut off has not passed."""
    return not found["interrupted"] and False not in found["verdicts"].values()
