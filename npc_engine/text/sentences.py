"""Speech out of clean text: lines (one spoken sentence each) and gestures (stage directions).

Owns where lines and gestures begin and end while the text still comes, piece by piece.
Knows no bytes, no tokens, no stop strings: `detokenizer` feeds it what is fit to be shown.

    text   *nods* Dr. Voss?  I *never* saw him... today. (sighs) Well
           ------ --------- --------------------------- ------- ----
           gesture line     line                        gesture held back: may go on

1. A newline ends a line. So does a run of . ! ? and the like (`sentence_ends`: of all scripts) with
   the quotes and brackets that close after it, if a space and another character follow. Marks that
   are nothing else, as CJK full stops are, need no space. Enders and closers that follow behind a
   space (French) still belong to the line. Thai and Lao have no such mark: a line of MIN_UNMARKED
   characters or more ends at a space between two of their words.
2. A sentence goes on after an abbreviation, a single capital initial (but "I"), a number that
   starts it ("1. Bread"), after an ellipsis or a closing quote with a small letter behind it.
3. `*...*` and, at word edges, `_..._` on one row are a gesture, and a gesture ends the line before
   it. A marked span is emphasis, hence speech, if it is one word within a sentence, and a small
   letter or a digit follows it, or anything that is attached to it. In scripts without spaces
   every marked span is a gesture. `**...**` and `__...__` are always speech.
4. `(...)` and `[...]` are a gesture only where a sentence starts. One that is open where the reply
   was cut is one, too.
5. An opening `*` that never closes on its row makes the rest of the row a gesture where a sentence
   starts (better unsaid than a stage direction said aloud), and is dropped elsewhere. The same
   holds at the end of the reply. A span longer than MAX_GESTURE characters is speech.
6. A row of punctuation alone is not spoken: dots and opening quotes join the next line, the rest
   vanishes, unless the whole reply has nothing else. A gesture of punctuation alone is none.
7. A sentence of more than MAX_LINE characters is cut at a comma or the like, else at a space.
8. Lines have no asterisks, single spaces, and no quotation marks around the whole or left over
   at one end.

Not a library: of those that stream, sentence-stream searches its whole buffer again for every
piece, gives no offsets and ends no line at a newline, and stream2sentence brings thousands of
lines and an emoji table; neither knows gestures.
"""

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from npc_engine.text import punctuation as p
from npc_engine.text.sentence_ends import BY_SCRIPT, is_of_script

__all__ = ["MAX_GESTURE", "MAX_LINE", "MIN_UNMARKED", "Kind", "LineSplitter", "Record"]

MAX_LINE = 240
MIN_UNMARKED = 24
MAX_GESTURE = 400

Kind = Literal["text", "line", "gesture"]

