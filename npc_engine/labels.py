"""The name before a speech: "Mara:", "**Mara** (smiling):", "<Mara>", "You:".

Owns how models write who speaks at the start of a row, in any case and any form of Unicode, and
whether what stands there is such a label, is none, or may become one. It knows no bytes, and
nothing of what is made of a label: that is `detokenizer`'s.

    > **Mara (smiling):** "Sit down."    Mara says: Sit down.    [Mara] Sit down.
    -------------------- spoken          ---------- spoken       ------ spoken

1. A label is a name, and a colon behind it. Between the two may stand what the speaker does, in
   brackets or in asterisks, and for the character itself a word such as "says", or ", smiling".
2. Both together or the name alone may stand in asterisks, quotes or brackets. Asterisks in pairs
   and quotes need not close: they are around the speech as well then. In square or angle brackets
   the name needs no colon, nor has the character's own in pairs of asterisks on a row of its own.
3. Names are compared in small letters and compatibility forms (NFKD), without invisible characters:
   full-width letters and colons and decomposed accents make no difference.
4. Of a name of several words the first and the last alone count as well, articles and titles not.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import lru_cache

__all__ = ["Label", "Labels"]

OWN_MACRO = "{{char}}"
PLAYERS = ("Player", "User", "You", "{{user}}")
MAX_LABEL = 240  # characters that are looked at
_MAX_NAME = 100

_OPENS, _CLOSES = "*_\"'“„«»‘「『[<(【", "*_\"'”“»«’」』]>)】"  # noqa: RUF001
_MIRROR = str.maketrans(_OPENS, _CLOSES)
# A dash before another's name is an item of a list far more often than a label.
_DASHES = ("-", "\u2013", "\u2014", "\u2022")
_HEAD = re.compile(rf"(?:[#>]{{1,4}} ?|([{''.join(_DASHES)}] ))?([{re.escape(_OPENS)}]{{0,6}})")
# What may be left open: it is around the whole speech.
_LOOSE = re.compile(r"(?:\*{2,3}|_{2,3}|[\"'”“»«’」』])*")  # noqa: RUF001
_VERBS = (
    *("says", "said", "asks", "asked", "replies", "replied", "answers", "answered"),
    *("whispers", "whispered", "shouts", "shouted", "sagt", "fragt", "dit", "dice", "diz"),
)
_UNSPACED_VERBS = ("说道", "說道", "说", "說", "问", "問", "道", "は言う")


def _beginnings(words: Sequence[str]) -> str:
    parts = {word[:n] for word in words for n in range(1, len(word) + 1)}
    return "|".join(sorted(parts, key=len, reverse=True))


_SHUT = rf"[{re.escape(_CLOSES)}]{{0,6}}"
_ASIDE = r" ?(?:\([^()\n:]{1,60}\)|\[[^\[\]\n:]{1,60}\]|\*[^*\n:]{1,60}\*)"
_ASIDE_BEGUN = r" ?(?:\([^()\n:]{0,60}|\[[^\[\]\n:]{0,60}|\*[^*\n:]{0,60})?"
_VERB = rf"(?: (?:{'|'.join(_VERBS)})(?: [a-z]{{2,15}}ly)?| ?(?:{'|'.join(_UNSPACED_VERBS)}))"
_VERB_BEGUN = (
    rf"(?: (?:(?:{'|'.join(_VERBS)}) [a-z]{{0,17}}|{_beginnings(_VERBS)})"
    rf"| ?(?:{_beginnings(_UNSPACED_VERBS)}))"
)


_MANNER = r"(?:, [a-z]{2,15}ing(?: [a-z]{1,15}){0,3})?"
_MANNER_BEGUN = r",(?: (?:[a-z]{0,18}|[a-z]{2,15}ing(?: [a-z]{1,15}){0,2} [a-z]{0,15}))?"
_HEADING = re.compile(r"(\*{2,3}|__) ?\n")


class _Tail:
    """What may stand behind a name up to its colon, and what may be the beginning of that."""

    def __init__(self, verb: str, verb_begun: str, brackets: str, heading: re.Pattern[str]) -> None:
        self.heading = heading  # a row of its own
        self.brackets = tuple(brackets)  # behind which there need be no colon
        self.whole = re.compile(rf"({_SHUT})(?:{_ASIDE})?{verb}({_SHUT}) ?:")
        rest = rf"(?:{_ASIDE})?(?:{verb_begun}|{verb}{_SHUT} ?)"
        self.begun = re.compile(rf"{_SHUT}(?:{_ASIDE_BEGUN}|{rest})")


_OWN_TAIL = _Tail(
    f"{_VERB}?{_MANNER}", f"(?:{_VERB_BEGUN}|{_VERB}?{_MANNER_BEGUN})", "]>】)", _HEADING
)
_OTHER_TAIL = _Tail("", "", "]>】", re.compile(r"(?!)"))
_NO_COLON = re.compile(rf"({_SHUT})(?= ?[^ :]|  )")
# Words of a name that are no name by themselves.
_NO_NAMES = frozenset(
    (
        *("the", "a", "an", "of", "der", "die", "das", "le", "la", "les", "el", "los", "il", "lo"),
        *("old", "young", "big", "little", "mr", "mrs", "ms", "sir", "lady", "lord", "captain"),
        *("doctor", "master", "mistress", "king", "queen", "prince", "princess", "father"),
        *("mother", "brother", "sister", "uncle", "aunt"),
    )
)


class Label(Enum):
    """What stands at the start of a row."""

    NONE = 0
    UNDECIDED = 1
    OWN = 2
    OTHER = 3


class Labels:
    """The labels that a character's reply may have: those of its `own` names and of `others`."""

    def __init__(self, own: Sequence[str] = (), others: Sequence[str] = ()) -> None:
        mine = {form for name in (*own, OWN_MACRO) for form in _forms(name)}
        theirs = {form for name in (*PLAYERS, *others) for form in _forms(name)} - mine
        self._own = [(name, Label.OWN, _OWN_TAIL) for name in mine]
        self._names = self._own + [(name, Label.OTHER, _OTHER_TAIL) for name in theirs]
        self._firsts = {name[0] for name in mine | theirs} | {*_OPENS, *_DASHES, "#", ">"}

    def look(self, text: str, at: int, final: bool, own_only: bool = False) -> tuple[Label, int]:
        """Return what stands at `at`, the start of a row, and its length in characters.

        `final`: nothing more will come. `own_only`: others' labels are none.
        """
        first = _fold(text[at])
        if first and first[0] not in self._firsts:
            return Label.NONE, 0
        source = text[at : at + MAX_LABEL]
        folded = [_fold(char) for char in source]
        label, length = self._match("".join(folded), final or len(source) == MAX_LABEL, own_only)
        return label, _n_source(folded, length) if length else 0

    def _match(self, text: str, final: bool, own_only: bool) -> tuple[Label, int]:
        """The same for a folded text, and the length in it. Of two labels the shorter counts."""
        head = _HEAD.match(text)
        if head is None or head.end() == len(text) or text in _DASHES:
            return (Label.NONE if final else Label.UNDECIDED), 0
        closing = head[2][::-1].translate(_MIRROR)
        found = []
        for name, label, tail in self._own if own_only or head[1] else self._names:
            if text.startswith(name, head.end()):
                end = head.end() + len(name)
                length = _behind(text[end:], closing, tail, final)
                found.append((Label.UNDECIDED if length < 0 else label, end + length, length))
            elif not final and name.startswith(text[head.end() :]):
                found.append((Label.UNDECIDED, 0, -1))
        labels = [(end, label) for label, end, length in found if length > 0]
        if labels:
            end, label = min(labels, key=lambda pair: pair[0])
            return label, end
        return (Label.UNDECIDED if any(n < 0 for _, _, n in found) else Label.NONE), 0


