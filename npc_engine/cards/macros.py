"""Macros in a card's texts: `{{char}}`, `{{user}}`, remarks, `{{random:...}}`, `{{roll:d6}}`.

Owns what each macro becomes, in which order they are filled in, and how chance is settled: by a
hash, never by a clock or a random number. Knows no card, no field and no limit; any text will do.

First come those that choose or vanish (names may stand inside them), then the names, once, so that
a name which looks like a macro stays a name.
"""

import re
from hashlib import blake2b

__all__ = ["fill_macros", "fill_original"]

_BODY = r"((?:[^{}]|\{\{[^{}]*\}\})*)\}\}"
_VANISHING = re.compile(r"\{\{\s*(?://|comment:|hidden_key:)" + _BODY, re.IGNORECASE)
_CHOOSING = re.compile(r"\{\{\s*(random|pick|roll)\s*:" + _BODY, re.IGNORECASE)
_NAMING = re.compile(r"\{\{\s*(char|user)\s*\}\}|<(BOT|USER)>", re.IGNORECASE)
_ORIGINAL = re.compile(r"\{\{\s*original\s*\}\}", re.IGNORECASE)
_DICE = re.compile(r"\s*(?:([1-9]|1\d|20)?d)?([1-9]\d{0,5})\s*", re.IGNORECASE | re.ASCII)


def fill_macros(text: str, char: str, user: str, seed: str) -> str:
    """Return `text` with its macros filled in; unknown ones stay as they are.

    `char` and `user` are names, on one line. `seed` names the text: what a macro of chance becomes
    depends on it and on the macro's place, and on nothing else.
    """

    def name(found: re.Match[str]) -> str:
        return char if (found[1] or found[2]).lower() in ("char", "bot") else user

    def choice(found: re.Match[str]) -> str:
        return _chosen(found, f"{seed}\0{found.start()}")

    return _NAMING.sub(name, _CHOOSING.sub(choice, _VANISHING.sub("", text)))


def fill_original(text: str, original: str) -> str:
    """Return `text` with `original` in place of each `{{original}}`."""
    return _ORIGINAL.sub(lambda _: original, text)


def _chosen(macro: re.Match[str], seed: str) -> str:
    """Return what a macro of chance becomes: by hash, since a save's tokens must match at load."""
    if macro[1].lower() == "roll":
        dice = _DICE.fullmatch(macro[2])
        if dice is None:
            return macro[0]
        throws = range(int(dice[1] or 1))
        return str(sum(1 + _hash(f"{seed}\0{throw}") % int(dice[2]) for throw in throws))
    body = macro[2]
    options = body[1:].split("::") if body.startswith(":") else re.split(r"(?<!\\),", body)
    return options[_hash(seed) % len(options)].replace("\\,", ",").strip()


def _hash(seed: str) -> int:
    return int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big")
