"""One turn of a talk as both sides of `bench talk` note it, and what many of them come to.

Owns what counts as an overflow turn and what must hold of them. Pure arithmetic.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from npc_engine.bench.shared.figures import spread

__all__ = ["MOST_EXTRA", "MOST_RATIO", "Side", "TalkRun", "Turn", "judge", "summary"]

MOST_RATIO = 1.3  # time to first token of overflow turns, against the ordinary ones
MOST_EXTRA = 10  # tokens read beyond the new message: a turn's markup


@dataclass(frozen=True, slots=True)
class Turn:
    """Counts in tokens, times in milliseconds, from the player's line on.

    `overflow`: the past had to make room since the turn before. `n_read`: decoded as prefill until
    the reply was done; `n_idle`: in the pause behind it. `rss`: of the process, in bytes.
    """

    number: int
    overflow: bool
    n_message: int
    n_read: int
    n_decoded: int
    ttft_ms: float
    total_ms: float
    rss: int
    n_idle: int = 0
    idle_ms: float = 0.0
    n_renumbered: int = 0


@dataclass
class Side:
    """The turns of one side at one window, and the errors of those that failed."""

    turns: list[Turn] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def n_since_overflow(self) -> int:
        """Turns from the first overflow on."""
        overflows = (i for i, turn in enumerate(self.turns) if turn.overflow)
        return len(self.turns) - next(overflows, len(self.turns))


@dataclass
class TalkRun:
    """A talk in one window: tokens of window and persona, ours, and the baseline's."""

    window: int
    n_pinned: int = 0
    ours: Side = field(default_factory=Side)
    baseline: Side = field(default_factory=Side)
    interrupted: bool = False


def summary(side: Side) -> dict[str, Any]:
    """Return one side's numbers at one window, in plain JSON types."""
    turns, errors = side.turns, side.errors
    ordinary = [t for t in turns if not t.overflow]
    overflow = [t for t in turns if t.overflow]
    return {
        "n_turns": len(turns),
        "ordinary": _numbers(ordinary),
        "overflow": _numbers(overflow),
        "ttft_ratio": _ratio(overflow, ordinary),
        "n_idle": sum(t.n_idle for t in turns),
        "idle_ms_max": max((t.idle_ms for t in turns), default=0.0),
        "n_renumbered": sum(t.n_renumbered for t in turns),
        "rss_first": turns[min(len(turns), 10) - 1].rss if turns else 0,
        "rss_last": turns[-1].rss if turns else 0,
        "n_errors": len(errors),
        "errors": sorted(set(errors)),
    }


def _numbers(turns: Sequence[Turn]) -> dict[str, Any] | None:
    if not turns:
        return None
    return {
        "n": len(turns),
        "ttft_ms": spread([t.ttft_ms for t in turns]),
        "total_ms": spread([t.total_ms for t in turns]),
        "n_read": spread([t.n_read for t in turns]),
        "n_extra": spread([t.n_read - t.n_message for t in turns]),
    }


def _ratio(overflow: Sequence[Turn], ordinary: Sequence[Turn]) -> float | None:
    if not overflow or not ordinary:
        return None
    return statistics.median(t.ttft_ms for t in overflow) / statistics.median(
        t.ttft_ms for t in ordinary
    )


def judge(found: dict[str, Any]) -> dict[str, bool | None]:
    """Return the verdicts on a `summary` of ours; None where no turn overflowed."""
    ratio, overflow = found["ttft_ratio"], found["overflow"]
    return {
        "ttft": None if ratio is None else ratio <= MOST_RATIO,
        "read": None if overflow is None else overflow["n_extra"]["max"] <= MOST_EXTRA,
        "errors": found["n_errors"] == 0,
    }
