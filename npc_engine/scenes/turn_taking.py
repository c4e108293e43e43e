"""Who is named in what somebody says, and who is spoken to by name.

Owns what counts as a name in a text: whole words, in any case and any form of Unicode. It knows no
character: whoever calls it gives keys and the names that go with each.

    "Bram, have you seen Wren?"  speaks to Bram (a name by itself, between marks) and mentions Wren
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from npc_engine.text.sentence_ends import TERMINALS

__all__ = ["called"]

# A name stands by itself, as one that is called out, between a mark of the one and of the other.
_MARKS = frozenset(".!?,;:\"'*-\n\u2026\u2013\u2014\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb")
_MARKS |= frozenset(TERMINALS)
_WIDE_MARKS = frozenset("\u3001\u300c\u300d\uff0c\uff1a\u060c\u061b\u104a\u1363")
_BEFORE = _MARKS | _WIDE_MARKS | frozenset("(\u00bf\u00a1")
_AFTER = _MARKS | _WIDE_MARKS | frozenset(")")
# Scripts that put no space between words: a name in one of them is found anywhere.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")


def called(text: str, names: Mapping[str, Sequence[str]]) -> str | None:
    """Return the key of the one whom a text speaks to by name; else of whom it mentions last.

    `names`: the names of each key. None when none of them is named.
    """
    folded = _folded(text)
    spoken_to = mentioned = (-1, -1)
    keys = list(names)
    for number, key in enumerate(keys):
        for name in {_folded(name) for name in names[key]} - {""}:
            for at in _places(folded, name):
                # Of two who share a name, and where one name begins another: the longer, then
                # the one who comes first.
                rank = (at + len(name), -number)
                mentioned = max(mentioned, rank)
                if _stands_alone(folded, at, at + len(name)):
                    spoken_to = max(spoken_to, rank)
    found = spoken_to if spoken_to[0] >= 0 else mentioned
    return keys[-found[1]] if found[0] >= 0 else None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold()).strip()


def _places(text: str, name: str) -> Iterator[int]:
    """Yield where a name stands as whole words."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        before, after = text[at - 1 : at] if at else "", text[end : end + 1]
        if not _joins(before, name[0]) and not _joins(name[-1], after):
            yield at
        at = text.find(name, at + 1)


def _joins(left: str, right: str) -> bool:
    """Whether two characters side by side belong to one word."""
    return (
        _is_of_a_word(left)
        and _is_of_a_word(right)
        and not (_is_unspaced(left) or _is_unspaced(right))
    )


def _is_of_a_word(char: str) -> bool:
    return bool(char) and (char.isalnum() or char == "_" or unicodedata.category(char)[0] == "M")


def _is_unspaced(char: str) -> bool:
    return unicodedata.name(char, "").startswith(_UNSPACED)


def _stands_alone(text: str, at: int, end: int) -> bool:
    before, after = text[:at].rstrip(" \t"), text[end:].lstrip(" \t")
    return (not before or before[-1] in _BEFORE) and (not after or after[0] in _AFTER)
