"""What is wrong with a request, in words for people who write games.

Owns the way from msgspec's validation errors to a sentence with the bad value and what to put
there. It knows the names of some keys, and no record.
"""

import re
import reprlib
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["MAX_REASON", "complaint", "describe", "heaviest", "is_wide"]

_MAX_PATH = 8
_MAX_FIELDS = 0xFFFF  # of a map that is looked into
_MAX_KEY = 64  # characters
MAX_REASON = 200  # characters; msgspec repeats the bad value, however long it is

_AT = re.compile(r"(?P<reason>.*) - at `\$\.?(?P<path>[^`]*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_STEP = re.compile(r"(\w+)|\[(\d+)\]")
_NAME = "a name: 1-64 of A-Z a-z 0-9 _ . - with no dot first"
_CHOICES = {
    "priority": "player, near or ambient",
    "stream": "text, line or gesture",
    "npcs": 'a list of names, or "*" for all',
}
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "nil",
}
_SEEN = reprlib.Repr()
_SEEN.maxstring = _SEEN.maxother = 60


def complaint(frame: bytes, error: Exception, types: str) -> str:
    """Return a sentence on why `frame` is no request. `types`: the names of all requests."""
    text = str(error)
    missing = _MISSING.match(text)
    if missing:
        return f"{missing[1]} is missing."
    at = _AT.fullmatch(text)
    if not at:
        return f"This is no valid request: {text[:MAX_REASON]}."
    path = at["path"]
    wanted = _wanted(at["reason"], path, types)
    return f"{path} is {_SEEN.repr(_value(frame, path))}; it must be {wanted}."


def is_wide(packed: bytes) -> bool:
    """Return whether this is a map of so many keys that only looking for one would take long."""
    return packed[:1] == b"\xdf" and int.from_bytes(packed[1:5], "big") > _MAX_FIELDS


def heaviest(frame: bytes) -> str:
    """Return where most of a message is, such as `card.data.assets`.

    Empty when it is nowhere in particular, or the message cannot be read.
    """
    path: list[str] = []
    raw: bytes | msgspec.Raw = frame
    while len(path) < _MAX_PATH and not is_wide(bytes(raw)):
        fields = _fields(raw)
        key = max(fields, key=lambda key: len(fields[key]), default="")
        if not fields or 4 * len(fields[key]) < len(frame):
            break
        raw = fields[key]
        path.append(key[:_MAX_KEY])
    return ".".join(path)


def _fields(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """What a map holds, not read yet; nothing where this is no map."""
    try:
        return msgspec.msgpack.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def _wanted(reason: str, path: str, types: str) -> str:
    if "matching regex" in reason:
        return _NAME
    key = path.partition("[")[0]
    if path == "type":
        return f"one of {types}"
    if reason.startswith("Invalid enum value") and key in _CHOICES:
        return _CHOICES[key]
    wanted = reason.removeprefix("Expected ").partition(", got")[0]
    for kind, word in _KINDS.items():
        wanted = wanted.replace(f"`{kind}`", word)
    return wanted[:MAX_REASON].replace(" | ", " or ")


def _value(frame: bytes, path: str) -> Any:
    """What stands at a path such as `npcs[0]`; None where it cannot be shown."""
    try:
        value = msgspec.msgpack.decode(frame)
        for key, index in _STEP.findall(path):
            value = value[key] if key else value[int(index)]
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return value


_TYPES: tuple[tuple[Any, str], ...] = (
    (bool, "true or false"),
    (int | float, "a number"),
    (str, "text"),
    (bytes, "bytes"),
    (Mapping, "a map"),
    (list | tuple, "a list"),
)


def describe(value: object) -> str:
    """Name a value for people: its type, and the value where that helps."""
    if value is None:
        return "missing"
    name = next((word for kind, word in _TYPES if isinstance(value, kind)), type(value).__name__)
    try:
        return f"{name} ({reprlib.repr(value)})"
    except ValueError:  # an integer of more digits than Python prints
        return name