_TRIGGER = re.compile(rf"[\n*_(\[（【{p.FIRSTS}]|(?<=[{p.THAI}])[^\S\n]")  # noqa: RUF001
_MARK_END = {
    "*": re.compile(r"\n|(?<!\*)\*(?!\*)"),
    "_": re.compile(r"\n|(?<=[^\s_])_(?!\w)"),
}
_BRACKET_END = {
    "(": re.compile(r"[\n)]"),
    "[": re.compile(r"[\n\]]"),
    "（": re.compile(r"[\n）]"),  # noqa: RUF001
    "【": re.compile(r"[\n】]"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One piece of a reply.

    `index` counts the records of this kind from 0; `start` and `end` are offsets in the reply's
    clean text, in code points, marks and quotes included.
    """

    kind: Kind
    text: str
    index: int
    start: int
    end: int


class LineSplitter:
    """Splits the clean text of one reply, fed in pieces of any size, into lines and gestures."""

    def __init__(self) -> None:
        self._buffer = ""  # text from the start of the current line on
        self._base = 0  # offset of buffer[0] in the reply
        # Indices in the buffer: where the current line starts, up to where all is decided, and
        # the mark that closes the open emphasis.
        self._start = self._at = 0
        self._close = -1
        self._carried: Record | None = None
        self._out: list[Record] = []
        self._lines: list[Record] = []
        self._n_gestures = 0
        self._was_cut = False

    def feed(self, text: str) -> list[Record]:
        """Take more text; return the lines and gestures that are now certain, in order."""
        self._buffer += text
        self._scan(final=False)
        return self._drain()

    def finish(self, cut: bool = False) -> list[Record]:
        """Return what was held back: nothing more will come. `cut`: more was to come."""
        self._was_cut = cut
        self._scan(final=True)
        self._end_line(len(self._buffer))
        if self._carried and not self._lines and not self._n_gestures:
            self._lines.append(self._carried)
            self._out.append(self._carried)
        return self._drain()

    def heard(self, n_characters: int, text: str) -> int:
        """Return the offset in `text`, all that was fed, that `n_characters` of its lines reach.

        A line and its source have the same words: only marks, spaces and punctuation differ.
        """
        offset = 0
        for line in self._lines:
            if n_characters < len(line.text):
                n_words = len(p.WORD.findall(line.text, 0, max(n_characters, 0)))
                spoken = islice(p.WORD.finditer(text, line.start, line.end), n_words)
                return max((match.end() for match in spoken), default=offset)
            n_characters -= len(line.text)
            offset = line.end
        return offset

    def _drain(self) -> list[Record]:
        out, self._out = self._out, []
        if self._start:
            self._buffer = self._buffer[self._start :]
            self._base += self._start
            self._at -= self._start
            self._close -= self._start
            self._start = 0
        return out

    def _scan(self, *, final: bool) -> None:
        """Go on to the end of the buffer, or to a place that needs more text to decide.

        What is decided at a place depends on the text alone, never on how it was cut into pieces:
        nothing before `_start` is looked at, and nothing is decided before it must be.
        """
        while True:
            match = _TRIGGER.search(self._buffer, self._at)
            place = match.start() if match else len(self._buffer)
            if place - self._start > MAX_LINE:
                self._cut_long()
                continue
            self._at = place
            if match is None or not self._decide(place, final):
                return

    def _decide(self, place: int, final: bool) -> bool:
        """Handle the character at `place` and go on behind it; False: more text is needed."""
        char = self._buffer[place]
        if char == "\n":
            return self._end_row(place)
        if char in _MARK_END:
            return self._mark(place, char, final)
        if char in _BRACKET_END:
            return self._bracket(place, char, final)
        if char.isspace():
            return self._space(place, final)
        if char == p.WORD_SPACE or char in BY_SCRIPT:
            return self._mark_of_a_script(place, char, final)
        return self._sentence(place, final)

    def _go_on(self, at: int) -> bool:
        self._at = at
        return True

    def _has_words(self, end: int) -> bool:
        return p.WORD.search(self._buffer, self._start, end) is not None

    # Rules 1, 2 and 7: where a line ends.

    def _end_row(self, place: int) -> bool:
        self._end_line(place)
        self._start = self._at = place + 1
        return True

    def _end_line(self, end: int) -> bool:
        self._emit_line(end)
        self._start = self._at = end
        return True

    def _cut_long(self) -> None:
        start, at = self._start, self._at
        limit = start + MAX_LINE
        pauses = [m.end() for m in p.PAUSE.finditer(self._buffer, start + MAX_LINE // 2, limit)]
        space = max(self._buffer.rfind(blank, start + 1, limit) for blank in " \t\u00a0\u3000")
        self._end_line(pauses[-1] if pauses else space if space > 0 else limit)
        self._at = max(at, self._start)  # marks before it are decided, and stay so

    def _space(self, place: int, final: bool) -> bool:
        text = self._buffer
        follower = p.skip(p.SPACES, text, place)
        if place - self._start < MIN_UNMARKED:
            return self._go_on(follower)
        if follower == len(text):
            return final and self._go_on(follower)
        if not p.THAI_WORD.match(text, follower):
            return self._go_on(follower)
        return self._end_line(place)

    def _mark_of_a_script(self, place: int, char: str, final: bool) -> bool:
        if char != p.WORD_SPACE:
            ends = is_of_script(char, self._buffer[self._start : place])
        elif place + 1 == len(self._buffer) and not final:
            return False
        else:
            ends = self._buffer.startswith(char, place + 1)
        return self._sentence(place, final) if ends else self._go_on(place + 1)

    def _sentence(self, place: int, final: bool) -> bool:
        text, size = self._buffer, len(self._buffer)
        end = p.skip(p.END_RUN, text, place)
        if end == size and not final:
            return False
        head, run = text[self._start : place], text[place:end]
        if p.ends_surely(head, run, text[end : end + 1]):
            return self._end_line(end)
        stop = p.skip(p.MARKS, text, end)
        while True:
            follower = p.skip(p.SPACES, text, stop)
            if follower == size:
                return final and self._go_on(end)
            if follower == stop or text[follower] == "\n":
                return self._go_on(end)
            late = p.skip(p.LATE_RUN, text, follower)
            if late == size and not final:
                return False
            if late == follower or late - place > p.MAX_RUN or text[late : late + 1].isalnum():
                break
            stop = late
        if p.goes_on(head, run, text[follower]):
            return self._go_on(end)
        return self._end_line(stop)

    # Rules 3 to 5: gestures and emphasis.

    def _mark(self, place: int, char: str, final: bool) -> bool:
        text = self._buffer
        before = text[place - 1] if place > self._start else ""
        follower = text[place + 1 : place + 2]
        if not follower and not final:
            return False
        lone = not follower or follower.isspace() or char in (before, follower)
        if lone or place == self._close or (char == "_" and before.isalnum()):
            return self._go_on(place + 1)
        limit = place + 1 + MAX_GESTURE
        match = _MARK_END[char].search(text, place + 1, limit)
        if match is None:
            if len(text) < limit and not final:
                return False
            return self._unclosed(place, char, min(limit, len(text)))
        if match[0] == "\n":
            return self._unclosed(place, char, match.start())
        if match.end() == len(text) and not final:
            return False
        return self._span(place, match.start(), final)

    def _unclosed(self, place: int, char: str, end: int) -> bool:
        spoken = char == "_" or end - place > MAX_GESTURE or self._has_words(place)
        if spoken or not p.WORD.search(self._buffer, place, end):
            return self._go_on(place + 1)
        return self._gesture(place, end, end)

    def _span(self, place: int, close: int, final: bool) -> bool:
        emphasis = self._is_emphasis(place, close, final)
        if emphasis is None:
            return False
        if not emphasis:
            return self._gesture(place, close, close + 1)
        self._close = close
        return self._go_on(place + 1)

    def _is_emphasis(self, place: int, close: int, final: bool) -> bool | None:
        """Apply rule 3 to a marked span; None: more text is needed."""
        text = self._buffer
        inner, said = text[place + 1 : close], text[self._start : place].rstrip()
        if not p.WORD.search(inner):
            return True
        if len(inner.split()) > 1 or p.UNSPACED.search(inner):
            return False
        if not p.WORD.search(said) or said[-1] in p.ENDERS:
            return False
        follower = p.skip(p.SPACES, text, close + 1)
        if follower == len(text):
            return False if final else None
        char = text[follower]
        if follower == close + 1:
            return char != "\n"
        return char.isalnum() and not char.isupper()

    def _bracket(self, place: int, char: str, final: bool) -> bool:
        text = self._buffer
        if self._has_words(place):
            return self._go_on(place + 1)
        limit = place + 1 + MAX_GESTURE
        match = _BRACKET_END[char].search(text, place + 1, limit)
        if match is None and len(text) < limit and not final:
            return False
        if match is None and self._was_cut and len(text) < limit:
            inner_end = end = len(text)
        elif match is None or match[0] == "\n":
            return self._go_on(place + 1)
        else:
            inner_end, end = match.span()
        if not any(char.isalpha() for char in text[place + 1 : inner_end]):
            return self._go_on(place + 1)
        return self._gesture(place, inner_end, end)

    # Rules 6 and 8: what goes out.

    def _gesture(self, start: int, inner_end: int, end: int) -> bool:
        self._emit_line(start)
        text = p.clean(self._buffer[start + 1 : inner_end].replace("*", " "))
        if text[0] + text[-1] in ("()", "[]"):
            text = text[1:-1].strip()
        base = self._base
        self._out.append(Record("gesture", text, self._n_gestures, base + start, base + end))
        self._n_gestures += 1
        self._start = self._at = end
        return True

    def _emit_line(self, end: int) -> None:
        source = self._buffer[self._start : end]
        text = p.clean(source)
        if not text:
            return
        end += self._base
        start = end - len(source.lstrip())
        end -= len(source) - len(source.rstrip())
        record = Record("line", text, len(self._lines), start, end)
        if not p.WORD.search(text):
            self._carried = record
            return
        if self._carried:
            text = p.join(self._carried.text, text)
            self._carried = None
        record = replace(record, text=p.unquote(text).strip())
        self._lines.append(record)
        self._out.append(record)
