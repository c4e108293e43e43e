"""A saved character lives again.

Owns how. Tokens are authoritative: the KV cache is only taken over where it fits them exactly. With
another vocabulary or another chat template, everything is told anew from the texts. It knows no
file and no checksum. The way there is `serialization`.
"""

import logging
from collections.abc import Sequence as Seq
from itertools import chain, repeat
from typing import Any

from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.open_turn import BEFORE
from npc_engine.dialogue.persona import most_pinned
from npc_engine.dialogue.pins import release
from npc_engine.errors import SnapshotError
from npc_engine.kvcache.cache import Cache
from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.kvcache.sequence import Sequence
from npc_engine.saving.records import (
    MAX_HEARD,
    Left,
    SavedNpc,
    SavedSegment,
    card_of,
    hole,
    invalid,
    keep_unknown,
    parse,
    sampling_of,
    unknown,
)
from npc_engine.text.chat_format import ChatFormat, clean

__all__ = ["n_cells_of", "retell", "thaw"]

log = logging.getLogger("npc_engine")

MAX_TEXT = 1 << 20  # characters of one text; more than any window holds
MAX_WAITING = 1024  # events that a load looks at, where fewer may be: important ones stay longer


def n_cells_of(state: dict[str, Any]) -> int:
    """Return how many cells go into a slot with the payload of a state, those that leave included.

    A reply that was being spoken is not counted: nobody knows how far it was. Raises SnapshotError.
    """
    saved = parse(state)
    holes = [hole(positions) for positions in saved.holes]
    n_cached = sum(max(0, segment.n_cached) for segment in saved.segments)
    return n_cached + sum(max(0, last - first) for first, last in holes)


def thaw(
    name: str,
    state: dict[str, Any],
    chat_format: ChatFormat,
    cache: Cache,
    *,
    wanted: int | None = None,
    window: int,
    n_pos: int,
    n_vocab: int,
    most_events: int,
    payload: bytes | None,
    now: float,
) -> Dialogue:
    """Return the character of a saved state whose tokens are of this model's vocabulary.

    `wanted`: its window where that is not to be the saved one; `window`: the engine's, which bounds
    it. `payload`: the KV bytes, None to read all tokens again. `most_events`: unread ones that it
    may have here. `now`: the engine's clock. Raises SnapshotError when the state is no valid
    character.
    """
    saved = parse(state)
    ledger = Ledger(
        min(wanted or saved.window, window),
        n_pos,
        joined=saved.joined,
        n_evicted=saved.n_evicted,
        n_renumbered=saved.n_renumbered,
    )
    for record in saved.segments:
        if record.tokens and not 0 <= min(record.tokens) <= max(record.tokens) < n_vocab:
            raise invalid("a token that is not in the vocabulary")
        ledger.append(_segment(record, now))
    sequence = Sequence(ledger, cache)
    if payload is not None and _claim_cells(ledger, saved.segments):
        sequence.adopt(payload, [hole(positions) for positions in saved.holes])
    dialogue = Dialogue(name, card_of(saved), chat_format, sequence, sampling_of(saved), saved.turn)
    if dialogue.drift is not None and saved.look_interval:
        dialogue.drift.interval, dialogue.drift.next_look = saved.look_interval, saved.next_look
    _keep_unknown(dialogue, state, dialogue.ledger.segments)
    _fit_pins(dialogue)
    _hear_again(dialogue, saved, most_events, now)
    return dialogue


def retell(
    name: str,
    state: dict[str, Any],
    chat_format: ChatFormat,
    cache: Cache,
    *,
    wanted: int | None = None,
    window: int,
    n_pos: int,
    most_events: int,
    now: float,
) -> Dialogue:
    """Return the character of a saved state for a model that writes otherwise, from the texts.

    Raises SnapshotError, and TooLarge when the persona does not fit the window any more.
    """
    saved = parse(state)
    dialogue = Dialogue.create(
        name,
        card_of(saved),
        chat_format,
        cache,
        sampling=sampling_of(saved),
        window=min(wanted or saved.window, window),
        n_pos=n_pos,
    )
    dialogue.open_turn.number = max(
        1, min((s.turn for s in saved.segments if not s.pinned), default=1)
    )
    told = _relive(dialogue, saved.segments, now)
    dialogue.open_turn.number = saved.turn
    _keep_unknown(dialogue, state, told)
    _fit_pins(dialogue)
    _hear_again(dialogue, saved, most_events, now)
    return dialogue