def _behind(text: str, closing: str, tail: _Tail, final: bool) -> int:
    """Return how long what stands behind a name is: 0, it is no label; -1, it may become one."""
    match = tail.whole.match(text)
    if match is None:
        if not final and tail.begun.fullmatch(text):
            return -1
        heading = tail.heading.match(text)
        if heading and heading[1] == closing:
            return len(closing)
        bare = _NO_COLON.match(text + "\n")
        return bare.end() if bare and bare[1] == closing and closing[:1] in tail.brackets else 0
    shut = match[1] + match[2]
    missing, after = closing[len(shut) :], text[match.end() :]
    if not closing.startswith(shut):
        return 0
    if after.startswith(missing):
        return match.end() + len(missing)
    if missing.startswith(after) and not final:
        return -1
    return match.end() if _LOOSE.fullmatch(missing) else 0


@lru_cache(4096)
def _fold(char: str) -> str:
    if char.isspace() and char != "\n":
        return " "
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    return "".join(c for c in folded if unicodedata.category(c) != "Cf").replace("’", "'")  # noqa: RUF001


def _n_source(folded: Sequence[str], length: int) -> int:
    """Return how many characters were folded to the first `length`."""
    n = 0
    while length > 0:
        length -= len(folded[n])
        n += 1
    return n


@lru_cache(1024)
def _forms(name: str) -> tuple[str, ...]:
    """Return a name as it is looked for, and the words of it that are names themselves."""
    whole = " ".join("".join(map(_fold, name)).split())
    whole = whole.lstrip(_OPENS)
    return tuple({whole, *_words(whole)} - {""}) if len(whole) <= _MAX_NAME else ()


def _words(name: str) -> Iterator[str]:
    """Yield the first and the last word of what stands before a comma, " the " or " of "."""
    words = re.split(r",| the | of | \(", name.removeprefix("the "))[0]
    yield words.strip()
    parts = [part.strip(_OPENS + _CLOSES) for part in re.split(r"[ ·・]+", words.strip())]
    for part in (parts[0], parts[-1]):
        if len(part) > 1 and part not in _NO_NAMES and not part.endswith("."):
            yield part
