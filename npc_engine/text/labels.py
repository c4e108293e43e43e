"""The name before a speech: "Mara:", "**Mara** (smiling):", "<Mara>", "You:".

Owns how models write who speaks at the start of a row, in any case and any form of Unicode, and
whether what stands there is such a label, is none, or may become one. It knows no bytes, and
nothing of what is made of a label: that is `detokenizer`'s.

    > **Mara (smiling):** "Sit down."    Mara says: Sit down.    [Mara] Sit down.
    -------------------- spoken          ---------- spoken       ------ spoken

1. A label is a name, and a colon behind it, or `>`. Between the two may stand what the speaker
   does, in brackets or in asterisks, an emoji, whom it speaks to, and for the character itself what
   it is (", the innkeeper"), or what it does, in words ("says with a smile", ", smiling").
2. Both together or the name alone may stand in asterisks, quotes or brackets. Asterisks in pairs
   and quotes need not close: they are around the speech as well then. In square or angle brackets
   the name needs no colon. Nor has the character's own in asterisks before a capital, an opening
   quote or the end of its row, or behind `#` on a row of its own.
3. A quote that opens behind the name is as good as a colon: a CJK one at once, others behind "says"
   or a dash.
4. Names are compared in small letters and compatibility forms (NFKD), without accents and
   invisible characters: full-width letters and colons make no difference.
5. Of a name of several words the first and the last alone count as well, articles and titles not.
   Its words may also be joined, as in keys.
6. Where nothing was said yet, `You: the one I trust.` is no label: a small letter goes on with it.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from npc_engine.text.spellings import CLOSES, MIRROR, OPENS, folded, forms

__all__ = ["Label", "Labels"]

ROLES = ("{{char}}", "Bot", "Assistant", "AI", "NPC", "Character", "Response")
"""What prompts of all kinds call the one who answers."""
PLAYERS = ("Player", "The player", "User", "You", "{{user}}")
MAX_LABEL = 240  # characters that are looked at

_ANY_OPENS, _ANY_CLOSES = re.escape(OPENS), re.escape(CLOSES)


class _Part(NamedTuple):
    """A part of a label as a pattern, and as one for its beginning."""

    whole: str
    begun: str

    def maybe(self) -> "_Part":
        """It may be missing."""
        return _Part(f"(?:{self.whole})?", self.begun)


def _row(*parts: _Part) -> _Part:
    """Return parts behind each other."""
    begun = [
        "".join(part.whole for part in parts[:n]) + f"(?:{part.begun})"
        for n, part in enumerate(parts)
    ]
    return _Part("".join(part.whole for part in parts), "|".join(begun))


def _either(*parts: _Part) -> _Part:
    return _Part(
        "(?:" + "|".join(part.whole for part in parts) + ")", "|".join(part.begun for part in parts)
    )


def _same(pattern: str) -> _Part:
    """Return a pattern that matches its own beginnings."""
    return _Part(pattern, pattern)


def _words(*listed: str) -> _Part:
    """Return words, the longest first, and all that one of them may begin with."""
    parts = {word[:n] for word in listed for n in range(len(word) + 1)}
    whole, begun = (sorted(words, key=len, reverse=True) for words in (listed, parts))
    return _Part(f"(?:{'|'.join(whole)})", "|".join(begun))


# A bullet or a number before another's name is an item of a list far more often than a label.
_BULLET = _either(
    _same(r"[-\u2013\u2014\u2022\u00b7]{1,2} {0,3}"),
    _same(r"[*+] {1,3}"),
    _Part(r"\d{1,2}[.)] {1,3}", r"\d{1,2}(?:[.)] {0,3})?"),
)
_HEAD = re.compile(rf"(?:([#>|]{{1,4}}) ?|({_BULLET.whole}))?([{_ANY_OPENS}]{{0,6}})")
_HEAD_BEGUN = re.compile(rf"(?:[#>|]{{1,4}} ?)?[{_ANY_OPENS}]{{0,6}}|{_BULLET.begun}")
# What may be left open: it is around the whole speech.
_LOOSE = re.compile(r"(?:\*{2,3}|_{2,3}|[\"'»«’」』])*")  # noqa: RUF001

_SHUT = _same(f"([{_ANY_CLOSES}]{{0,6}})")
_EMOJI = _same("(?: ?[\u2600-\u27bf\u2b50\U0001f000-\U0001faff]{1,4})?")
_ASIDE = _Part(
    r" ?(?:\([^()\n]{1,60}\)|\[[^\[\]\n]{1,60}\]|\*[^*\n:]{1,60}\*|\{[^{}\n]{1,60}\})",
    r" ?(?:\([^()\n]{0,60}|\[[^\[\]\n]{0,60}|\*[^*\n:]{0,60}|\{[^{}\n]{0,60})?",
)
_TO = _row(_same(" "), _words("to", "->", "=>", "\u2192"), _same(r" ?[^:\n.!?\"]{0,40}"))
_ARROW = _row(_same(" "), _words("->", "=>", "\u2192"), _same(r" ?[^:\n.!?\"]{0,40}"))
_SAYS = _words(
    *("says", "said", "asks", "asked", "replies", "replied", "answers", "answered", "adds"),
    *("added", "responds", "responded", "speaks", "continues", "continued", "exclaims"),
    *("exclaimed", "murmurs", "murmured", "mutters", "muttered", "whispers", "whispered"),
    *("shouts", "shouted", "sagt", "fragt", "antwortet", "dit", "demande", "dice", "diz"),
    *("\u0433\u043e\u0432\u043e\u0440\u0438\u0442",),
)
_MORE = _same(r"(?: [a-z']{1,15}){0,4}")
_MORE_BEGUN = r"(?: [a-z']{1,15}){0,3} ?[a-z']{0,15}"
_CJK_SAYS = _words("说道", "說道", "说", "說", "问", "問", "道", "は言う")
_VERB = _either(
    _row(_same(" "), _SAYS, _Part(_MORE.whole, _MORE_BEGUN)), _row(_same(" ?"), _CJK_SAYS)
)
_MANNER = _either(
    _Part(
        r", [a-z]{2,15}ing(?: [a-z]{1,15}){0,3}",
        r",(?: (?:[a-z]{0,18}|[a-z]{2,15}ing(?: [a-z]{1,15}){0,2} [a-z]{0,15}))?",
    ),
    _row(_same(",?"), _words(" the "), _same("[a-z]{1,15}"), _Part(_MORE.whole, _MORE_BEGUN)),
)
_REPLY = _row(_words("'s "), _words("reply", "response", "answer", "turn", "line"))

_DOES = _either(_REPLY, _row(_VERB.maybe(), _MANNER.maybe()))
_QUOTED = _either(_row(_VERB, _same(",?")), _same(" [-\u2013\u2014]{1,2}"))


class _Tail:
    """What may stand behind a name up to its colon, and what may be the beginning of that."""

    def __init__(self, does: _Part, quoted: _Part, brackets: str) -> None:
        self.brackets = tuple(brackets)  # behind which there need be no colon
        whole = _row(_SHUT, _EMOJI, _ASIDE.maybe(), does, _SHUT)
        self.whole = re.compile(whole.whole + " ?:")
        begun = _row(_SHUT, quoted, _same(" ?"))
        self.begun = re.compile(f"{whole.begun}|{whole.whole} |{begun.begun}")
        self.quoted = re.compile(rf'{_SHUT.whole}(?:{quoted.whole} ?(?=["«「『])|(?=[「『]))')


_NEVER = _Part("(?!)", "(?!)")
_OWN_TAIL = _Tail(_either(_TO, _DOES), _QUOTED, "]>】)")
_PLAYER_TAIL = _Tail(_either(_ARROW, _VERB).maybe(), _NEVER, "]>】")
_OTHER_TAIL = _Tail(_ARROW.maybe(), _NEVER, "]>】")
_NO_COLON = re.compile(rf"{_SHUT.whole}(?= ?[^ :]|  )")
_EMPHASIS = re.compile(r"(?:\*{1,3}|_{1,3})(?= ?(\S)| ?\n)")
_ROW_END = re.compile(r" ?\n")
_ALONE = ("assistant", "user")  # on a row of their own: what is left of some chat templates


class Label(Enum):
    """What stands at the start of a row."""

    NONE = 0
    UNDECIDED = 1
    OWN = 2
    OTHER = 3


class Labels:
    """The labels that a character's reply may have: those of its `own` names and of `others`."""

    def __init__(self, own: Sequence[str] = (), others: Sequence[str] = ()) -> None:
        theirs = {form for name in others for form in forms(name)}
        mine = {form for name in own for form in forms(name)}
        players = {form for name in PLAYERS for form in forms(name)} - mine
        roles = {form for name in ROLES for form in forms(name)} - theirs - players
        self._own = [(name, Label.OWN, _OWN_TAIL) for name in mine | roles]
        self._names = self._own + [(name, Label.OTHER, _PLAYER_TAIL) for name in players - {"you"}]
        others_names = (theirs | players & {"you"}) - mine - (players - {"you"})
        self._names += [(name, Label.OTHER, _OTHER_TAIL) for name in others_names]
        firsts = {name[0] for name, _, _ in self._names}
        self._firsts = firsts | set(OPENS) | set("#>|-\u2013\u2014\u2022\u00b7+0123456789")

    def look(
        self, text: str, at: int, final: bool, own_only: bool = False, has_said: bool = True
    ) -> tuple[Label, int]:
        """Return what stands at `at`, the start of a row, and its length in characters.

        `final`: nothing more will come. `own_only`: others' labels are none. `has_said`: whether
        something was said before it.
        """
        first = folded(text[at])
        if first and first[0] not in self._firsts:
            return Label.NONE, 0
        source = text[at : at + MAX_LABEL]
        row = _Row(source, [folded(char) for char in source], final or len(source) == MAX_LABEL)
        label, length = self._match(row, own_only)
        n = row.n_source(length)
        if label is Label.OTHER and not has_said and source.startswith("You"):
            rest = source[n:].lstrip(" ")
            if not (rest or row.final):
                return Label.UNDECIDED, 0
            if rest[:1].islower():
                return Label.NONE, 0
        return label, n

    def _match(self, row: "_Row", own_only: bool) -> tuple[Label, int]:
        """The same, with the length in the folded text. Of two labels the shorter counts."""
        text = row.text
        head = _HEAD.match(text)
        if head is None or _HEAD_BEGUN.fullmatch(text):
            return (Label.NONE if row.final else Label.UNDECIDED), 0
        found: list[tuple[Label, int]] = []
        for name, label, tail in self._own if own_only or head[2] else self._names:
            if text.startswith(name, head.end()):
                end = head.end() + len(name)
                length = _behind(row, end, head, name, tail)
                if length is not None:
                    found.append((label, end + length) if length >= 0 else (Label.UNDECIDED, 0))
            elif not row.final and name.startswith(text[head.end() :]):
                found.append((Label.UNDECIDED, 0))
        whole = [entry for entry in found if entry[0] is not Label.UNDECIDED]
        if whole or not found:
            return min(whole, key=lambda entry: entry[1], default=(Label.NONE, 0))
        return Label.UNDECIDED, 0


