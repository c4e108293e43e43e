"""A character to and from plain records: what a snapshot's state holds.

Owns which part of a character is saved, and the checks that a saved one must pass before it lives
again. Tokens are authoritative: the KV cache is only taken over where it fits them exactly. With
another vocabulary, everything is told anew from the texts. It knows no file and no checksum.

Keys that only a newer minor version knows stay with the character and its segments, unread, and are
saved again.
"""

import logging
from collections.abc import Sequence as Seq
from itertools import chain, repeat
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from npc_engine.card import Card
from npc_engine.config import Sampling
from npc_engine.errors import CardError, ConfigError, SnapshotError
from npc_engine.ledger import Kind, Ledger, Range, Segment
from npc_engine.newer import keep_unknown, unknown
from npc_engine.npc import Npc, most_pinned
from npc_engine.pins import release
from npc_engine.sequence import Cache, Sequence
from npc_engine.voice import Voice, clean

__all__ = ["freeze", "retell", "thaw"]

log = logging.getLogger("npc_engine")

MAX_TOKENS = 1 << 24
MAX_COUNT = 1 << 53
MAX_POS = (1 << 31) - 1  # llama.h: llama_pos is an int32_t; a recurrent state counts far
MAX_MARKUP = 64  # tokens that open a turn; byte vocabularies take many

Importance = Annotated[float, Meta(ge=0, le=1)]  # as `event` takes it
Left = Annotated[float, Meta(ge=0)] | None
"""Seconds after which an event no longer matters; they do not pass while it is saved."""


class SavedSegment(Struct, kw_only=True, omit_defaults=True):
    """One segment. `start` and `n_cached` say where its cells are in the payload.

    Since 1.1: `speaker`, where that is known, and `expires_s` of an event in the open turn.
    """

    kind: Kind
    tokens: list[int]
    text: str
    turn: int
    pinned: bool
    importance: Importance
    start: int
    n_cached: int
    speaker: str = ""
    expires_s: Left = None


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


def freeze(
    npc: Npc, events: Seq[tuple[str, float, float | None]], heard: Seq[str] = (), *, now: float
) -> dict[str, Any]:
    """Return a character's state, as at the end of its last turn; `Sequence.payload` goes with it.

    `events`: (text, importance, seconds left) of those that wait to be perceived; `heard`: lines of
    others that wait, too; `now`: the engine's clock. A line being spoken, and what the player said
    to cause it, is left out: it will be as if not yet said.
    """
    stable = npc.settled()
    tail = Ledger(0, 0, segments=stable).next_pos
    holes = [*npc.sequence.holes, (tail, -1)]
    state = SavedNpc(
        card=npc.card.to_map(),
        sampling=msgspec.to_builtins(npc.sampling),
        window=npc.ledger.window,
        turn=npc.turn,
        joined=npc.ledger.joined,
        n_evicted=npc.ledger.n_evicted,
        n_renumbered=npc.ledger.n_renumbered,
        segments=[_saved(s, now, is_open=s.turn == npc.turn) for s in stable],
        holes=holes,
        events=[(text, importance) for text, importance, _ in events],
        events_expire_s=[left for _, _, left in events],
        heard=list(heard),
        look_interval=npc.drift.interval if npc.drift else 0,
        next_look=npc.drift.next_look if npc.drift else 0,
    )
    saved: dict[str, Any] = msgspec.to_builtins(state)
    for segment, record in zip(stable, saved["segments"], strict=True):
        record.update(segment.extra or {})
    return {**npc.extra, **saved}


def _saved(s: Segment, now: float, is_open: bool) -> SavedSegment:
    return SavedSegment(
        # Words of others that it was answering: it has heard them, and not answered yet.
        kind=Kind.EVENT if is_open and s.kind is Kind.SAID else s.kind,
        tokens=list(s.tokens),
        text=s.text,
        turn=s.turn,
        pinned=s.pinned,
        importance=s.importance,
        start=s.start if s.n_cached else 0,
        n_cached=s.n_cached,
        speaker=s.speaker,
        expires_s=max(0.0, s.expires - now) if is_open and s.expires is not None else None,
    )


