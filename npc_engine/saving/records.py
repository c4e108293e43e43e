"""What a snapshot's state holds of a character, as records, and what must hold of these.

Owns the fields and their limits. Whatever stands in a file: it is a character whose life can go on,
or a SnapshotError that says why not. What a newer minor version has added is kept unread and saved
again, but far less of it than a file may have, so that whoever was loaded can be saved. It knows no
model, no cache and no checksum.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from npc_engine.cards.card import Card
from npc_engine.config import Sampling
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.errors import CardError, ConfigError, SnapshotError
from npc_engine.kvcache.ledger import Kind, Range, Segment

__all__ = [
    "HEADER_KEYS",
    "MAX_HEARD",
    "Importance",
    "Left",
    "SavedNpc",
    "SavedSegment",
    "card_of",
    "hole",
    "invalid",
    "keep_header",
    "keep_unknown",
    "parse",
    "sampling_of",
    "unknown",
]

log = logging.getLogger("npc_engine")

MAX_TOKENS = 1 << 24
MAX_COUNT = 1 << 53
MAX_POS = (1 << 31) - 1  # llama.h: llama_pos is an int32_t; a recurrent state counts far
MAX_KIND = 16
MAX_WHY = 300  # characters
MAX_SEGMENTS = 6  # for each token: a turn of one word, where the template has no markup
MAX_MARKUP = 64  # tokens that open a turn; byte vocabularies take many
MAX_HEARD = 256  # lines of others that had not come in; of more, the newest

HEADER_KEYS = (
    *("format", "npc", "snapshot", "engine", "llama", "fingerprint", "vocab", "markup", "layout"),
    "loras",
)
"""The keys of a header that belong to this version: whoever saves writes them anew."""

# Bytes of memory.
OBJECT_COST = 100
MAX_COST = 1 << 20
MAX_HEADER_COST = 1 << 16

Importance = Annotated[float, Meta(ge=0, le=1)]  # as `event` takes it
Left = Annotated[float, Meta(ge=0)] | None
"""Seconds after which an event no longer matters; they do not pass while it is saved."""


class SavedSegment(Struct, kw_only=True, omit_defaults=True):
    """One segment. `start` and `n_cached` say where its cells are in the payload.

    Since 1.1: `speaker`, where that is known, and `expires_s` of an event in the open turn. Since
    1.2: `cut_off`, of a reply that was interrupted.
    """

    kind: Annotated[str, Meta(max_length=MAX_KIND)]  # a Kind; an error quotes a wrong one
    tokens: list[int]
    text: str
    turn: int
    pinned: bool
    importance: Importance
    start: int
    n_cached: int
    speaker: str = ""
    expires_s: Left = None
    cut_off: bool = False

    def __post_init__(self) -> None:
        self.kind = Kind(self.kind)


class SavedNpc(Struct, kw_only=True):
    """One character between two turns. `events_expire_s` (since 1.1) goes with `events`."""

    card: dict[str, Any]
    sampling: dict[str, Any]
    window: int
    turn: int
    joined: bool
    n_evicted: int
    n_renumbered: int
    segments: list[SavedSegment]
    holes: list[tuple[int, int]]
    events: list[tuple[str, Importance]]
    events_expire_s: list[Left] = []
    heard: list[str] = []
    look_interval: int = 0
    next_look: int = 0


def parse(state: dict[str, Any]) -> SavedNpc:
    """Return the records of a state; raises SnapshotError."""
    try:
        saved = msgspec.convert(state, SavedNpc)
    except (msgspec.ValidationError, ValueError, RecursionError, OverflowError) as error:
        raise invalid(str(error)) from None
    _check_counts(saved)
    _check_order(saved)
    return saved


def _check_counts(saved: SavedNpc) -> None:
    if not 0 < saved.window <= MAX_TOKENS or not 0 < saved.turn <= MAX_TOKENS:
        raise invalid("a count out of range")
    counts = (saved.n_evicted, saved.n_renumbered, saved.look_interval, saved.next_look)
    if not all(0 <= count <= MAX_COUNT for count in counts):
        raise invalid("a count out of range")
    # Beside each that has tokens there may be some that have none, as an empty reply.
    n_tokens = sum(len(s.tokens) for s in saved.segments)
    if len(saved.segments) > min(2 * saved.window, MAX_SEGMENTS * n_tokens) + MAX_MARKUP:
        raise invalid(f"{len(saved.segments)} segments of {n_tokens} tokens")


def _check_order(saved: SavedNpc) -> None:
    """Persona first and pinned; turns in order; nothing but unpinned events in the open turn."""
    first = saved.segments[0] if saved.segments else None
    if first is None or first.kind is not Kind.PERSONA or not first.pinned:
        raise invalid("no persona")
    personas = [s.kind is Kind.PERSONA for s in saved.segments]
    if personas != sorted(personas, reverse=True):
        raise invalid("a persona behind other segments")
    turns = [s.turn for s in saved.segments]
    if turns != sorted(turns) or not 0 <= turns[0] <= turns[-1] <= saved.turn:
        raise invalid("a turn out of order")
    past = saved.segments[sum(personas) :]
    open_turn = [s for s in past if s.turn == saved.turn]
    if len({(s.turn, s.pinned) for s in past}) > len({s.turn for s in past}):
        raise invalid("a turn that is pinned in part")
    n_markup = sum(len(s.tokens) for s in open_turn if s.kind is Kind.OPEN)
    if (
        any(s.kind not in (Kind.OPEN, Kind.EVENT) or s.pinned for s in open_turn)
        or n_markup > MAX_MARKUP
    ):
        raise invalid("a turn that is half done")


def invalid(why: str) -> SnapshotError:
    """Return the error for a state that is no character."""
    if len(why) > MAX_WHY:  # it may quote what stood in the file; what is wrong ends with the place
        why = f"{why[: MAX_WHY // 2]} ... {why[-MAX_WHY // 2 :]}"
    return SnapshotError(
        f"The save holds no valid character: {why}.", "Load another save; this one is damaged."
    )


def hole(positions: tuple[int, int]) -> Range:
    """Return a hole as the ledger knows it; raises SnapshotError."""
    first, last = positions
    if not 0 <= first <= MAX_POS or not (last == -1 or first <= last <= MAX_POS):
        raise invalid(f"a hole at {positions!r}")
    return first, last


def card_of(saved: SavedNpc) -> Card:
    """Return the character's card; raises SnapshotError."""
    try:
        return Card.from_map(saved.card)
    except CardError as error:
        raise invalid(error.message) from None


def sampling_of(saved: SavedNpc) -> Sampling:
    """Return how it is sampled; raises SnapshotError."""
    try:
        return Sampling.parse(saved.sampling)
    except ConfigError as error:
        raise invalid(error.message) from None


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
