"""What `bench crowd` measures, what it comes to, and what must hold. Pure arithmetic.

Owns the medians, the ratios and the verdicts. Ratios are taken in each round and their median
counts: whatever else the machine did in a round, it did to both sides. Not so where auto is held
against fixed counts of threads: there all rounds count as a whole, since a median would leave out
what auto loses by trying.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from npc_engine.bench.shared.figures import spread

__all__ = [
    *("AUTO", "N_IDLE", "N_SHARED_PAST", "Idle", "Measured", "Parking", "Round", "Sharing"),
    *("judge", "of_fairness", "of_idle", "of_parking", "of_sharing", "of_speakers"),
]

AUTO = "auto"
"""The way to choose threads that is held against fixed counts."""

N_IDLE = 50
"""Characters of an idle server."""

N_SHARED_PAST = 256
"""Tokens behind each speaker where threads are chosen: a short past, which every way reads."""

N_JUDGED = 8  # speakers at which the engine is judged against the bare loops
N_FAIR = 16  # and for fairness
LEAST_OF_BARE = 0.95
LEAST_OF_DEFAULTS = 2.0
MOST_WAIT = 2.0  # the last first token, against the median one
LEAST_SHARE = 0.9  # the least tokens of a speaker, against the most
MOST_CALL_IN_MS = 20.0
LEAST_OF_BEST = {"quiet": 0.9, "busy": 0.8}  # auto, against the best fixed count of threads
LEAST_IDLE_S = 30.0
MOST_IDLE_SHARE = 0.005  # of one core


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
class Sharing:
    """Threads chosen by auto and fixed counts of them, by turns, beside `n_busy` busy processes.

    `rounds`: tokens and seconds of each way ("auto", "1", "2"...). `stats`: auto's engine, at last.
    """

    n_speakers: int
    n_busy: int
    rounds: list[Mapping[str, tuple[int, float]]] = field(default_factory=list)
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Idle:
    """A server that nobody spoke to for so many seconds, and its processor time in them.

    `before_s`: the same from its start until it came to rest, which shows that it is counted.
    """

    n_characters: int
    seconds: float
    cpu_s: float
    before_s: float


@dataclass
class Measured:
    """All that was measured: rounds by number of speakers, tokens of each in the fairness run."""

    rounds: dict[int, list[Round]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    parking: Parking | None = None
    sharing: list[Sharing] = field(default_factory=list)
    idle: Idle | None = None
    interrupted: bool = False

    @property
    def has_any(self) -> bool:
        """Whether anything was measured."""
        return self != Measured()


def of_speakers(n: int, rounds: Sequence[Round]) -> dict[str, Any]:
    """Return what the rounds of n speakers come to, in plain JSON types."""
    ways = [way for way in rounds[0].step_ms if all(way in r.step_ms for r in rounds)]
    step_ms = {way: median(r.step_ms[way] for r in rounds) for way in ways}
    waited: dict[str, Callable[[Sequence[float]], float]] = {
        "best": min,
        "median": median,
        "worst": max,
    }
    first = [r.first_ms["engine"] for r in rounds]
    return {
        "n_speakers": n,
        "n_rounds": len(rounds),
        "step_ms": step_ms,
        "decode_tps": {way: n * 1000 / ms for way, ms in step_ms.items()},
        "of": {
            way: median(r.step_ms[way] / r.step_ms["engine"] for r in rounds)
            for way in ways
            if way != "engine"
        },
        "overhead_ms": median(r.step_ms["engine"] - r.step_ms["bare"] for r in rounds),
        "python_ms": median(r.python_ms for r in rounds),
        "first_ms": {
            way: {name: median(of(r.first_ms[way]) for r in rounds) for name, of in waited.items()}
            for way in rounds[0].first_ms
        },
        "wait": median(max(ms) / median(ms) for ms in first),
        "served_tps": {way: median(r.tps[way] for r in rounds) for way in rounds[0].tps},
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
    call_in = median(parking.call_in)
    reread = median(parking.reread) if parking.reread else None
    return {
        "n_characters": parking.n_characters,
        "n_wanted": parking.n_wanted,
        "n_slots": parking.n_slots,
        "n_tokens": parking.n_tokens,
        "ms": {kind: _spread(getattr(parking, kind)) for kind in kinds},
        "of_reread": None if reread is None else reread / max(call_in, 1e-6),
        "ram": parking.ram,
    }


def of_sharing(sharing: Sharing) -> dict[str, Any]:
    """Return what auto comes to beside the best fixed count: tokens per second of all rounds."""
    tps = {
        way: sum(turns[way][0] for turns in sharing.rounds)
        / max(sum(turns[way][1] for turns in sharing.rounds), 1e-9)
        for way in sharing.rounds[0]
    }
    best = max((way for way in tps if way != AUTO), key=lambda way: tps[way])
    stats = {key: sharing.stats.get(key) for key in ("n_threads", "n_thread_switches", "load")}
    return {
        "n_speakers": sharing.n_speakers,
        "n_busy": sharing.n_busy,
        "n_rounds": len(sharing.rounds),
        "tps": tps,
        "best": best,
        "of_best": tps[AUTO] / max(tps[best], 1e-9),
        **stats,
    }


def of_idle(idle: Idle | None) -> dict[str, Any] | None:
    """Return what an idle server takes of one core; None when it was not watched."""
    if idle is None or not idle.seconds:
        return None
    return {**asdict(idle), "share": idle.cpu_s / idle.seconds}


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    return {"n": len(values), **spread(values)} if values else None


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
        **{f"auto, {when}": _auto(found, when) for when in LEAST_OF_BEST},
        f"{N_IDLE} characters idle": _rests(found.get("idle")),
    }


def _auto(found: Mapping[str, Any], when: str) -> bool | None:
    """Whether auto keeps up with the best fixed count, for each number of speakers."""
    rows = [row for row in found.get("governor") or () if bool(row["n_busy"]) == (when == "busy")]
    return _least(min((row["of_best"] for row in rows), default=None), LEAST_OF_BEST[when])


def _rests(idle: Mapping[str, Any] | None) -> bool | None:
    """A short watch is not judged: a tick of the system's clock would be a large part of it."""
    if idle is None or idle["seconds"] < LEAST_IDLE_S or idle["n_characters"] < N_IDLE:
        return None
    return bool(idle["share"] < MOST_IDLE_SHARE)


def _least(value: float | None, least: float) -> bool | None:
    return None if value is None else value >= least
