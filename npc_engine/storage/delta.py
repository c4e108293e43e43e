"""What has changed between two frozen states, and a state with that change carried out.

Owns a change as a plain map, and the comparison. It knows of a state only that it is a map with a
list `segments` of maps, mostly the same as before: those of a character's past leave, new ones
come behind them. It knows no meaning, no file and no checksum.

    set       {key: value}: what is new or another, `segments` aside
    gone      [key]: what is no more
    splices   [[at, n, [segment]]]: n segments leave at `at`, these come in their place. `at` counts
              in the list as it was; each lies behind the one before
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

__all__ = ["Delta", "Image", "diff", "image", "patch"]

Delta = dict[str, Any]

SEGMENTS = "segments"

_encode = msgspec.msgpack.encode


class Image(NamedTuple):
    """A state to compare with: little, and nothing that changes it can reach it."""

    values: dict[str, bytes]
    segments: list[bytes]


def image(
    state: Mapping[str, Any], without: Collection[str] = (), in_segments: Collection[str] = ()
) -> Image:
    """Return the image of a state, without some of its keys and some of those of its segments."""
    values = {
        key: _encode(value)
        for key, value in state.items()
        if key != SEGMENTS and key not in without
    }
    kept = ({k: v for k, v in s.items() if k not in in_segments} for s in state[SEGMENTS])
    return Image(values, [_encode(segment) for segment in kept])


def diff(old: Image, new: Image) -> Delta:
    """Return what makes `new` of `old`; an empty map when nothing does. For msgspec to encode."""
    delta: Delta = {
        "set": {k: msgspec.Raw(v) for k, v in new.values.items() if old.values.get(k) != v},
        "gone": [key for key in old.values if key not in new.values],
        "splices": [
            [at, n, [msgspec.Raw(segment) for segment in come]]
            for at, n, come in _splices(old.segments, new.segments)
        ],
    }
    return {key: value for key, value in delta.items() if value}


def patch(state: dict[str, Any], delta: Delta) -> int:
    """Carry a delta out; return how many segments that may have moved, in all.

    Raises ValueError for what is no delta of this state, which stays as it is then.
    """
    values, gone, splices = (
        _typed(delta.get("set", {}), dict),
        _typed(delta.get("gone", []), list),
        _typed(delta.get("splices", []), list),
    )
    segments = _typed(state.get(SEGMENTS), list)
    if SEGMENTS in values or SEGMENTS in gone:
        raise ValueError("it takes all segments away")
    if not all(isinstance(key, str) for key in gone):
        raise ValueError("a key is no text")
    checked = []
    end = len(segments)
    for splice in reversed(splices):  # last to first, so that `at` stays right
        at, n, come = _splice(splice, end)
        checked.append((at, n, come))
        end = at
    work = 0
    for at, n, come in checked:
        work += len(segments)
        segments[at : at + n] = come
    state.update(values)
    for key in gone:
        state.pop(key, None)
    return work


def _splices(old: list[bytes], new: list[bytes]) -> Iterator[tuple[int, int, list[bytes]]]:
    """Walk along both lists: what is in both, in the same order, stays."""
    were, are = set(old), set(new)
    at = come = i = j = 0  # what lies between these and i, j is a splice
    while i < len(old) and j < len(new):
        if old[i] == new[j]:
            if (at, come) != (i, j):
                yield at, i - at, new[come:j]
            i, j = i + 1, j + 1
            at, come = i, j
        elif old[i] in are and new[j] not in were:
            j += 1
        else:  # it has left, or stands elsewhere now
            i += 1
    if at < len(old) or come < len(new):
        yield at, len(old) - at, new[come:]


def _splice(splice: Any, end: int) -> tuple[int, int, list[Any]]:
    if not isinstance(splice, list) or [type(part) for part in splice] != [int, int, list]:
        raise ValueError("a splice is not two numbers and a list")
    at, n, come = splice
    if not 0 <= at <= at + n <= end:
        raise ValueError(f"a splice of {n} segments at {at} of {end}")
    return at, n, come


def _typed(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} stands where a {kind.__name__} should")
    return value