def thaw(
    name: str,
    state: dict[str, Any],
    voice: Voice,
    cache: Cache,
    *,
    window: int,
    n_pos: int,
    n_vocab: int,
    payload: bytes | None,
    now: float,
) -> Npc:
    """Return the character of a saved state whose tokens are of this model's vocabulary.

    `window`: the engine's, which bounds the saved one. `payload`: the KV bytes, None to read all
    tokens again. `now`: the engine's clock. Raises SnapshotError when the state is no valid
    character.
    """
    saved = _parse(state)
    ledger = Ledger(
        min(saved.window, window),
        n_pos,
        joined=saved.joined,
        n_evicted=saved.n_evicted,
        n_renumbered=saved.n_renumbered,
    )
    for record in saved.segments:
        if record.tokens and not 0 <= min(record.tokens) <= max(record.tokens) < n_vocab:
            raise _invalid("a token that is not in the vocabulary")
        ledger.append(_segment(record, now))
    sequence = Sequence(ledger, cache)
    if payload is not None and _claim_cells(ledger, saved.segments):
        sequence.adopt(payload, [_range(hole) for hole in saved.holes])
    npc = Npc(name, _card(saved), voice, sequence, _sampling(saved), saved.turn)
    if npc.drift is not None and saved.look_interval:
        npc.drift.interval, npc.drift.next_look = saved.look_interval, saved.next_look
    _keep_unknown(npc, state, npc.ledger.segments)
    _fit_pins(npc)
    _hear_again(npc, saved, now)
    return npc


def retell(
    name: str,
    state: dict[str, Any],
    voice: Voice,
    cache: Cache,
    *,
    window: int,
    n_pos: int,
    now: float,
) -> Npc:
    """Return the character of a saved state for a model with another vocabulary, from the texts.

    Raises SnapshotError, and TooLarge when the persona does not fit the window any more.
    """
    saved = _parse(state)
    npc = Npc.create(
        name,
        _card(saved),
        voice,
        cache,
        sampling=_sampling(saved),
        window=min(saved.window, window),
        n_pos=n_pos,
    )
    npc.turn = max(1, min((s.turn for s in saved.segments if not s.pinned), default=1))
    told: list[Segment | None] = []
    for record in saved.segments:
        told.append(None)
        if npc.relive(record.kind, record.text, record.turn, record.importance, record.pinned):
            segment = npc.ledger.segments[-1]
            segment.speaker, segment.expires = record.speaker, _end(record.expires_s, now)
            told[-1] = segment
    npc.turn = saved.turn
    _keep_unknown(npc, state, told)
    _fit_pins(npc)
    _hear_again(npc, saved, now)
    return npc


def _keep_unknown(npc: Npc, state: dict[str, Any], segments: Seq[Segment | None]) -> None:
    keys, of_segments = SavedNpc.__struct_fields__, SavedSegment.__struct_fields__
    of_each = [unknown(record, of_segments) for record in state["segments"]]
    keep_unknown(npc, unknown(state, keys), zip(segments, of_each, strict=True))


def _fit_pins(npc: Npc) -> None:
    """Check what is pinned against a window that may be smaller than it was."""
    released = release(npc)
    if released:
        log.warning("%r has a smaller window: its turns %s are pinned no more.", npc.name, released)
    n_pinned, window = npc.ledger.n_pinned, npc.ledger.window
    most = most_pinned(window, npc.voice)
    if n_pinned > most:
        raise SnapshotError(
            f"The saved {npc.name!r} has {n_pinned} pinned tokens; a window of {window} takes "
            f"{most}.",
            "Start the engine with a larger --window.",
        )


def _end(left: Left, now: float) -> float | None:
    return None if left is None else now + left


def _hear_again(npc: Npc, saved: SavedNpc, now: float) -> None:
    # Only where it must: what is restored has to go on as it would have.
    if npc.ledger.n_tokens > npc.ledger.window or npc.ledger.needs_renumbering(0):
        npc.sequence.make_room(0, npc.turn)
    if npc.ledger.n_tokens > npc.ledger.window:
        raise _invalid(f"{npc.ledger.n_tokens} tokens for a window of {npc.ledger.window}")
    seconds = chain(saved.events_expire_s, repeat(None))  # before 1.1 there are none
    for (text, importance), left in zip(saved.events, seconds, strict=False):
        npc.perceive(text, importance, _end(left, now))
    for line in saved.heard:
        npc.add_heard(clean(line), 0)


