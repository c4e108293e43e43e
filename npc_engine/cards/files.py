"""Card files: JSON, TOML, and the PNG picture with a card in it, to and from plain values.

Owns which files are read, how large they may be, and how a card lies in a picture. Knows no field
of a card: what comes out of a file may be anything that JSON can say.

Files come from strangers, so whatever is wrong with one ends as a CardError that says what to do.
"""

import base64
import binascii
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from npc_engine.errors import CardError

__all__ = ["MAX_FILE", "parse_card", "read_card_file", "write_card_file"]

MAX_FILE = 4 * 1024 * 1024  # bytes of JSON or TOML, also when it comes out of a PNG
MAX_PNG = 32 * 1024 * 1024  # bytes
MAX_KEY_PARTS = 64  # of a dotted key in TOML
MAX_DEPTH = 64  # maps and lists inside each other


def read_card_file(path: Path) -> Any:
    """Return what a .json, .toml or .png file holds, as `parse_card` does. Raises CardError."""
    return parse_card(_file_bytes(path), path.suffix.lower())


def parse_card(raw: bytes, suffix: str) -> Any:
    """Return what a file of these bytes holds; `suffix` is ".json", ".toml" or ".png".

    Any JSON value can come out: whether it is a card is not checked here. Raises CardError.
    """
    if suffix == ".png" or raw.startswith(_SIGNATURE):
        return _json(_utf8(_png_card(raw)))
    return _toml(_utf8(raw)) if suffix == ".toml" else _json(_utf8(raw))


def write_card_file(path: Path, card: Mapping[str, Any]) -> None:
    """Write `card` as a .json file. Raises CardError."""
    if path.suffix.lower() != ".json":
        raise CardError(f"Cannot write a card to {str(path)!r}.", "Use a name ending in .json.")
    try:
        text = json.dumps(card, ensure_ascii=False, indent=2, allow_nan=False)
        # A lone surrogate becomes `\udXXX` here, which is how JSON spells it.
        path.write_bytes(text.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError) as error:
        why = f"Cannot write {str(path)!r}: {_reason(error)}."
        raise CardError(why, "Check the folder, the free space and the rights.") from error


def _file_bytes(path: Path) -> bytes:
    if path.suffix.lower() not in (".json", ".toml", ".png"):
        raise CardError(
            f"A card file cannot end in {path.suffix!r}.",
            "Use .json, .toml or .png. A .charx file is a zip: take card.json out of it.",
        )
    limit = MAX_PNG if path.suffix.lower() == ".png" else MAX_FILE
    try:
        if path.is_dir():
            raise CardError("This is a folder.", "Give the path of a card file in it.")
        if path.exists() and not path.is_file():
            raise CardError("This is no regular file.", "Give the path of a card file.")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except FileNotFoundError as error:
        raise CardError("There is no such file.", "Check the path and the spelling.") from error
    except (OSError, ValueError) as error:
        raise CardError(f"Cannot read it: {_reason(error)}.", "Check its rights.") from error
    if len(raw) > limit:
        raise CardError(f"The file is over {limit >> 20} MiB.", "Is this a card? Make it smaller.")
    return raw


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, line = raw[error.start : error.start + 1], 1 + raw.count(b"\n", 0, error.start)
        found = f"Byte {error.start} ({byte!r}) is not UTF-8, in line {line}."
        raise CardError(found, "Save the card again with the encoding UTF-8.") from error


