"""The shapes in which cards come: wrapped or flat, of old tools, with fields that mean nothing.

Owns where a card's fields are looked for, which other names they go by, and what counts as no value
at all. Knows no limit of a field and no persona. What is not understood stays as it came.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from npc_engine.errors import CardError
from npc_engine.protocol.validation import describe
from npc_engine.text.visible import is_visible

__all__ = [
    "HEAD",
    "LIST_FIELDS",
    "TEXT_FIELDS",
    "Shape",
    "ill_typed",
    "is_own_value",
    "meant",
    "misspelt",
    "read_shape",
    "sendable",
    "to_send",
    "unused",
]

TEXT_FIELDS = (
    "name",
    "nickname",
    "description",
    "personality",
    "scenario",
    "first_mes",
    "mes_example",
    "system_prompt",
    "post_history_instructions",
)
LIST_FIELDS = ("alternate_greetings", "tags")

HEAD = ("spec", "spec_version", "data")
_MAX_WRAPPERS = 8  # cards in cards: some tools wrap what they read once more
_MAX_KEY = 64  # characters: a longer key is no misspelt one, but a whole text
_MAX_KEYS = 256  # that are looked at
_MAX_BITS = 64  # of a number that is taken for a text
_MAX_BITS_OF_A_FRACTION = 1023
_MAX_DEPTH = 64  # beyond it no engine takes a card

# A field that is missing is taken from one of these: how people call it, and exports of old tools.
_ALIASES = {
    "char_name": "name",
    "persona": "description",
    "char_persona": "description",
    "char_greeting": "first_mes",
    "world_scenario": "scenario",
    "example_dialogue": "mes_example",
}
# Names that other tools have for a field, too far from ours to be found by spelling.
_OTHER_NAMES = {
    "ainame": "name",
    "botname": "name",
    "charactername": "name",
    "bio": "description",
    "backstory": "description",
    "context": "description",
    "desc": "description",
    "greeting": "first_mes",
    "greetings": "alternate_greetings",
    "opening": "first_mes",
    "examples": "mes_example",
    "exampledialogs": "mes_example",
    "examplemessage": "mes_example",
    "examplemessages": "mes_example",
    "samplechat": "mes_example",
    "prompt": "system_prompt",
    "authorsnote": "post_history_instructions",
}
_KNOWN_BESIDE = {
    "assets",
    "character_book",
    "character_version",
    "creation_date",
    "creator",
    "creator_notes",
    "creator_notes_multilingual",
    "extensions",
    "group_only_greetings",
    "modification_date",
    "source",
    *_ALIASES,
}


_READ = {*HEAD, *_ALIASES, *TEXT_FIELDS, *LIST_FIELDS}
MAX_UNREAD = 64 << 10  # bytes of a value that no engine reads: so much as a field may have


class Shape(NamedTuple):
    """A card's parts: its fields, the rest beside them, and what stood beside `data`."""

    fields: dict[str, Any]
    extra: dict[str, Any]
    envelope: dict[str, Any]


def read_shape(data: Mapping[str, Any]) -> Shape:
    """Return the parts of a card that lies in `data` in whatever way. Raises CardError.

    A field that is null counts as absent. What stands in a field's place and is none (0 for a text,
    numbers for tags) is in `extra` as it came, and its meaning, if it has any, in `fields`.
    """
    inner, envelope = _unwrap(data)
    all_fields = TEXT_FIELDS + LIST_FIELDS
    extra = {key: value for key, value in inner.items() if key not in all_fields}
    fields: dict[str, Any] = {}
    for key in all_fields:
        value = inner.get(key)
        if value is None:
            continue
        if is_own_value(key, value):
            fields[key] = value
        else:
            extra[key] = value
            fields[key] = _texts(value) if key in LIST_FIELDS else ""
    _fill(fields, extra, envelope)
    return Shape(fields, extra, envelope)


_UNSENDABLE = re.compile("[\ud800-\udfff]")


