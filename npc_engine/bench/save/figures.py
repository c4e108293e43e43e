"""What `bench save` measures, what it comes to, and what must hold. Pure arithmetic.

Owns the medians, the ratios and the verdicts. Ratios are taken in each round and their median
counts: whatever else the machine did in a round, it did to both sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["LINE_TOKENS", "Beside", "Character", "Crowd", "Measured", "Trip", "judge", "of_all"]

N_JUDGED = 1000  # tokens of the character that is judged, within a tenth
LEAST_OF_REREAD = 20.0
N_CHARACTERS, N_SPEAKERS = 20, 4  # for which a save beside speakers is judged
LINE_TOKENS = 20  # tokens of a spoken line; more than most have
MOST_ADDED = 1.0  # steps that a save may add to a line


@dataclass(frozen=True)
class Trip:
    """One character into a file and back, in ms.

    `freeze`: the step that copies it out, on the engine's thread. `encode`, `write`: bytes and
    checksums, and the file, on the writer's. `read`: the file and its checksums. `restore`: from
    the request to a character that may speak, `read` included. `reread`: the same from its tokens.
    """

    freeze: float
    encode: float
    write: float
    read: float
    restore: float
    reread: float


@dataclass
class Character:
    """One that is saved again and again. `n_lean_bytes`: its file without the KV cache."""

    kv_type: str
    layout: str
    n_tokens: int
    n_bytes: int = 0
    n_lean_bytes: int = 0
    trips: list[Trip] = field(default_factory=list)


@dataclass(frozen=True)
class Beside:
    """One round of a save beside speakers: ms of each step in which all of them speak.

    `quiet`: before and after the save. `during`: from the request to `saved`, `saved_ms` later.
    """

    quiet: Sequence[float]
    during: Sequence[float]
    saved_ms: float
    n_bytes: int


@dataclass
class Crowd:
    """All are saved while some of them speak."""

    n_characters: int
    n_speakers: int
    n_tokens: int
    layout: str
    rounds: list[Beside] = field(default_factory=list)


@dataclass
class Measured:
    """All that was measured."""

    characters: list[Character] = field(default_factory=list)
    crowd: Crowd | None = None
    interrupted: bool = False

    @property
    def has_any(self) -> bool:
        """Whether one round of anything is whole."""
        rounds = self.crowd.rounds if self.crowd else []
        return bool(rounds or any(one.trips for one in self.characters))


def of_all(found: Measured) -> dict[str, Any]:
    """Return what it comes to, in plain JSON types; what was not measured is left out."""
    return {
        "characters": [_of_character(one) for one in found.characters if one.trips],
        "crowd": _of_crowd(found.crowd) if found.crowd and found.crowd.rounds else None,
    }


def _of_character(one: Character) -> dict[str, Any]:
    kinds = ("freeze", "encode", "write", "read", "restore", "reread")
    return {
        "kv_type": one.kv_type,
        "layout": one.layout,
        "n_tokens": one.n_tokens,
        "n_rounds": len(one.trips),
        "n_bytes": one.n_bytes,
        "n_lean_bytes": one.n_lean_bytes,
        "bytes_per_token": (one.n_bytes - one.n_lean_bytes) / one.n_tokens,
        "ms": {kind: median(getattr(trip, kind) for trip in one.trips) for kind in kinds},
        "of_reread": median(trip.reread / max(trip.restore, 1e-6) for trip in one.trips),
    }


def _of_crowd(crowd: Crowd) -> dict[str, Any]:
    rounds, last = crowd.rounds, crowd.rounds[-1]
    quiet, during = [one.quiet for one in rounds], [one.during for one in rounds]
    return {
        "n_characters": crowd.n_characters,
        "n_speakers": crowd.n_speakers,
        "n_tokens": crowd.n_tokens,
        "layout": crowd.layout,
        "n_rounds": len(rounds),
        "n_bytes": last.n_bytes,
        "saved_ms": median(one.saved_ms for one in rounds),
        "step_ms": median(map(median, quiet)),
        "worst_ms": {"quiet": median(map(max, quiet)), "during": median(map(max, during))},
        "line_ms": {
            "quiet": median(map(_longest_line, quiet)),
            "during": median(map(_longest_line, during)),
        },
        "added_steps": median(map(_added, rounds)),
        "during": list(last.during),
        "quiet": list(last.quiet),
    }


def _longest_line(step_ms: Sequence[float]) -> float:
    """The ms of the line that takes longest; of fewer steps than a line has, by their mean."""
    n = min(LINE_TOKENS, len(step_ms))
    lines = (sum(step_ms[i : i + n]) for i in range(len(step_ms) - n + 1))
    return max(lines) * LINE_TOKENS / n


def _added(beside: Beside) -> float:
    """How many usual steps the longest line of a save takes longer than the longest without."""
    more = _longest_line(beside.during) - _longest_line(beside.quiet)
    return more / median(beside.quiet)


def judge(found: Mapping[str, Any]) -> dict[str, bool | None]:
    """Return the verdicts on a report; None for what was not measured."""
    ratios = [
        one["of_reread"]
        for one in found["characters"]
        if abs(one["n_tokens"] - N_JUDGED) <= N_JUDGED / 10
    ]
    crowd = found["crowd"]
    if crowd and (crowd["n_characters"], crowd["n_speakers"]) != (N_CHARACTERS, N_SPEAKERS):
        crowd = None
    return {
        f"restoring {N_JUDGED:,} tokens": min(ratios) >= LEAST_OF_REREAD if ratios else None,
        "a save beside speakers": crowd["added_steps"] <= MOST_ADDED if crowd else None,
    }
