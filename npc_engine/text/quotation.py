"""What a reply may say again and again: the rest of a word, a name, what stands on the card.

Owns what of these a token would be, behind what was said so far. It knows no model and no logits:
`dry` and the penalties for repeated tokens ask it.

1. The rest of a word, and of a character whose bytes are several tokens: no word is misspelt. But a
   "word" of more letters than any has is as all else.
2. What stands in a text that may be quoted (a card, what the player said): the last word of the
   reply and the token side by side, in any case and any form of Unicode. So a title, a pass phrase,
   a price is always said in full. In a loop the last few words must stand there as well: a card
   with "ha ha" in it is no leave to laugh for ever.
3. A name: the beginning of a word that stands there with a capital and nowhere without.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from typing import NamedTuple

from npc_engine.text.punctuation import UNSPACED

__all__ = ["Quotation"]

_NAME, _REST = 1, 2
_N_BYTES = 240  # of the end of the reply that are looked at
_JOINS = "'\u2019-"  # within a word
_LONG_WORD = re.compile(r"\S{40}\Z")
_N_CONTEXT = 6  # words, or characters where there are no words, that tell a loop from a quotation
_A_WORD = re.compile(r"\S+")
_WORD = re.compile(r"[^\W_]+")
# What one writes in more than one way: quotes, brackets and emphasis not at all, dashes alike.
_SPELLING = str.maketrans(
    {
        **dict.fromkeys(
            '*_`"\u201c\u201d\u201e\u00ab\u00bb()[]\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011',
            "",
        ),
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    }
)
_SINGLE_QUOTE = re.compile(r"(?<!\w)'|'(?!\w)")


class Quotation:
    """The end of one reply, and what may be repeated there.

    `piece`: the bytes of a token. `quotable`: the texts of rules 2 and 3, asked for when needed.
    """

    def __init__(
        self, piece: Callable[[int], bytes], quotable: Callable[[], Iterable[str]]
    ) -> None:
        self._piece = piece
        self._quotable = quotable
        self._raw = b""
        self._before: str | None = ""
        self._kinds: dict[int, int] = {}  # of tokens: _NAME, _REST, both or none

    def accept(self, token: int) -> None:
        """Note what was said."""
        self._raw = (self._raw + self._piece(token))[-_N_BYTES:]
        self._before = None

    @property
    def before(self) -> str:
        """The end of the reply so far."""
        if self._before is None:
            self._before = self._raw.decode("utf-8", "ignore")
        return self._before

    def is_quoted(self, token: int) -> bool:
        """Whether any of the rules holds."""
        raw = self._piece(token)
        text = raw.decode("utf-8", "ignore")
        if len(text.encode()) < len(raw):  # part of a character
            return True
        if not text:
            return False
        return _is_sign(text[0]) or bool(self.spared([token])) or self._is_in_text(text)

    def spared(self, tokens: Iterable[int]) -> list[int]:
        """Return for which of `tokens` rule 1 or 3 holds."""
        wanted = _NAME | _REST if self._is_within_word else _NAME
        return [token for token in tokens if self._kind(token) & wanted]

    @property
    def _is_within_word(self) -> bool:
        before = self.before
        if not before or UNSPACED.match(before[-1]) or _LONG_WORD.search(before):
            return False
        end = before[-2:-1] if before[-1] in _JOINS else before[-1]
        return end.isalnum() or _is_sign(end)

    def _kind(self, token: int) -> int:
        kind = self._kinds.get(token)
        if kind is None:
            text = self._piece(token).decode("utf-8", "ignore")
            kind = (_REST * _is_rest(text)) | (_NAME * self._begins_a_name(text.strip()))
            self._kinds[token] = kind
        return kind

    def _begins_a_name(self, word: str) -> bool:
        if not word[:1].isupper():
            return False
        names = (name for text in self._texts for name in text.names_from(word))
        return any(not self._is_a_word(name.lower()) for name in names)

    def _is_a_word(self, small: str) -> bool:
        return any(small in text.words for text in self._texts)

    def _is_in_text(self, text: str) -> bool:
        loop = self._last(_N_CONTEXT)
        is_loop = self.before.find(loop) < len(self.before) - len(loop)
        both = _plain((loop if loop and is_loop else self._last(1)) + text)
        if UNSPACED.match(self.before[-1:]):
            both = both[1:]
        return any(both in text.flat for text in self._texts)

    def _last(self, n: int) -> str:
        """Return the last words, or a few more characters; none where there are not so many."""
        before = self.before
        if UNSPACED.match(before[-1:]):
            return before[-max(n, 2) :]
        starts = [match.start() for match in _A_WORD.finditer(before)]
        return before[starts[-n] :] if len(starts) >= n else ""

    @cached_property
    def _texts(self) -> list["_Text"]:
        return [_text(text) for text in self._quotable()]


class _Text(NamedTuple):
    """`flat`: without quotes and brackets, in small letters, one space before each word.
    `words`: all of them, without any mark. `names`: those with a capital, sorted.
    """

    flat: str
    words: frozenset[str]
    names: tuple[str, ...]

    def names_from(self, beginning: str) -> Iterator[str]:
        """Yield the names that begin so: a card has thousands, and each new token asks."""
        for at in range(bisect_left(self.names, beginning), len(self.names)):
            if not self.names[at].startswith(beginning):
                return
            yield self.names[at]


@lru_cache(256)
def _text(text: str) -> _Text:
    words = frozenset(_WORD.findall(text))
    names = sorted(word for word in words if word[0].isupper())
    return _Text(_plain(text), words, tuple(names))


def _plain(text: str) -> str:
    alike = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    bare = _SINGLE_QUOTE.sub("", alike.translate(_SPELLING))
    return f" {' '.join(bare.split())}"


def _is_rest(text: str) -> bool:
    """Tell whether a token can go on with a word."""
    if not text or UNSPACED.match(text):
        return False
    rest = text[1:] if text[0] in _JOINS else text
    return not rest or rest[0].isalnum() or _is_sign(rest[0])


def _is_sign(char: str) -> bool:
    """Tell whether a character is written onto the one before it: an accent, an Indic vowel."""
    return bool(char) and unicodedata.category(char)[0] == "M"