def sendable(value: Any, depth: int = 0) -> Any:
    """Return as much of a value as MessagePack can say.

    Lone surrogates are left out of texts, and a whole number of more than 64 bits is a fraction, as
    in the other clients. Whoever sends it says what else is wrong with it.
    """
    if isinstance(value, str):
        return _UNSENDABLE.sub("", value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return value if value.bit_length() > _MAX_BITS_OF_A_FRACTION else float(value)
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {sendable(k, depth): sendable(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [sendable(item, depth + 1) for item in value]
    return value


def to_send(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card as a client sends it: without what no engine reads and would be too much.

    Pictures in `assets`, notes and books are megabytes at times. What is small goes along, so that
    a misspelt field is told of. The other clients do the same (docs/protocol.md).
    """
    return {
        key: to_send(value) if key == "data" and isinstance(value, Mapping) else value
        for key, value in data.items()
        if key in _READ or key == "data" or _n_bytes(value) <= MAX_UNREAD
    }


def _n_bytes(value: object) -> int:
    try:
        return len(msgspec.msgpack.encode(value))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return 0  # whoever sends it says what is wrong with it


def is_own_value(key: str, value: object) -> bool:
    """Say whether `value` is what the field says, right or wrong; else it means nothing there.

    Tools write 0, false or [] where there is no text, and numbers or null among tags.
    """
    if key not in LIST_FIELDS:
        return isinstance(value, str) or bool(value)
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return is_list and all(isinstance(item, str) for item in value)  # type: ignore[attr-defined]


def misspelt(keys: Iterable[str]) -> dict[str, str]:
    """Return the keys that are nearly the name of a field, each with that field."""
    near = {_letters(field): field for field in TEXT_FIELDS + LIST_FIELDS}
    found = {}
    for key in _looked_at(keys):
        if key in _KNOWN_BESIDE or key in near.values():
            continue
        close = difflib.get_close_matches(_letters(key), near, n=1, cutoff=0.8)
        if close:
            found[key] = near[close[0]]
    return found


def meant(keys: Iterable[str]) -> dict[str, str]:
    """Return the keys that are nearly a field's name, or that other tools have for it."""
    looked_at = list(_looked_at(keys))
    others = {k: _OTHER_NAMES[_letters(k)] for k in looked_at if _letters(k) in _OTHER_NAMES}
    return misspelt(looked_at) | others


def unused(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that could have been a field, had that not its own value already."""
    return {
        alias: field
        for alias, field in _ALIASES.items()
        if _is_text(extra.get(alias)) and fields.get(field) not in ("", extra[alias])
    }


def ill_typed(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that would have been a field, were they text."""
    return {
        alias: field
        for alias, field in _ALIASES.items()
        if extra.get(alias) and not isinstance(extra[alias], str) and not fields.get(field)
    }


def _looked_at(keys: Iterable[str]) -> Iterable[str]:
    return islice((key for key in keys if len(key) <= _MAX_KEY), _MAX_KEYS)


def _letters(key: str) -> str:
    return "".join(letter for letter in key.lower() if letter.isalnum())


def _unwrap(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return a card's fields and the keys beside them, out of as many wrappers as there are."""
    envelope: dict[str, Any] = {}
    for _ in range(_MAX_WRAPPERS):
        if not _is_wrapper(data):
            return data, envelope
        inner = data.get("data")
        beside = {key: value for key, value in data.items() if key not in HEAD}
        if not isinstance(inner, Mapping):
            if not _has_name(beside):
                found = (
                    f"`data` of the card must be a map of fields, and this is {describe(inner)}."
                )
                help_ = "Put name, description, ... into `data`, or leave `spec` out."
                raise CardError(found, help_)
            return beside, envelope  # its fields stand beside `spec`
        envelope = beside | envelope
        data = inner
    raise CardError(
        f"The card lies in more than {_MAX_WRAPPERS} others.", "Send the innermost `data` alone."
    )


def _is_wrapper(data: Mapping[str, Any]) -> bool:
    spec = data.get("spec")
    if isinstance(spec, str) and spec.startswith("chara_card"):
        return True
    # With a name it is flat; a `data` or `spec` in it is some game's own key.
    return "data" in data and not _has_name(data)


def _has_name(data: Mapping[str, Any]) -> bool:
    return any(data.get(key) for key in ("name", "char_name", "nickname"))


def _texts(value: object) -> tuple[str, ...]:
    """Return the texts in what should have been a list of them."""
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, Sequence):
        return ()
    return tuple(str(item) for item in value if _is_text_or_number(item))


def _is_text_or_number(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() <= _MAX_BITS
    return isinstance(value, str | float)


def _fill(fields: dict[str, Any], extra: Mapping[str, Any], envelope: Mapping[str, Any]) -> None:
    """Give fields that are missing the text that stands for them elsewhere, if any does."""
    for alias, key in _ALIASES.items():
        if _is_blank(fields.get(key)) and _is_text(extra.get(alias)):
            fields[key] = extra[alias]
    for key in TEXT_FIELDS:
        if key not in fields and key not in extra and _is_text(envelope.get(key)):
            fields[key] = envelope[key]
    for name in (envelope.get("name"), envelope.get("char_name"), fields.get("nickname")):
        if _is_blank(fields.get("name")) and _is_text(name):
            fields["name"] = name


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_visible(value)


def _is_blank(value: object) -> bool:
    """Say whether nothing is there. (What is of another type says something, if wrongly.)"""
    return not value or (isinstance(value, str) and not is_visible(value))
