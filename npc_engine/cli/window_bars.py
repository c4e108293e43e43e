"""A character's window as three bars, drawn to scale.

    cells      #####################====----====---~~~.................   the window
    positions  ######___________________________==--==-~              where the tokens stand
    limit      ============--------------------------------|-----------   what the model can do

Owns the scale, the glyphs and the captions. It knows the record of the `window` answer, and no
colour: a piece of a row has a style by name.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from typing import NamedTuple

from npc_engine.protocol import WindowReply, WindowSegment

__all__ = ["FANCY", "PLAIN", "Glyphs", "Part", "Row", "draw_bars", "glyphs_for", "parts_of"]

Row = list[tuple[str, str]]
"""Pieces of one row, each (style, text). A style is a field of Glyphs, `head`, `note` or ""."""

LABEL = 11  # columns before a bar


class Glyphs(NamedTuple):
    """What the picture is drawn with. All take one column, but for the last three."""

    persona: str
    pin: str
    even: str
    odd: str
    open: str
    pending: str
    free: str
    hole: str
    used: str
    unused: str
    mark: str
    dot: str
    answer: str
    more: str


FANCY = Glyphs(
    persona="█",
    pin="◆",
    even="▓",
    odd="▒",
    open="░",
    pending=":",
    free="·",
    hole="▁",
    used="━",
    unused="─",
    mark="┃",
    dot=" · ",
    answer=" → ",
    more="…",
)
PLAIN = Glyphs(
    persona="#",
    pin="*",
    even="=",
    odd="-",
    open="~",
    pending=":",
    free=".",
    hole="_",
    used="=",
    unused="-",
    mark="|",
    dot=" | ",
    answer=" > ",
    more="...",
)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Return the glyphs that text of this encoding can have."""
    try:
        "".join(FANCY).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return FANCY


@dataclass(frozen=True)
class Part:
    """The persona, or what there is of one turn. `style` is also the name of its glyph."""

    style: str
    turn: int
    segments: Sequence[WindowSegment]

    @property
    def n_tokens(self) -> int:
        """Tokens that it takes of the window."""
        return sum(s.n_tokens for s in self.segments)

    @property
    def n_pending(self) -> int:
        """Of these, tokens that are not in the cache yet."""
        return sum(s.n_tokens - s.n_cached for s in self.segments)


def parts_of(window: WindowReply) -> list[Part]:
    """Return the parts of a window in their order, turns shaded alternately."""

    def owner(segment: WindowSegment) -> tuple[bool, int]:
        return segment.kind == "persona", segment.turn

    parts = []
    shades = cycle(("even", "odd"))
    for (is_persona, turn), group in groupby(window.segments, owner):
        run = list(group)
        if is_persona:
            style = "persona"
        elif any(s.pinned for s in run):
            style = "pin"
        else:
            style = "open" if turn == window.turn else next(shades)
        parts.append(Part(style, turn, run))
    return parts


def draw_bars(
    window: WindowReply, parts: Sequence[Part], width: int, glyphs: Glyphs
) -> Iterator[Row]:
    """Give the three bars, `width` columns wide with their labels, and a caption to each."""
    bars = _Bars(window, parts, width - LABEL, glyphs)
    for label, bar, caption in (
        ("cells", bars.cells(), bars.about_cells()),
        ("positions", bars.positions(), bars.about_positions()),
        ("limit", bars.limit(), bars.about_limit()),
    ):
        runs = groupby(bar, key=lambda piece: piece[0])
        pieces = [(style, "".join(glyph for _, glyph in run)) for style, run in runs]
        yield [("note", label.ljust(LABEL)), *pieces]
        for row in textwrap.wrap(caption, width - LABEL):
            yield [("note", " " * LABEL + row)]


class _Bars:
    """One window, its bars `n` columns wide. Each column shows what its middle falls into."""

    def __init__(self, window: WindowReply, parts: Sequence[Part], n: int, glyphs: Glyphs) -> None:
        self.window = window
        self.parts = parts
        self.n = n
        self.glyphs = glyphs

    def cells(self) -> Row:
        """The window: what is in it stands end to end."""
        w = self.window
        runs, at = [], 0
        for part in self.parts:
            runs.append((at, at + part.n_tokens, part.style))
            at += part.n_tokens
        row = self._bar(runs, w.n_window, "free")
        for column, (style, _) in enumerate(row):
            if style != "free" and self._middle(column, w.n_window) >= w.n_cells:
                row[column] = (style, self.glyphs.pending)
        return row

    def about_cells(self) -> str:
        """How full it is, and what happens then."""
        w = self.window
        n = w.n_tokens - w.n_cells
        unread = f", {n:,} not read yet ({self.glyphs.pending})" if n else ""
        leave = "When it is full, old turns leave, whole."
        return f"{w.n_tokens:,} of {w.n_window:,} tokens{unread}. {leave}"

    def positions(self) -> Row:
        """Positions from 0 to the last one used; those without a cell are holes."""
        runs = [
            (s.start, s.start + s.n_cached, part.style)
            for part in self.parts
            for s in part.segments
            if s.start is not None
        ]
        return self._bar(runs, self.window.next_pos, "hole") if runs else []

    def about_positions(self) -> str:
        """How many are holes."""
        w = self.window
        n = w.next_pos - w.n_cells
        if not w.n_cells:
            return "Nothing is in the cache yet."
        if not n:
            return f"{w.next_pos:,} positions, each with its cell."
        hole = self.glyphs.hole
        return f"{n:,} of {w.next_pos:,} positions are holes now ({hole}): no cells, no time."

    def limit(self) -> Row:
        """All positions of the model, and how many are used."""
        w, glyphs = self.window, self.glyphs
        row: Row = [
            ("used", glyphs.used)
            if self._middle(column, w.n_pos) < w.next_pos
            else ("unused", glyphs.unused)
            for column in range(self.n)
        ]
        row[self._column(w.renumber_at, w.n_pos)] = ("mark", glyphs.mark)
        return row

    def about_limit(self) -> str:
        """How near it is, and what happens before it is reached."""
        w = self.window
        times = "once" if w.n_renumbered == 1 else f"{w.n_renumbered:,} times"
        return (
            f"{w.next_pos:,} of {w.n_pos:,} positions ({w.next_pos / w.n_pos:.0%}). "
            f"From {self.glyphs.mark} {w.renumber_at:,} on a pause closes holes"
            f"{f' (so far {times})' if w.n_renumbered else ''}."
        )

    def _bar(self, runs: Sequence[tuple[int, int, str]], total: int, empty: str) -> Row:
        """Return the bar of runs [first, last). A pin is small: its column shows it in any case."""
        row = []
        for column in range(self.n):
            middle = self._middle(column, total)
            half = total / self.n / 2
            near = [run for run in runs if run[0] < middle + half and run[1] > middle - half]
            styles = [s for _, _, s in near if s == "pin"]
            styles += [s for first, last, s in near if first <= middle < last]
            style = (styles or [empty])[0]
            row.append((style, str(getattr(self.glyphs, style))))
        return row

    def _middle(self, column: int, total: int) -> float:
        return (column + 0.5) * total / self.n

    def _column(self, value: int, total: int) -> int:
        return min(value * self.n // total, self.n - 1)