def _parse(state: dict[str, Any]) -> SavedNpc:
    try:
        saved = msgspec.convert(state, SavedNpc)
    except (msgspec.ValidationError, ValueError, RecursionError, OverflowError) as error:
        raise _invalid(str(error)) from None
    _check_counts(saved)
    _check_order(saved)
    return saved


def _check_counts(saved: SavedNpc) -> None:
    if not 0 < saved.window <= MAX_TOKENS or not 0 < saved.turn <= MAX_TOKENS:
        raise _invalid("a count out of range")
    counts = (saved.n_evicted, saved.n_renumbered, saved.look_interval, saved.next_look)
    if not all(0 <= count <= MAX_COUNT for count in counts):
        raise _invalid("a count out of range")
    if len(saved.segments) > 2 * saved.window + MAX_MARKUP:
        raise _invalid(f"{len(saved.segments)} segments for a window of {saved.window}")


def _check_order(saved: SavedNpc) -> None:
    """Persona first and pinned; turns in order; nothing but unpinned events in the open turn."""
    first = saved.segments[0] if saved.segments else None
    if first is None or first.kind is not Kind.PERSONA or not first.pinned:
        raise _invalid("no persona")
    personas = [s.kind is Kind.PERSONA for s in saved.segments]
    if personas != sorted(personas, reverse=True):
        raise _invalid("a persona behind other segments")
    turns = [s.turn for s in saved.segments]
    if turns != sorted(turns) or not 0 <= turns[0] <= turns[-1] <= saved.turn:
        raise _invalid("a turn out of order")
    past = saved.segments[sum(personas) :]
    open_turn = [s for s in past if s.turn == saved.turn]
    if len({(s.turn, s.pinned) for s in past}) > len({s.turn for s in past}):
        raise _invalid("a turn that is pinned in part")
    n_markup = sum(len(s.tokens) for s in open_turn if s.kind is Kind.OPEN)
    if (
        any(s.kind not in (Kind.OPEN, Kind.EVENT) or s.pinned for s in open_turn)
        or n_markup > MAX_MARKUP
    ):
        raise _invalid("a turn that is half done")


def _invalid(why: str) -> SnapshotError:
    return SnapshotError(
        f"The save holds no valid character: {why}.", "Load another save; this one is damaged."
    )


def _segment(record: SavedSegment, now: float) -> Segment:
    return Segment(
        record.kind,
        record.tokens,
        record.text,
        record.turn,
        record.pinned,
        record.importance,
        _end(record.expires_s, now),
        speaker=record.speaker,
    )


def _claim_cells(ledger: Ledger, records: list[SavedSegment]) -> bool:
    """Mark as cached what the save says is; False when that breaks the ledger's rules 1 to 3."""
    position = 0
    complete = True
    for record in records:
        if not 0 <= record.n_cached <= len(record.tokens):
            return False
        if record.n_cached:
            if not complete or not position <= record.start < ledger.n_pos:
                return False
            position = record.start + record.n_cached
        if record.tokens:
            complete = record.n_cached == len(record.tokens)
    if position > ledger.n_pos:
        return False
    for segment, record in zip(ledger.segments, records, strict=True):
        segment.start, segment.n_cached = record.start, record.n_cached
        ledger.n_cells += record.n_cached
    return True


def _range(hole: tuple[int, int]) -> Range:
    first, last = hole
    if not 0 <= first <= MAX_POS or not (last == -1 or first <= last <= MAX_POS):
        raise _invalid(f"a hole at {hole!r}")
    return first, last


def _card(saved: SavedNpc) -> Card:
    try:
        return Card.from_map(saved.card)
    except CardError as error:
        raise _invalid(error.message) from None


def _sampling(saved: SavedNpc) -> Sampling:
    try:
        return Sampling.parse(saved.sampling)
    except ConfigError as error:
        raise _invalid(error.message) from None
