"""One look at a running engine, and what two looks come to: speeds, and who comes first.

Owns the order of the characters and the arithmetic of the counters. It knows the records of `list`
and `stats`, and neither a socket nor a screen. Whatever an engine does not tell is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npc_engine.protocol import NpcInfo

__all__ = ["DOING", "Rates", "Sample", "doing", "in_order", "memory", "number", "rates"]

DOING = ("speaks", "reads", "waits", "resident", "parked", "frozen")
"""What a character may be doing, in the order in which they are shown."""

_PRIORITIES = ("player", "near", "ambient")
_PARTS = ("model", "kv", "parked", "shared")  # first, in this order; then whatever else there is
_BYTES = "_bytes"


@dataclass(frozen=True)
class Sample:
    """What an engine told of itself. `n_slots`: places in its KV cache."""

    endpoint: str
    model: str
    n_slots: int | None
    npcs: Sequence[NpcInfo]
    stats: Mapping[str, Any]


@dataclass(frozen=True)
class Rates:
    """Tokens per second that are spoken and read, all characters together."""

    decode_tps: float | None = None
    prefill_tps: float | None = None


def number(stats: Mapping[str, Any], name: str) -> float | None:
    """Return a number of `stats`, None where there is none: its keys may change in any release."""
    value = stats.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < float("inf") else None


def rates(before: Sample, now: Sample) -> Rates:
    """Return the speeds between two looks, by the engine's own clock."""
    return Rates(_rate(before, now, "n_decoded"), _rate(before, now, "n_prefilled"))


def _rate(before: Sample, now: Sample, counter: str) -> float | None:
    then, since = number(before.stats, counter), number(now.stats, counter)
    began, ended = number(before.stats, "uptime_s"), number(now.stats, "uptime_s")
    if then is None or since is None or began is None or ended is None:
        return None
    if ended <= began or since < then:  # another engine since
        return None
    return (since - then) / (ended - began)


def doing(npc: NpcInfo) -> str:
    """Return which of DOING a character does.

    It `reads` the line that it is about to answer, and `waits` with one that it has not begun,
    or for a slot of the KV cache.
    """
    if npc.speaking and npc.state == "resident":
        return "reads" if (npc.n_pending or 0) > 1 else "speaks"
    return "waits" if npc.speaking or npc.n_waiting else npc.state


def in_order(npcs: Iterable[NpcInfo]) -> list[NpcInfo]:
    """Return characters, those who are busy first, the more urgent before the less."""

    def rank(npc: NpcInfo) -> tuple[int, int]:
        urgent = npc.priority in _PRIORITIES
        return (
            DOING.index(doing(npc)),
            _PRIORITIES.index(npc.priority or "") if urgent else len(_PRIORITIES),
        )

    return sorted(npcs, key=rank)


def memory(stats: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return (part, bytes) of all parts that an engine tells of, those that are empty left out."""
    sizes = {
        name.removesuffix(_BYTES): size
        for name in stats
        if name.endswith(_BYTES) and (size := number(stats, name))
    }
    known = [part for part in _PARTS if part in sizes]
    return [(part, sizes[part]) for part in (*known, *sorted(sizes.keys() - set(known)))]
