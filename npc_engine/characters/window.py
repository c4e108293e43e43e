"""What a character's window holds, as records: the answers of `list` and `window`.

Owns which facts of a ledger go to whoever asks, and how much of each text. It knows no picture:
that is `window_picture`.
"""

from npc_engine.characters.character import Character
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.kvcache.ledger import Kind, Segment
from npc_engine.protocol import Event, NpcInfo, Say, State, WindowReply, WindowSegment
from npc_engine.text.chat_format import Vocabulary
from npc_engine.text.visible import on_one_row

__all__ = ["info_of", "window_of"]

MAX_TEXT = 80  # characters of each segment


def info_of(character: Character) -> NpcInfo:
    """Return one character of a `list`: how full its window is."""
    dialogue, ledger = character.dialogue, character.dialogue.ledger
    waiting = character.waiting(Say)
    served = character.generation.request if character.generation else next(iter(waiting), None)
    return NpcInfo(
        npc=dialogue.name,
        name=dialogue.card.char,
        state=_state(dialogue),
        n_tokens=ledger.n_tokens,
        n_pinned=ledger.n_pinned,
        n_window=ledger.window,
        speaking=character.generation is not None,
        priority=served.priority if served else None,
        n_waiting=len(waiting),
        n_events=len(character.waiting(Event)),
        n_pending=dialogue.sequence.n_pending,
        scene=character.audience.name if character.audience else None,
    )


def window_of(character: Character, request_id: str | None = None) -> WindowReply:
    """Return all that a character's window holds, in the order of its segments."""
    dialogue, ledger = character.dialogue, character.dialogue.ledger
    return WindowReply(
        id=request_id,
        npc=dialogue.name,
        state=_state(dialogue),
        speaking=character.generation is not None,
        turn=dialogue.turn,
        n_window=ledger.window,
        n_tokens=ledger.n_tokens,
        n_cells=ledger.n_cells,
        n_pinned=ledger.n_pinned,
        next_pos=ledger.next_pos,
        n_pos=ledger.n_pos,
        renumber_at=ledger.renumber_at,
        n_evicted=ledger.n_evicted,
        n_renumbered=ledger.n_renumbered,
        segments=[_segment(s, dialogue.chat_format.vocabulary) for s in ledger.segments],
    )


def _state(dialogue: Dialogue) -> State:
    copy = dialogue.sequence.copy
    if dialogue.sequence.slot is not None:
        return "resident"
    return "frozen" if copy is not None and copy.n_disk_bytes else "parked"


def _segment(segment: Segment, vocabulary: Vocabulary) -> WindowSegment:
    return WindowSegment(
        kind=segment.kind.value,
        turn=segment.turn,
        start=segment.start if segment.n_cached else None,
        n_tokens=len(segment.tokens),
        n_cached=segment.n_cached,
        pinned=segment.pinned,
        importance=segment.importance,
        text=_beginning(segment, vocabulary),
    )


def _beginning(segment: Segment, vocabulary: Vocabulary) -> str:
    """The first words on one line, without what could steer a terminal."""
    text = segment.text[: 4 * MAX_TEXT]
    if not text and segment.kind is Kind.REPLY:  # under way: it gets its text at its end
        pieces = map(vocabulary.piece, segment.tokens[:MAX_TEXT])
        text = b"".join(pieces).decode("utf-8", "ignore")
    return on_one_row(text)[:MAX_TEXT].rstrip()
