"""The talk as a character remembers it: as text, and how it goes back to an earlier point.

Owns what counts as a turn of the talk, and what of a ledger a reader gets to see. It knows no inbox
and no cache.

    turn    3         4             5         6         7 (open)
            evicted   a fact        spoken    spoken    events since
                      that was pinned
    rewind {turns: 2} forgets                 5, 6, 7; {turns: 3} also 3 and with it the fact 4
"""

from collections.abc import Sequence

from npc_engine import protocol as m
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.paragraphs import USER
from npc_engine.errors import BadMessage, TooLarge, UnknownTarget
from npc_engine.kvcache.ledger import Kind, Segment

__all__ = ["rewind", "transcript"]


def rewind(dialogue: Dialogue, request: m.Rewind) -> m.Rewound:
    """Forget the last turns. Raises BadMessage, UnknownTarget."""
    if (request.turns is None) == (request.to_turn is None):
        raise BadMessage(
            "A rewind has `turns` or a `to_turn`.",
            "Give one of them: how many turns to forget, or the `turn` of the last one to keep.",
        )
    if request.turns is not None:
        first = _first_of_last(dialogue, request.turns)
    else:
        first = _behind(dialogue, request.to_turn or 0)
    spoken = _spoken(dialogue)
    dialogue.rewind(first)
    n_forgotten = sum(turn >= first for turn in spoken)
    return m.Rewound(id=request.id, npc=dialogue.name, turn=first - 1, n_forgotten=n_forgotten)


def _behind(dialogue: Dialogue, turn: int) -> int:
    if turn >= dialogue.turn:
        raise UnknownTarget(
            f"Turn {turn} of {dialogue.name!r} is not over.",
            f"Its last one is {dialogue.turn - 1}." if dialogue.turn > 1 else "It has none yet.",
        )
    return turn + 1


def _first_of_last(dialogue: Dialogue, n: int) -> int:
    """Return the number of the first of the last `n` turns in which something was said to it.

    A fact that was pinned is a turn by itself and does not count, nor does a greeting; one that has
    left counts, since it is mostly talk that leaves. When there are fewer: that of the first.
    """
    told = {s.turn for s in dialogue.ledger.segments if 0 < s.turn < dialogue.turn}
    if dialogue.card.greeting(user=USER):
        told.add(1)
    told -= _spoken(dialogue)
    first = dialogue.turn - n
    for turn in sorted(told, reverse=True):
        first -= turn >= first
    if first < 1:
        first = 1
        while first in told:
            first += 1
    return first


def _spoken(dialogue: Dialogue) -> set[int]:
    """The turns that are over, are in its window, and in which something was said to it."""
    segments = dialogue.ledger.segments
    return {s.turn for s in segments if s.kind is Kind.SAID and s.turn < dialogue.turn}


def transcript(dialogue: Dialogue, request: m.Transcript, max_bytes: int) -> m.TranscriptReply:
    """Return what is in its window as text; half-typed words and a line under way are not in it.

    Raises TooLarge for more than `max_bytes` on the wire.
    """
    by_turn: dict[int, list[Segment]] = {}
    for segment in dialogue.ledger.segments:
        if segment.kind is not Kind.PERSONA and segment is not dialogue.open_turn.typed:
            by_turn.setdefault(segment.turn, []).append(segment)
    turns = [_turn(number, segments) for number, segments in by_turn.items()]
    reply = m.TranscriptReply(
        id=request.id,
        npc=dialogue.name,
        turns=[turn for turn in turns if turn.entries][-(request.last or 0) :],
        n_forgotten=dialogue.turn - 1 - len(by_turn.keys() - {dialogue.turn}),
    )
    n_bytes = len(m.pack(reply))
    if n_bytes > max_bytes:
        raise TooLarge(
            f"The transcript of {dialogue.name!r} has {n_bytes} bytes; a message may have "
            f"{max_bytes}.",
            f"Ask for the `last` few of its {len(reply.turns)} turns.",
        )
    return reply


def _turn(number: int, segments: Sequence[Segment]) -> m.TranscriptTurn:
    entries = [_entry(s) for s in segments if s.text and s.kind in _SEEN]
    return m.TranscriptTurn(turn=number, pinned=segments[0].pinned, entries=entries)


_SEEN = (Kind.EVENT, Kind.SAID, Kind.REPLY)


def _entry(segment: Segment) -> m.TranscriptEntry:
    text = segment.text.strip()
    if segment.kind is Kind.REPLY:
        return m.TranscriptEntry(kind="reply", text=text)
    is_event = text.startswith("*") and (segment.kind is Kind.EVENT or not segment.speaker)
    if is_event:
        return m.TranscriptEntry(kind="event", text=_unmarked(text))
    if segment.kind is Kind.SAID:
        words = text if segment.speaker == USER else text.removeprefix(f"{segment.speaker}: ")
        return m.TranscriptEntry(kind="said", text=words, speaker=segment.speaker or None)
    speaker, colon, words = text.partition(": ")  # as `overheard` writes it
    if not colon:
        return m.TranscriptEntry(kind="heard", text=text)
    return m.TranscriptEntry(kind="heard", text=words, speaker=speaker)


def _unmarked(text: str) -> str:
    """An event without the asterisks that make it one, where they are around all of it."""
    inner = text[1:-1].strip()
    return inner if text.endswith("*") and inner and "*" not in inner else text
