"""A character's window as a picture in text: who is in it, who has left, how much is free.

Owns the head and the table under the bars of `window_bars`: the tokens of its rows add up to the
window. It knows the record of the `window` answer, and neither an engine nor a terminal.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from unicodedata import category, east_asian_width

from npc_engine.cli.window_bars import FANCY, Glyphs, Part, Row, draw_bars, parts_of
from npc_engine.protocol import WindowReply

__all__ = ["MIN_WIDTH", "cut", "draw", "n_columns"]

MIN_WIDTH = 40
MOST_TURNS = 12  # in the table, beside those that are pinned
MOST_OLD = 3  # of these, the oldest
WIDE = "  {:9}{:>8}{:>5}{:>6}  {}"  # behind a swatch: name, tokens, age, importance, words
NARROW = "  {0:9}{1:>8}  {4}"
NARROW_WIDTH = 60  # below it the words need the room


def draw(
    window: WindowReply,
    width: int = 80,
    *,
    name: str = "",
    glyphs: Glyphs = FANCY,
    most_turns: int = MOST_TURNS,
) -> list[Row]:
    """Return the picture as rows of at most `width` columns (taken as MIN_WIDTH at least).

    `name` is the character's own, in the place of its id. The table shows the persona, what is
    pinned, and of the other turns the `most_turns` oldest and newest.
    """
    width = max(width, MIN_WIDTH)
    parts = parts_of(window)
    doing = "speaking" if window.speaking else window.state
    head = glyphs.dot.join((name or window.npc, f"turn {window.turn}", doing))
    rows: list[Row] = [[("head", cut(head, width, glyphs.more))]]
    rows += draw_bars(window, parts, width, glyphs)
    table = _Table(window, parts, width, glyphs)
    return [*rows, [], *table.rows(most_turns)]


class _Table:
    """Who takes how much of the window."""

    def __init__(
        self, window: WindowReply, parts: Sequence[Part], width: int, glyphs: Glyphs
    ) -> None:
        self.window = window
        self.parts = parts
        self.width = width - 2  # behind a swatch
        self.columns = WIDE if width >= NARROW_WIDTH else NARROW
        self.glyphs = glyphs

    def rows(self, most_turns: int) -> Iterator[Row]:
        """Give the persona, what has left, the turns, and what is free."""
        yield [("note", "  " + self.columns.format("", "tokens", "age", "imp.", "").rstrip())]
        for part in self.parts:
            if part.style == "persona":
                yield self._row("persona", "persona", part.n_tokens, words=self._words(part))
        left = self._left()
        if left:
            yield self._row("hole", "left", 0, words=left)
        yield from self._turns([p for p in self.parts if p.style != "persona"], most_turns)
        yield self._row("free", "free", self.window.n_window - self.window.n_tokens)

    def _left(self) -> str:
        """Which turns are gone; an important one may stay longer than those around it."""
        w = self.window
        here = [0, *sorted({p.turn for p in self.parts} - {0, w.turn}), w.turn]
        gaps = [(a + 1, b - 1) for a, b in pairwise(here) if b - a > 1]
        spans = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in gaps)
        turns = f"turns {spans}, whole" if gaps else ""
        tokens = f"{w.n_evicted:,} tokens so far" if w.n_evicted else ""
        return "; ".join(filter(None, (tokens, turns)))

    def _turns(self, parts: Sequence[Part], most: int) -> Iterator[Row]:
        others = [p for p in parts if p.style != "pin"]
        n_old = min(MOST_OLD, most // 2)
        hidden = {id(p) for p in others[n_old : max(n_old, len(others) - most + n_old)]}
        for is_hidden, run in groupby(parts, lambda p: id(p) in hidden):
            group = list(run)
            if is_hidden:
                yield self._row("", f"{len(group)} more", sum(p.n_tokens for p in group))
            else:
                yield from map(self._turn, group)

    def _turn(self, part: Part) -> Row:
        importance = max((s.importance for s in part.segments if s.kind == "event"), default=0.5)
        facts = (str(self.window.turn - part.turn), f"{importance:.2g}")
        row = self._row(part.style, f"turn {part.turn}", part.n_tokens, facts, self._words(part))
        if part.n_pending == part.n_tokens:
            row[0] = (part.style, 2 * self.glyphs.pending)
        return row

    def _row(
        self,
        style: str,
        name: str,
        n_tokens: int,
        facts: tuple[str, str] = ("", ""),
        words: str = "",
    ) -> Row:
        swatch = 2 * getattr(self.glyphs, style, " ")
        text = self.columns.format(name, f"{n_tokens:,}", *facts, words).rstrip()
        return [(style, swatch), ("", cut(text, self.width, self.glyphs.more))]

    def _words(self, part: Part) -> str:
        """What is special about a part, then how it begins: what was heard, and the answer."""
        notes = []
        if part.style in ("persona", "pin"):
            notes.append("pinned")
        if part.turn == self.window.turn:
            notes.append("open")
        if part.n_pending:
            notes.append(f"{part.n_pending:,} not read")
        heard, reply = (
            " ".join(s.text for s in part.segments if s.text and (s.kind == "reply") is is_reply)
            for is_reply in (False, True)
        )
        note = ", ".join(notes) + (": " if notes and (heard or reply) else "")
        if heard and reply:
            room = self.width - len(self.columns.format(*5 * [""])) - len(note)
            least = room - n_columns(self.glyphs.answer + reply)
            share = room if part.style == "pin" else room // 2  # a fact's answer tells nothing
            heard = cut(heard, max(share, least), self.glyphs.more) + self.glyphs.answer
        return note + heard + reply


def n_columns(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return sum(2 if east_asian_width(c) in "WF" else category(c) not in ("Mn", "Me") for c in text)


def cut(text: str, room: int, more: str) -> str:
    """Return a text, or its beginning and `more`, in at most `room` columns."""
    if n_columns(text) <= room:
        return text
    while text and n_columns(text) > room - len(more):
        text = text[:-1]
    return (text.rstrip() + more)[: max(room, 0)]
