"""What is in saves as people read it: conversations, sizes, counts; fit for any terminal.

Owns the words. Everything in a file may be a stranger's: `plain` makes it fit for a terminal.
"""

import sys
from collections.abc import Iterator

from npc_engine.cards.card import Card
from npc_engine.kvcache.ledger import Kind
from npc_engine.saving.records import SavedNpc, SavedSegment

__all__ = ["counted", "name_of", "plain", "size", "words", "write"]

MARKS = {Kind.SAID: "> ", Kind.EVENT: "* ", Kind.NOTE: "# "}


def name_of(saved: SavedNpc) -> str:
    """Return what a character is called."""
    return plain(Card.from_map(saved.card).char)


def words(saved: SavedNpc) -> Iterator[str]:
    """Yield the conversation that is in the window, row by row."""
    name = name_of(saved)
    turn = None
    for segment in saved.segments:
        if segment.kind is Kind.PERSONA or not segment.text.strip():
            continue
        if segment.turn != turn:
            turn = segment.turn
            yield _head(segment, is_open=turn == saved.turn)
        mark = MARKS.get(Kind(segment.kind), f"{name}: " if segment.kind is Kind.REPLY else "  ")
        yield from _rows(mark, segment.text)
    waiting = [*(event[0] for event in saved.events), *saved.heard]
    if waiting:
        yield "not read yet"
        for text in waiting:
            yield from _rows("* ", text)


def plain(text: str) -> str:
    """Return a text without what could move a terminal's cursor or turn its letters round."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def counted(n: int, what: str) -> str:
    """Return `1 file`, `2 files`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def size(n_bytes: int) -> str:
    """Return a number of bytes as people read it."""
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    units = ("kB", "MB", "GB", "TB")
    value, i = n_bytes / 1000, 0
    while value >= 999.5 and i < len(units) - 1:
        value, i = value / 1000, i + 1
    unit = units[i]
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def write(text: str) -> None:
    """Write a row to stdout, whatever letters its encoding lacks."""
    if sys.stdout is None:  # closed, or a program with windows and no console
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def _head(segment: SavedSegment, is_open: bool) -> str:
    notes = ["pinned"] if segment.pinned else ["not answered yet"] if is_open else []
    return f"turn {segment.turn}" + "".join(f" ({note})" for note in notes)


def _rows(mark: str, text: str) -> Iterator[str]:
    first, *rest = text.strip().splitlines()
    yield f"  {mark}{plain(first)}"
    for row in rest:
        yield f"  {' ' * len(mark)}{plain(row)}"
