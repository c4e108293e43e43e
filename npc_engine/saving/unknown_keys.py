"""What a newer minor version of the save format has added: kept unread, and saved again.

Owns what of a header is known here, and how much of the rest a character may carry: far less than
the limits of a file, so that whoever was loaded can be saved. It knows no file and no checksum.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any

from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.kvcache.ledger import Segment

__all__ = ["HEADER_KEYS", "keep_header", "keep_unknown", "unknown"]

log = logging.getLogger("npc_engine")

HEADER_KEYS = (
    *("format", "npc", "snapshot", "engine", "llama", "fingerprint", "vocab", "markup", "layout"),
    "loras",
)
"""The keys of a header that belong to this version: whoever saves writes them anew."""

# Bytes of memory.
OBJECT_COST = 100
MAX_COST = 1 << 20
MAX_HEADER_COST = 1 << 16


def unknown(record: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return what is in a record beside the keys that are known."""
    return {key: value for key, value in record.items() if key not in known}


def keep_header(dialogue: Dialogue, header: Mapping[str, Any]) -> None:
    """Keep what of the header of a character's file is not known here."""
    extra = unknown(header, HEADER_KEYS)
    dialogue.extra_header = extra if _is_small(dialogue.name, extra, MAX_HEADER_COST) else {}


def keep_unknown(
    dialogue: Dialogue,
    extra: dict[str, Any],
    segments: Iterable[tuple[Segment | None, dict[str, Any]]],
) -> None:
    """Keep what of a state, and of each segment, is not known here; nothing when it is too much."""
    extras = [(segment, more) for segment, more in segments if segment is not None and more]
    if _is_small(dialogue.name, [extra, *(more for _, more in extras)], MAX_COST):
        dialogue.extra = extra
        for segment, more in extras:
            segment.extra = more


def _is_small(name: str, extra: Any, max_cost: int) -> bool:
    if _cost(extra, max_cost) <= max_cost:
        return True
    log.warning("%r: what a newer version has saved with it is too much to be kept.", name)
    return False


def _cost(value: Any, enough: int) -> int:
    """Reckon what a record takes in memory, about; looks no further when it is `enough`."""
    cost, todo = 0, [value]
    while todo and cost <= enough:
        value = todo.pop()
        cost += OBJECT_COST
        if isinstance(value, str | bytes):
            cost += len(value) * (1 if isinstance(value, bytes) or value.isascii() else 4)
        elif isinstance(value, dict | list):
            cost += len(value) * OBJECT_COST
            if cost <= enough:
                todo += chain(value, value.values()) if isinstance(value, dict) else value
    return cost
