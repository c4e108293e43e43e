"""A journal over some states of a character, and what it means."""

import functools
import itertools
from typing import Any

from npc_engine.storage.delta import diff
from npc_engine.storage.journal.records import begin, image_of, record

BASE = "5a" * 16
HEADER = {"npc": "mara", "snapshot": BASE, "format": [1, 0]}


def segment(turn: int, tokens: list[int], start: int = 0, n_cached: int = 0) -> dict[str, Any]:
    return {"turn": turn, "tokens": tokens, "start": start, "n_cached": n_cached}


def state(*turns: int) -> dict[str, Any]:
    """A persona of two tokens and turns of two tokens each, read at once."""
    segments = [segment(0, [7, 7], 0, 2)]
    segments += [segment(turn, [turn, turn], 2 * i + 2, 2) for i, turn in enumerate(turns)]
    return {"turn": max(turns), "holes": [[2 * len(segments), -1]], "segments": segments}


STATES = [state(1, 2, 3), state(1, 2, 3, 4), state(1, 3, 4), state(1, 3, 4, 5), state(3, 5, 6)]


@functools.cache
def written() -> tuple[bytes, list[int]]:
    """A journal over all states, and where its records begin and end."""
    data, check = begin("mara", BASE)
    ends = [len(data)]
    for old, new in itertools.pairwise(STATES):
        part, check = record(diff(image_of(old), image_of(new)), check)
        data += part
        ends.append(len(data))
    return data, ends


def meaning(of: dict[str, Any]) -> dict[str, Any]:
    """A state without its cells."""
    cells = ("start", "n_cached")
    segments = [{k: v for k, v in s.items() if k not in cells} for s in of["segments"]]
    return {"turn": of["turn"], "segments": segments}