class _Row:
    """The start of a row: as it is, and folded."""

    def __init__(self, source: str, folded: Sequence[str], final: bool) -> None:
        self._source = source
        self._folded = folded
        self.text = "".join(folded)
        self.final = final

    def n_source(self, length: int) -> int:
        """Return how many characters were folded to the first `length`."""
        n = 0
        while length > 0:
            length -= len(self._folded[n])
            n += 1
        return n

    def is_capital(self, at: int) -> bool:
        """Whether the character that was folded to what stands at `at` is a capital."""
        n = self.n_source(at + 1)
        return self._source[n - 1].isupper()


def _behind(row: _Row, at: int, head: re.Match[str], name: str, tail: _Tail) -> int | None:
    """Return how long what stands behind a name is: None, it is no label; -1, it may become one."""
    closing = head[3][::-1].translate(MIRROR)
    text = row.text[at:]
    match = tail.whole.match(text)
    if match is None:
        if not row.final and tail.begun.fullmatch(text):
            return -1
        is_alone = (head[1] or "").startswith("#") or (not closing and name in _ALONE)
        if is_alone and text.startswith(closing) and _ROW_END.match(text, len(closing)):
            return _where_more_follows(row, text, closing)
        return _without_colon(row, at, closing, tail)
    shut = match[1] + match[2]
    missing, after = closing[len(shut) :], text[match.end() :]
    if not closing.startswith(shut):
        return None
    if after.startswith(missing):
        return match.end() + len(missing)
    if missing.startswith(after) and not row.final:
        return -1
    return match.end() if _LOOSE.fullmatch(missing) else None


def _where_more_follows(row: _Row, text: str, closing: str) -> int | None:
    if text[len(closing) :].strip():
        return len(closing)
    return None if row.final else -1


def _without_colon(row: _Row, at: int, closing: str, tail: _Tail) -> int | None:
    """Return the same for a label that has none."""
    text = row.text[at:]
    quoted = tail.quoted.match(text)
    if quoted and quoted[1] == closing:
        return quoted.end()
    emphasis = _EMPHASIS.match(text) if tail is _OWN_TAIL else None
    if emphasis and emphasis[0] == closing:
        first = emphasis[1]
        is_label = not first or first in OPENS or row.is_capital(at + emphasis.start(1))
        return len(closing) if is_label else None
    bare = _NO_COLON.match(text + "\n")
    if bare is None:
        return None
    bracket = closing.lstrip("}*_")[:1]
    is_bare = bare[1] == closing and bracket in tail.brackets
    is_prompt = bare[1] == f"{closing}>" and ">" not in closing
    return bare.end() if is_bare or is_prompt else None
