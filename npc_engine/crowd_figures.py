"""What `bench crowd` measures, what it comes to, and what must hold. Pure arithmetic.

Owns the medians, the ratios and the verdicts. Ratios are taken in each round and their median
counts: whatever else the machine did in a round, it did to both sides.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Measured", "Parking", "Round", "judge", "of_fairness", "of_parking", "of_speakers"]

N_JUDGED = 8  # speakers at which the engine is judged against the bare loops
N_FAIR = 16  # and for fairness
LEAST_OF_BARE = 0.95
LEAST_OF_DEFAULTS = 2.0
MOST_WAIT = 2.0  # the last first token, against the median one
LEAST_SHARE = 0.9  # the least tokens of a speaker, against the most
MOST_CALL_IN_MS = 20.0


@dataclass(frozen=True)
class Round:
    """One round of all ways to serve n speakers, asked at once.

    `step_ms`: a step in which all speak, the median of the round, by way (engine, bare, defaults).
    `python_ms`: of the engine's, beside decoding and sampling. `first_ms`: from the asking to each
    speaker's first token, in ms. `tps`: tokens/s with reading included, by way (engine, serial).
    """

    step_ms: Mapping[str, float]
    python_ms: float
    first_ms: Mapping[str, Sequence[float]]
    tps: Mapping[str, float]


@dataclass
class Parking:
    """More characters than slots. Times in ms, sizes in bytes, by part.

    `park`, `call_in`: copying a window out and another in. `swap`: both, with all that belongs to
    it. `reread`: reading the same window again. `first`: first tokens of the parked and of those
    who are in the cache.
    """

    n_characters: int
    n_wanted: int
    n_slots: int
    n_tokens: int
    park: list[float] = field(default_factory=list)
    call_in: list[float] = field(default_factory=list)
    swap: list[float] = field(default_factory=list)
    reread: list[float] = field(default_factory=list)
    first_parked: list[float] = field(default_factory=list)
    first_resident: list[float] = field(default_factory=list)
    ram: dict[str, int] = field(default_factory=dict)


@dataclass
class Measured:
    """All that was measured: rounds by number of speakers, tokens of each in the fairness run."""

    rounds: dict[int, list[Round]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    parking: Parking | None = None
    interrupted: bool = False


def of_speakers(n: int, rounds: Sequence[Round]) -> dict[str, Any]:
    """Return what the rounds of n speakers come to, in plain JSON types."""

    def usual(value: Callable[[Round], float]) -> float:
        return statistics.median(map(value, rounds))

    ways = [way for way in rounds[0].step_ms if all(way in r.step_ms for r in rounds)]
    step_ms = {way: usual(lambda r, w=way: r.step_ms[w]) for way in ways}  # type: ignore[misc]
    ratios = {
        way: usual(lambda r, w=way: r.step_ms[w] / r.step_ms["engine"])  # type: ignore[misc]
        for way in ways
        if way != "engine"
    }
    waits = {
        way: {
            "best": usual(lambda r, w=way: min(r.first_ms[w])),  # type: ignore[misc]
            "median": usual(lambda r, w=way: statistics.median(r.first_ms[w])),  # type: ignore[misc]
            "worst": usual(lambda r, w=way: max(r.first_ms[w])),  # type: ignore[misc]
        }
        for way in rounds[0].first_ms
    }
    return {
        "n_speakers": n,
        "n_rounds": len(rounds),
        "step_ms": step_ms,
        "decode_tps": {way: n * 1000 / ms for way, ms in step_ms.items()},
        "of": ratios,
        "overhead_ms": usual(lambda r: r.step_ms["engine"] - r.step_ms["bare"]),
        "python_ms": usual(lambda r: r.python_ms),
        "first_ms": waits,
        "wait": usual(
            lambda r: max(r.first_ms["engine"]) / statistics.median(r.first_ms["engine"])
        ),
        "served_tps": {way: usual(lambda r, w=way: r.tps[w]) for way in rounds[0].tps},  # type: ignore[misc]
    }


def of_fairness(tokens: Sequence[int]) -> dict[str, Any] | None:
    """Return what the tokens of each speaker come to; None when nobody spoke."""
    if not tokens or not max(tokens):
        return None
    return {
        "n_speakers": len(tokens),
        "tokens": list(tokens),
        "least": min(tokens),
        "most": max(tokens),
        "share": min(tokens) / max(tokens),
    }


def of_parking(parking: Parking | None) -> dict[str, Any] | None:
    """Return what parking costs; None when nobody was called in."""
    if parking is None or not parking.call_in:
        return None
    kinds = ("park", "call_in", "swap", "reread", "first_parked", "first_resident")
    call_in = statistics.median(parking.call_in)
    reread = statistics.median(parking.reread) if parking.reread else None
    return {
        "n_characters": parking.n_characters,
        "n_wanted": parking.n_wanted,
        "n_slots": parking.n_slots,
        "n_tokens": parking.n_tokens,
        "ms": {kind: _spread(getattr(parking, kind)) for kind in kinds},
        "of_reread": None if reread is None else reread / max(call_in, 1e-6),
        "ram": parking.ram,
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "median": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "max": ordered[-1],
    }


def judge(found: Mapping[str, Any]) -> dict[str, bool | None]:
    """Return the verdicts on a report; None for what was not measured."""
    speakers = {row["n_speakers"]: row for row in found.get("speakers") or ()}
    row = speakers.get(N_JUDGED)
    fair, parking = found.get("fair"), found.get("parking")
    is_full = fair is not None and fair["n_speakers"] == N_FAIR
    return {
        f"{N_JUDGED} speakers against bare": _least(row and row["of"].get("bare"), LEAST_OF_BARE),
        f"{N_JUDGED} speakers against defaults": _least(
            row and row["of"].get("defaults"), LEAST_OF_DEFAULTS
        ),
        f"{N_JUDGED} speakers' first tokens": row and row["wait"] <= MOST_WAIT,
        f"{N_FAIR} speakers fair": fair["share"] >= LEAST_SHARE if fair and is_full else None,
        "call-in": parking and parking["ms"]["call_in"]["median"] < MOST_CALL_IN_MS,
    }


def _least(value: float | None, least: float) -> bool | None:
    return None if value is None else value >= least
