"""Bytes of sampled tokens to whole code points, to clean text, to lines and gestures.

Owns what of a reply may be shown. Knows no model, no tokens, no messages; where that lies in the
bytes that were sampled, `kept_text` knows, and what a sentence is, `sentences`.

    raw    <think>Hm.</think>\\n Mara: Hello  there. *nods*\\nPlayer: Who
           ------------------------ --------------------- -----------
           dropped                  text                  stop: kept_bytes is where it starts

1. Bytes of an unfinished UTF-8 sequence are held back, and dropped if the reply ends there.
   Every byte that cannot belong to one becomes U+FFFD. Control characters but \\n and \\t go,
   before anything is looked for.
2. What `thoughts` says is thought is no part of the text; nor is what follows an opening mark that
   never closes, nor a closing one that nothing opened. Stop strings don't count inside.
3. A stop string ends the reply, and so does one of the marks that chat templates put between
   turns, written out as text. One of blanks or invisible characters alone counts only where
   something was said: not behind a quote or a gesture that has but begun.
4. At the start of a row the character's own name as a label (`labels`) goes, and another speaker's
   ends the reply; bytes of rule 1 before it don't count. Behind a gesture that starts a row the own
   one goes, too.
5. All that rules 2 and 3 look for are plain strings: at each place the shortest that fits wins, and
   where none fits, a label. Text that might be the beginning of one is held back until it is
   decided: the outcome does not depend on how the bytes were cut into pieces.
6. White space, invisible characters and bytes of rule 1 before the first and after the last
   character go: they are held back until more comes.
7. Of a reply that was cut (`finish`), what is not decided goes, since it was to become something
   else; but not a name that is all there is.
"""

import codecs
import re
from collections import deque
from collections.abc import Sequence
from enum import Enum

from npc_engine.text import punctuation
from npc_engine.text.kept_text import BLANKS, UNDECODABLE, KeptText, n_bytes
from npc_engine.text.labels import Label, Labels
from npc_engine.text.sentences import Kind, LineSplitter, Record
from npc_engine.text.special_tokens import DEBRIS
from npc_engine.text.thoughts import (
    CHANNEL,
    KNOWN,
    MESSAGE,
    START,
    TURN_ENDS,
    WORDS,
    WRAPPERS,
    Thoughts,
    is_spoken,
)

__all__ = ["DEBRIS", "Detokenizer", "Kind", "Record"]

_GESTURES = {"*": "*", "_": "_", "(": ")", "[": "]", "（": "）", "【": "】"}  # noqa: RUF001
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")


class _Found(Enum):
    NOTHING = 0
    UNDECIDED = 1
    STOP = 2
    OWN_NAME = 3
    THINK = 4
    THINK_WORDS = 5
    THINK_END = 6
    HEADER = 7  # of a message: `<|start|>`, `<|channel|>`, or the end of the one before
    MESSAGE = 8
    IDLE = 9  # a mark that says nothing here


class _Table:
    """Strings to look for, by their first character, the shortest first."""

    def __init__(self, *entries: tuple[_Found, Sequence[str]], also: str = "") -> None:
        self._entries: dict[str, list[tuple[str, _Found]]] = {}
        for found, strings in entries:
            for string in filter(None, strings):
                self._entries.setdefault(string[0], []).append((string, found))
        for candidates in self._entries.values():
            candidates.sort(key=lambda entry: len(entry[0]))
        firsts = "".join(map(re.escape, [*self._entries, also]))
        self.first = re.compile(f"[{firsts}]")

    def look(self, text: str, at: int, final: bool, has_said: bool) -> tuple[_Found, int]:
        """Return what stands at `at` and its length in characters.

        `has_said`: whether something was said before it, so that blanks may stop the reply.
        """
        rest = len(text) - at
        for string, found in self._entries.get(text[at], ()):
            if found is _Found.THINK_WORDS if has_said else not string.strip(BLANKS):
                continue
            if len(string) <= rest:
                if text.startswith(string, at):
                    return found, len(string)
            elif not final and string.startswith(text[at:]):
                return _Found.UNDECIDED, 0
        return _Found.NOTHING, 1


_LABELS = {
    Label.NONE: _Found.NOTHING,
    Label.UNDECIDED: _Found.UNDECIDED,
    Label.OWN: _Found.OWN_NAME,
    Label.OTHER: _Found.STOP,
}