def _json(text: str) -> Any:
    """Return what JSON says; line breaks and tabs may stand in a text as they are."""

    def constant(word: str) -> Any:
        raise json.JSONDecodeError(f"JSON has no {word}", text, _first(word, text))

    def number(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            what = f"{digits[:20]} is too large a number"
            raise json.JSONDecodeError(what, text, _first(digits, text))
        return value

    def whole(digits: str) -> int:
        number(digits)  # what no other client could hold
        return int(digits)

    try:
        if "\0" in text:
            raise json.JSONDecodeError("there is a NUL character", text, text.index("\0"))
        value = json.loads(
            text, strict=False, parse_constant=constant, parse_float=number, parse_int=whole
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise CardError(f"Broken JSON at {where}: {error.msg}.", "Correct that place.") from error
    except (ValueError, RecursionError) as error:
        raise CardError(f"Unreadable JSON: {_reason(error)}.", "Simplify the card.") from error
    _check_depth(value)
    return value


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise CardError(f"The card is nested deeper than {MAX_DEPTH} levels.", "Make it flatter.")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _check_depth(item, depth + 1)


def _first(word: str, text: str) -> int:
    """Return where `word` stands first outside of the texts of some JSON."""
    outside = re.compile(
        rf'"(?:[^"\\]|\\.)*+"|(?<![\w.+-])({re.escape(word)})(?![\w.+-])', re.DOTALL
    )
    return next((m.start() for m in outside.finditer(text) if m[1]), 0)


_KEY = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.){0,99}"|'[^'\n]{0,99}')"""
_DEEP_KEY = re.compile(rf"(?<![\w-]){_KEY}(?:[ \t]*\.[ \t]*{_KEY}){{{MAX_KEY_PARTS}}}")


def _toml(text: str) -> dict[str, Any]:
    import tomllib

    if _DEEP_KEY.search(text):  # tomllib's time grows with the square of a dotted key's length
        raise CardError(f"A key has more than {MAX_KEY_PARTS} parts.", "Make the card flatter.")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        fix = "Correct that place. Long texts stand between three quotes."
        raise CardError(f"Broken TOML: {_reason(error)}.", fix) from error


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")


# PNG: the card is base64 JSON in a text chunk, `ccv3` (V3) or `chara` (V2). Only such chunks are
# looked into; the rest of the picture may be as damaged as it likes.

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_KEYWORD = 80  # bytes, its NUL included
_EXPORT_AGAIN = "Export the card as PNG again, or use its JSON."


def _png_card(raw: bytes) -> bytes:
    if not raw.startswith(_SIGNATURE):
        raise CardError("This is not a PNG file.", _EXPORT_AGAIN)
    # A tool that cannot replace a chunk adds one: the last counts.
    found = {keyword: (kind, rest) for keyword, kind, rest in _card_chunks(raw)}
    if not found:
        raise CardError(
            "This PNG holds no card.",
            "Pictures lose it when edited, converted or sent by chat: get the original file.",
        )
    return _from_base64(_chunk_text(*found.get(b"ccv3") or found[b"chara"]))


def _from_base64(text: bytes) -> bytes:
    try:
        card = base64.b64decode(text.translate(None, b" \t\r\n"), validate=True)
    except binascii.Error as error:
        raise CardError("The card in this PNG is not base64.", _EXPORT_AGAIN) from error
    if len(card) > MAX_FILE:
        raise CardError(f"The card in this PNG is over {MAX_FILE >> 20} MiB.", "Make it smaller.")
    return card


def _card_chunks(raw: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (keyword, type, rest) of each text chunk that has a card.

    A chunk is length, type, body, CRC of type + body; a text's body is keyword, NUL, rest.
    """
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(raw[at : at + 4], "big"), raw[at + 4 : at + 8]
        end = at + 8 + length
        if end + 4 > len(raw):
            raise CardError(f"The PNG breaks off at byte {len(raw)}.", "Copy the file again.")
        keyword = raw[at + 8 : min(end, at + 8 + _MAX_KEYWORD)].partition(b"\0")[0].lower()
        if kind in (b"tEXt", b"zTXt", b"iTXt") and keyword in (b"ccv3", b"chara"):
            if zlib.crc32(raw[at + 4 : end]) != int.from_bytes(raw[end : end + 4], "big"):
                raise CardError(f"The PNG is damaged at byte {at}.", "Copy the file again.")
            yield keyword, kind, raw[at + 9 + len(keyword) : end]
        at = end + 4


def _chunk_text(kind: bytes, rest: bytes) -> bytes:
    """Return the text after a chunk's keyword (PNG specification, 11.3.3)."""
    if kind == b"zTXt":
        return _inflated(rest[1:])
    if kind == b"iTXt":
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        return _inflated(text) if rest[:1] == b"\1" else text
    return rest


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, 2 * MAX_FILE)  # base64 of a card at its limit fits in
    except zlib.error as error:
        raise CardError("The card in this PNG is damaged.", _EXPORT_AGAIN) from error
    if stream.unused_data:
        raise CardError("The card in this PNG is damaged.", _EXPORT_AGAIN)
    if not stream.eof:
        raise CardError("The card in this PNG is cut off or far too large.", _EXPORT_AGAIN)
    return text
