"""What is in saves as people read it: conversations, fit for any terminal.

Owns the words. Everything in a file may be a stranger's: `plain` makes it fit for a terminal.
"""

from collections.abc import Iterator

from npc_engine.cards.card import Card
from npc_engine.kvcache.ledger import Kind
from npc_engine.saving.records import SavedNpc, SavedSegment
from npc_engine.text.visible import plain

__all__ = ["name_of", "words"]

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


def _head(segment: SavedSegment, is_open: bool) -> str:
    notes = ["pinned"] if segment.pinned else ["not answered yet"] if is_open else []
    return f"turn {segment.turn}" + "".join(f" ({note})" for note in notes)


def _rows(mark: str, text: str) -> Iterator[str]:
    first, *rest = text.strip().splitlines()
    yield f"  {mark}{plain(first)}"
    for row in rest:
        yield f"  {' ' * len(mark)}{plain(row)}"