class Detokenizer:
    """One reply: feed it the bytes of each token as it is sampled.

    `own`: the character's names; `others`: those of the other speakers ("Player", "User" and "You"
    always count). `stop`: strings that end the reply. `thoughts`: the marks around thoughts.
    """

    def __init__(
        self,
        *,
        own: Sequence[str] = (),
        others: Sequence[str] = (),
        stop: Sequence[str] = (),
        thoughts: Thoughts = KNOWN,
    ) -> None:
        self._labels = Labels(own, others)
        self._look_for(stop, thoughts)
        self._header_text = ""
        self.thought: str | None = None
        """The mark that opened the thought it is in."""
        self._has_thought = False
        self._n_aside = 0  # raw bytes of a thought that was taken out of the reply
        self._table = self._after_think = self._row_start
        self._after_name = False
        self._closes = ""  # what ends the gesture that starts this row
        self._after_gesture = False
        self._kept = KeptText()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._pending = ""  # decoded, not decided
        self._may_be_label = False  # what it waits for
        self._n_raw = 0  # raw bytes before `pending`
        # Before which character of all that was pending control characters went, and their bytes.
        self._gaps: deque[tuple[int, int]] = deque()
        self._n_decided = 0  # characters before `pending`
        self._n_texts = 0
        self._finished = False
        self._splitter = LineSplitter()
        self.stopped = False

    def _look_for(self, stop: Sequence[str], thoughts: Thoughts) -> None:
        """Set what is looked for in each state: a table of marks, and what each of them is."""
        closings = thoughts.closings
        anywhere = (
            (_Found.STOP, [*stop, *DEBRIS]),
            (_Found.THINK, list(thoughts.pairs)),
            (_Found.THINK_WORDS, list(WORDS)),
            (_Found.HEADER, [CHANNEL]),
            (_Found.IDLE, [*(c for c in closings if not c[0].isalpha()), *WRAPPERS, MESSAGE]),
        )
        self._within_row = _Table(*anywhere, also="\n" + "".join(_GESTURES.values()))
        self._row_start = _Table(*anywhere)
        self._thinking = _Table((_Found.THINK_END, closings))
        headers = (_Found.HEADER, [CHANNEL, START, *TURN_ENDS])
        self._channel = _Table(headers)
        self._header = _Table(headers, (_Found.MESSAGE, [MESSAGE]))

    @property
    def text(self) -> str:
        """The reply so far, clean and in whole code points."""
        return self._kept.text

    @property
    def has_said(self) -> bool:
        """Whether there is text, or would be if the reply ended here: a name that may yet become
        a label, the first words of a stop string. Not a mark that has begun.
        """
        holds_words = punctuation.WORD.match(self._pending) is not None
        return self._kept.n > 0 or holds_words or self._holds_name

    @property
    def has_only_thought(self) -> bool:
        """Whether all that was fed so far is a thought, and that is over: until `set_aside`."""
        is_over = not (self.thought or self._pending or self._kept.n)
        return self._has_thought and is_over and not self._n_aside

    def set_aside(self, n_bytes: int) -> None:
        """Count no more the raw bytes that were fed so far: a thought that is over."""
        self._n_aside += n_bytes

    @property
    def _holds_name(self) -> bool:
        return self._may_be_label and punctuation.WORD.search(self._pending) is not None

    @property
    def kept_bytes(self) -> int:
        """How many of the raw bytes fed reach to the end of `text`, all that was dropped before
        it included, unless it was set aside. Behind them stand a stop string, blanks, or what is
        not decided yet.
        """
        return self.raw_offset(self._kept.n)

    def raw_offset(self, text_offset: int) -> int:
        """Return how many raw bytes reach to `text_offset` (code points, clamped to the text).

        What was set aside does not count.
        """
        return max(0, self._kept.raw_offset(text_offset) - self._n_aside)

    def heard(self, n_characters: int) -> int:
        """Return the offset in `text` up to which the reply was heard.

        `n_characters`: how much the player heard of the texts of all lines, end to end. Gestures
        before the last heard word count as seen.
        """
        return self._splitter.heard(n_characters, self.text)

    def feed(self, piece: bytes) -> list[Record]:
        """Take one token's bytes; return what is now certain. Nothing, once `stopped`."""
        if self.stopped or self._finished:
            return []
        self._take(self._decoder.decode(piece))
        self._scan(final=False)
        return self._drain()

    def finish(self, cut: bool = False) -> list[Record]:
        """End the reply: return what was held back. `cut`: more would have come (rule 7)."""
        if self._finished:
            return []
        self._finished = True
        if not cut or (self._holds_name and not self._kept.n):
            self._scan(final=True)
        return self._drain() + self._splitter.finish(cut)

    def _take(self, source: str) -> None:
        """Append to `pending`, without control characters."""
        at = 0
        for match in _CONTROL.finditer(source):
            self._pending += source[at : match.start()]
            self._gaps.append((self._n_decided + len(self._pending), n_bytes(match[0])))
            at = match.end()
        self._pending += source[at:]

    def _leave(self, source: str) -> list[tuple[str, int]]:
        """Count `source` as decided; return it with its offset in the raw bytes.

        In parts, where control characters stood in between.
        """
        parts, end = [], self._n_decided + len(source)
        while self._gaps and self._gaps[0][0] < end:
            at, n_gap = self._gaps.popleft()
            part, source = source[: at - self._n_decided], source[at - self._n_decided :]
            parts.append((part, self._n_raw))
            self._n_raw += n_bytes(part) + n_gap
            self._n_decided = at
        parts.append((source, self._n_raw))
        self._n_raw += n_bytes(source)
        self._n_decided = end
        return parts

    def _drain(self) -> list[Record]:
        text, end = self._kept.take_fresh(), self._kept.n
        if not text:
            return []
        record = Record("text", text, self._n_texts, end - len(text), end)
        self._n_texts += 1
        return [record, *self._splitter.feed(text)]

    def _scan(self, *, final: bool) -> None:
        """Decide about `pending` from left to right as far as possible."""
        text, at = self._pending, 0
        self._may_be_label = False
        while at < len(text) and not self.stopped:
            if self._table is not self._row_start:
                match = self._table.first.search(text, at)
                place = match.start() if match else len(text)
                self._pass(text[at:place])
                at = place
                if match is None:
                    break
            found, length = self._look(text, at, final)
            if found is _Found.UNDECIDED:
                break
            self._act(found, text[at : at + length])
            at += length
        self._pending = text[at:]

    def _look(self, text: str, at: int, final: bool) -> tuple[_Found, int]:
        found, length = self._table.look(text, at, final, self._kept.has_said)
        if found is _Found.NOTHING and self._table is self._row_start:
            label, n_label = self._labels.look(
                text, at, final, own_only=self._after_gesture, has_said=self._kept.has_said
            )
            self._may_be_label = label is Label.UNDECIDED
            return _LABELS[label], n_label or length
        return found, length

    def _act(self, found: _Found, string: str) -> None:
        if found is _Found.NOTHING:
            self._pass(string)
            self._follow(string)
            return
        if found is _Found.STOP:
            self.stopped = True
        elif found is _Found.OWN_NAME:
            self._after_name = True
        elif found in (_Found.THINK, _Found.THINK_WORDS):
            self._begin_thought(string, self._thinking)
        elif found is _Found.THINK_END:
            self._end_thought()
        elif found is _Found.HEADER:
            self._begin_header(string)
        elif found is _Found.MESSAGE:
            self._end_header()
        self._leave(string)

    def _begin_thought(self, mark: str, table: _Table) -> None:
        self.thought, self._has_thought = mark, True
        self._after_think, self._table = self._table, table

    def _end_thought(self) -> None:
        self.thought, self._table = None, self._after_think

    def _begin_header(self, mark: str) -> None:
        if self.thought is None:
            self._begin_thought(CHANNEL, self._header)
        self._table = self._header
        self._header_text = self._header_text + CHANNEL if mark == CHANNEL else ""

    def _end_header(self) -> None:
        spoken = is_spoken(self._header_text)
        self._header_text = ""
        if spoken:
            self._end_thought()
        elif spoken is None:
            self.stopped = True
        else:
            self._table = self._channel

    def _follow(self, char: str) -> None:
        """Know whether a row starts behind `char`."""
        if self.thought is not None:
            return
        if char == "\n":
            self._table = self._row_start
            self._after_name = self._after_gesture = False
        elif not (char.isspace() or UNDECODABLE.match(char)):  # nobody sees such a byte as a word
            self._after_name = False
            if self._table is self._row_start:
                self._table = self._within_row
                self._closes = _GESTURES.get(char, "")
            elif char == self._closes:
                self._table = self._row_start
                self._after_gesture = True

    def _pass(self, source: str) -> None:
        """Keep `source`, unless it is thought, or blank behind a name."""
        blank = self._after_name and source.isspace() and source != "\n"
        if self._table is self._header:
            self._header_text += source
        for part, raw in self._leave(source):
            if self.thought is None and not blank:
                self._kept.add(part, raw)
