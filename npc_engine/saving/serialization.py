"""A character as a snapshot's state holds it (`records`).

Owns which part of a character is saved: between two turns, without a line that it speaks. What is
to be taken back is left out from the moment at which that was decided, though that is
carried out at the end of the line. It knows no file and no checksum. The way back is
`restore.reviving`.

Keys that only a newer minor version knows stay with the character and its segments, unread, and are
saved again.
"""

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Seq
from dataclasses import replace
from itertools import accumulate
from typing import Any, TypeVar

import msgspec

from npc_engine.characters.character import Character
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.overheard import Undoing, Unsaid, unhear, unsay
from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.saving.records import MAX_HEARD, SavedNpc, SavedSegment
from npc_engine.storage.msgpack_bounds import text_cost
from npc_engine.text.chat_format import clean

__all__ = ["freeze", "state_of"]

T = TypeVar("T")

# Of all events that wait, and of all lines: a state has room for them.
MOST_CHARS = 1 << 21
MOST_COST = 1 << 22  # bytes
NO_END = 1 << 62  # positions: nothing is read from what is `_without`, so they do not run out


def state_of(character: Character, now: float) -> dict[str, Any]:
    """Return what a save holds of a character, with what waits in its inbox."""
    dialogue, inbox = character.dialogue, character.inbox
    lines = inbox.lines(dialogue.utterances)
    return freeze(dialogue, inbox.events(now), lines, inbox.undoing, now=now)


def freeze(
    dialogue: Dialogue,
    events: Seq[tuple[str, float, float | None]],
    heard: Seq[str] = (),
    undoing: Seq[Undoing] = (),
    *,
    now: float,
) -> dict[str, Any]:
    """Return a character's state, as at the end of its last turn; `Sequence.payload` goes with it.

    `events`: (text, importance, seconds left) of those that wait to be perceived; `heard`: lines of
    others that wait, too; `undoing`: what is to be taken back, and waits for the end of a line;
    `now`: the engine's clock. A line being spoken, and what the player said to cause it, is left
    out: it will be as if not yet said.
    """
    events = [(clean(text), importance, left) for text, importance, left in events]
    events = _newest(events, lambda event: event[0], len(events))
    stable = dialogue.settled()
    tail = Ledger(0, 0, segments=stable).next_pos
    holes = [*dialogue.sequence.holes, (tail, -1)]
    turn = dialogue.turn
    if undoing:
        undone = _without(dialogue, undoing)
        stable, turn = undone.ledger.segments, undone.turn
        holes = [*undone.sequence.holes, *holes]
    state = SavedNpc(
        card={},
        sampling=msgspec.to_builtins(dialogue.sampling),
        window=dialogue.ledger.window,
        turn=turn,
        joined=dialogue.ledger.joined,
        n_evicted=dialogue.ledger.n_evicted,
        n_renumbered=dialogue.ledger.n_renumbered,
        segments=[_saved(s, now, is_open=s.turn == turn) for s in stable],
        holes=holes,
        events=[(text, importance) for text, importance, _ in events],
        events_expire_s=[left for _, _, left in events],
        heard=_newest(heard, lambda line: line, MAX_HEARD),
        look_interval=dialogue.drift.interval if dialogue.drift else 0,
        next_look=dialogue.drift.next_look if dialogue.drift else 0,
    )
    saved: dict[str, Any] = msgspec.to_builtins(state)
    saved["card"] = (
        dialogue.card.saved
    )  # as it is: a lorebook takes longer to copy than all the rest
    for segment, record in zip(stable, saved["segments"], strict=True):
        record.update(segment.extra or {})
    return {**dialogue.extra, **saved}


def _newest(waiting: Seq[T], text_of: Callable[[T], str], most: int) -> list[T]:
    """Return as many of the newest as a load takes: what waits must not make a save fail."""
    texts = [text_of(one) for one in reversed(waiting)]
    sums = zip(accumulate(map(len, texts)), accumulate(map(text_cost, texts)), strict=True)
    n = sum(1 for n_chars, cost in sums if n_chars <= MOST_CHARS and cost <= MOST_COST)
    return list(waiting[len(waiting) - min(n, most) :])


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
        cut_off=s.cut_off,
        expires_s=max(0.0, s.expires - now) if is_open and s.expires is not None else None,
    )


def _without(dialogue: Dialogue, undoing: Iterable[Undoing]) -> Dialogue:
    """Return a copy without the line that it speaks, and without what is to be taken back.

    It has no slot. `sequence.holes` are cells of the true one that it has no more.
    """
    ledger = Ledger(dialogue.ledger.window, NO_END, joined=dialogue.ledger.joined)
    for segment in dialogue.settled():
        copy = replace(segment, tokens=list(segment.tokens))
        if copy.turn == dialogue.turn and copy.kind is Kind.SAID:  # heard, and not answered yet
            copy.kind = Kind.EVENT
        ledger.append(copy)
        copy.n_cached = segment.n_cached
        ledger.n_cells += copy.n_cached
    undone = Dialogue(
        dialogue.name,
        dialogue.card,
        dialogue.chat_format,
        dialogue.sequence.beside(ledger),
        dialogue.sampling,
        dialogue.turn,
    )
    for one in undoing:
        if isinstance(one, Unsaid):
            unsay(undone, one)
        else:
            unhear(undone, one.utterance, one.speaker, one.text)
    return undone
