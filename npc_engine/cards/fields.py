"""The rules for one field of a card: its type, its limit, and what is cleaned out of it.

Owns the limits and how a bad value is described to people. Knows neither which fields a card has
nor where they came from. A value that breaks a rule ends as a CardError that names the field.
"""

import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

from npc_engine.errors import CardError
from npc_engine.protocol.validation import describe
from npc_engine.text.visible import is_visible

__all__ = [
    "MAX_TEXT",
    "checked_list",
    "checked_name",
    "checked_rest",
    "checked_text",
    "cleaned",
    "one_line",
    "plain",
    "within_limit",
]

MAX_NAME = 200  # characters
MAX_TEXT = 64 * 1024  # UTF-8 bytes of one field, and of a whole persona
MAX_RAW = 1 << 20  # characters of a text that is cleaned first: line ends and the like may go
MAX_DEPTH = 64  # maps and lists inside each other, in a whole card
IN_DATA = 2  # how deep a field lies there


def checked_text(key: str, value: object) -> str:
    """Return `value` cleaned. Raises CardError unless it is a text within the limit."""
    if not isinstance(value, str):
        raise CardError(
            f"`{key}` must be text, and this is {describe(value)}.", "Write it as one text."
        )
    if len(value) > MAX_RAW:  # cleaning, and counting bytes, makes copies
        raise _too_long(key, len(value), "characters")
    return within_limit(key, cleaned(value))


def checked_list(key: str, value: object) -> tuple[str, ...]:
    """Return a list of texts, each cleaned. Raises CardError."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise CardError(
            f"`{key}` must be a list of texts, and this is {describe(value)}.",
            f"Write {key} = ['...', '...'], or leave it out.",
        )
    return tuple(checked_text(f"{key}[{index}]", item) for index, item in enumerate(value))


def checked_name(key: str, value: str) -> str:
    """Return a name on one line, "" for one that shows nothing. Raises CardError over MAX_NAME."""
    name = one_line(value) if len(value) <= MAX_RAW else value
    if len(name) > MAX_NAME:
        raise CardError(
            f"`{key}` has {len(name)} characters: {reprlib.repr(name)}.",
            f"Use at most {MAX_NAME}.",
        )
    return name if is_visible(name) else ""


def checked_rest(key: str, value: object, reserved: tuple[str, ...]) -> dict[str, Any]:
    """Return a copy of the uninterpreted fields, as `plain` makes it. Raises CardError.

    None of them may have a name in `reserved`.
    """
    if not isinstance(value, Mapping):
        raise CardError(f"`{key}` must be a map, and this is {describe(value)}.", "Pass a dict.")
    clash = sorted(set(reserved).intersection(value))
    if clash:
        raise CardError(f"`{key}` must not hold {clash[0]!r}.", "Set it as a field of the card.")
    return {_checked_key(name): plain(str(name), item, IN_DATA) for name, item in value.items()}


def _checked_key(value: object) -> str:
    if not isinstance(value, str):
        raise CardError(f"A card's keys must be text, and one is {describe(value)}.", "Rename it.")
    return value


_PLAIN = (str, int)  # made once: a card may have a hundred thousand values


def plain(key: str, value: object, depth: int = 0) -> Any:
    """Return a copy made of what JSON knows; TOML's dates become text. Raises CardError."""
    if depth > MAX_DEPTH:
        raise CardError(f"`{key}` is nested deeper than {MAX_DEPTH} levels.", "Make it flatter.")
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON knows neither NaN nor Infinity
    if isinstance(value, Mapping):
        return {_checked_key(name): plain(key, item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(key, item, depth + 1) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    raise CardError(
        f"`{key}` holds {describe(value)}.",
        "Use text, numbers, true or false, lists and maps only.",
    )


def within_limit(key: str, text: str) -> str:
    """Return `text`, or raise CardError when it is over MAX_TEXT."""
    size = len(text.encode())
    if size > MAX_TEXT:
        raise _too_long(key, size, "bytes")
    return text


def _too_long(key: str, n: int, what: str) -> CardError:
    return CardError(
        f"`{key}` has {n} {what}, over the limit of {MAX_TEXT} bytes.",
        "Shorten it: a persona works best under 300 words.",
    )


_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")


def cleaned(text: str) -> str:
    """Return `text` without control characters (but newline and tab) and lone surrogates."""
    return _UNWANTED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(name: str) -> str:
    """Return a name cleaned, its white space made single spaces."""
    return " ".join(cleaned(name).split())