def _keep_unknown(dialogue: Dialogue, state: dict[str, Any], segments: Seq[Segment | None]) -> None:
    keys, of_segments = SavedNpc.__struct_fields__, SavedSegment.__struct_fields__
    of_each = [unknown(record, of_segments) for record in state["segments"]]
    keep_unknown(dialogue, unknown(state, keys), zip(segments, of_each, strict=True))


def _relive(dialogue: Dialogue, records: list[SavedSegment], now: float) -> list[Segment | None]:
    """Tell a life anew. What it is too long for leaves seldom, so that a long one takes no longer.

    A turn that is too long by itself is left out. Returns what became of each record.
    """
    window = dialogue.ledger.window
    turn = lost = -1
    told: list[Segment | None] = []
    for record in records:
        told.append(None)
        if record.turn == lost:
            continue
        if record.turn != turn:
            turn = record.turn
            if dialogue.ledger.n_tokens > 2 * window:
                _fit_pins(dialogue)
                dialogue.sequence.make_room(0, turn)
        how = (record.importance, record.pinned, record.cut_off)
        if dialogue.relive(Kind(record.kind), record.text, turn, *how):
            segment = dialogue.ledger.segments[-1]
            segment.speaker, segment.expires = record.speaker, _end(record.expires_s, now)
            segment.utterance = _utterance(record)
            told[-1] = segment
        if dialogue.ledger.n_tokens > 3 * window:
            lost = turn
            gone = [
                s for s in dialogue.ledger.segments if s.turn == lost and s.kind is not Kind.PERSONA
            ]
            dialogue.sequence.drop(gone)
    return told


def _fit_pins(dialogue: Dialogue) -> None:
    """Check what is pinned against a window that may be smaller than it was."""
    released = release(dialogue)
    if released:
        log.warning(
            "%r has a smaller window: its turns %s are pinned no more.", dialogue.name, released
        )
    n_pinned, window = dialogue.ledger.n_pinned, dialogue.ledger.window
    most = most_pinned(window, dialogue.chat_format)
    if n_pinned > most:
        raise SnapshotError(
            f"The saved {dialogue.name!r} has {n_pinned} pinned tokens; a window of {window} takes "
            f"{most}.",
            "Give it a larger `window`, or start the engine with a larger --window.",
        )


def _end(left: Left, now: float) -> float | None:
    return None if left is None else now + left


def _hear_again(dialogue: Dialogue, saved: SavedNpc, most_events: int, now: float) -> None:
    # Only where it must: what is restored has to go on as it would have.
    if dialogue.ledger.n_tokens > dialogue.ledger.window or dialogue.ledger.needs_renumbering(0):
        dialogue.sequence.make_room(0, dialogue.turn)
    if dialogue.ledger.n_tokens > dialogue.ledger.window:
        raise invalid(f"{dialogue.ledger.n_tokens} tokens for a window of {dialogue.ledger.window}")
    seconds = chain(saved.events_expire_s, repeat(None))  # before 1.1 there are none
    waiting = list(zip(saved.events, seconds, strict=False))
    dialogue.open_turn.forget_events(most_events)  # those that stood in its open turn already
    for (text, importance), left in waiting[-max(most_events, MAX_WAITING) :]:
        dialogue.open_turn.perceive(text[:MAX_TEXT], importance, _end(left, now))
        dialogue.open_turn.forget_events(most_events)
    for line in saved.heard[-MAX_HEARD:]:
        dialogue.open_turn.add_heard(clean(line[:MAX_TEXT]), BEFORE)


def _segment(record: SavedSegment, now: float) -> Segment:
    return Segment(
        Kind(record.kind),
        record.tokens,
        record.text[:MAX_TEXT],
        record.turn,
        record.pinned,
        record.importance,
        _end(record.expires_s, now),
        utterance=_utterance(record),
        speaker=record.speaker,
        cut_off=record.cut_off,
    )


def _utterance(record: SavedSegment) -> int:
    """Of what was overheard it is known that it was: it is no event of a flood."""
    return BEFORE if record.kind == Kind.EVENT and record.speaker else 0


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
