"""Whether a saved window is in the markup that this engine's chat template writes.

Owns that comparison alone. A fine-tune may have the vocabulary of the model that made a save and
another template: in one window with both markups it would know neither.
"""

from collections.abc import Mapping
from typing import Any

from npc_engine.kvcache.ledger import Kind
from npc_engine.saving.records import parse
from npc_engine.text.chat_format import ChatFormat

__all__ = ["is_in_markup_of"]


def is_in_markup_of(
    chat_format: ChatFormat, header: Mapping[str, Any], state: dict[str, Any]
) -> bool:
    """Compare a save, whose tokens are of the same vocabulary. Raises SnapshotError."""
    known = header.get("markup")
    if known is not None:
        return bool(known == chat_format.markup)
    # Before 1.2 nothing says which it was: see what stands around the turns. What a reply among
    # others begins with stands behind a CLOSE.
    pieces = {Kind.OPEN: chat_format.open, Kind.CLOSE: chat_format.close, Kind.END: chat_format.end}
    return all(
        s.tokens[: len(piece)] == piece
        for s in parse(state).segments
        if (piece := pieces.get(Kind(s.kind))) is not None
    )
