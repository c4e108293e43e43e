"""How talk is taken back that has been said, and that nobody heard to its end.

Owns what of a dialogue goes with it, and what keeps its place. How a player goes back to an earlier
point is `history`'s.
"""

from collections.abc import Collection

from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.kvcache.ledger import Kind, Segment

__all__ = ["cut_back", "take_back", "turn_of"]


def cut_back(dialogue: Dialogue, turn: int, text: str, n_bytes: int) -> bool:
    """Cut the reply of the turn that was spoken last to its first `n_bytes` bytes.

    What was heard and pinned since keeps its place behind it. False when it has left, or when
    something was said since.
    """
    segments = dialogue.ledger.segments
    replies = [i for i, s in enumerate(segments) if s.kind is Kind.REPLY and s.turn == turn]
    since = segments[replies[0] + 1 :] if replies else []
    if not replies or any(s.kind is Kind.SAID and s.turn < dialogue.turn for s in since):
        return False
    typed = dialogue.open_turn.put_typed_aside()
    since = dialogue.ledger.segments[replies[0] + 1 :]
    dialogue.sequence.drop(since)
    dialogue.cut_reply(n_bytes, interrupted=True)
    dialogue.reply.text = text
    for segment in since:
        dialogue.sequence.append(segment)
    dialogue.sequence.make_room(0, dialogue.turn)
    if typed:
        dialogue.open_turn.read_ahead(typed)
    return True


def turn_of(dialogue: Dialogue, utterance: int) -> int:
    """Return the turn whose reply was this utterance, 0 when it has left."""
    replies = (s for s in dialogue.ledger.segments if s.kind is Kind.REPLY)
    return next((s.turn for s in replies if s.utterance == utterance), 0)


def take_back(dialogue: Dialogue, gone: Collection[int]) -> bool:
    """Take back the turns whose replies are in `gone`, and what it heard of that talk.

    What else it heard in these turns stays, in the open one, and so does what was said to it
    since, with its answers. Nothing changes when one of those turns is pinned. Returns whether
    there were any.
    """
    segments = dialogue.ledger.segments
    turns = {s.turn for s in segments if s.kind is Kind.REPLY and s.utterance in gone}
    since = [s for s in segments if s.turn in turns]
    heard = [s for s in segments if s.kind is Kind.EVENT and s.utterance in gone]
    if any(s.pinned for s in since) or not since + heard:
        return False
    typed = dialogue.open_turn.take_typed()
    if turns and all(s.turn in turns for s in _closed_since(dialogue, min(turns))):
        since += dialogue.open_turn.segments  # their numbers are free again
        dialogue.open_turn.number = min(turns)
    dialogue.sequence.drop(since + [s for s in heard if s not in since and not s.pinned])
    dialogue.sequence.drop(dialogue.ledger.orphans())
    for s in since:
        # What was said to it and heard by nobody else was the scene's own cue.
        is_heard = s.kind is Kind.EVENT or (s.kind is Kind.SAID and s.utterance)
        if is_heard and s.utterance not in gone:
            line = s.text if s.text.endswith("\n") else s.text + "\n"
            event = dialogue.open_turn.add_event(line, s.importance, s.expires, bool(s.utterance))
            event.utterance, event.speaker = s.utterance, s.speaker
    if typed is not None:
        dialogue.open_turn.read_ahead(typed.text)
    return bool(turns)


def _closed_since(dialogue: Dialogue, turn: int) -> list[Segment]:
    return [s for s in dialogue.ledger.segments if turn <= s.turn < dialogue.turn]
