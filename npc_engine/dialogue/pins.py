"""What a character must never forget: pinned facts and pinned turns.

Owns their form and their budget. A fact is a whole small turn, so that the chat stays well-formed
whatever leaves around it; it is named by that turn's number, as any turn is. It knows no inbox.
"""

from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.paragraphs import as_event
from npc_engine.dialogue.persona import most_pinned
from npc_engine.errors import BadMessage, TooLarge, UnknownTarget
from npc_engine.kvcache.ledger import Kind, Segment
from npc_engine.protocol import Pin, Pinned, Unpin
from npc_engine.text.chat_format import clean, most_characters

__all__ = ["budget", "pin", "release", "unpin"]

PIN_SHARE = 0.25  # of the window beside the persona
TAKEN = "*takes it to heart*"  # how a fact is answered: a gesture, so it is never spoken


def pin(dialogue: Dialogue, request: Pin) -> Pinned:
    """Pin a turn, or a fact as a new turn. Raises BadMessage, TooLarge, UnknownTarget."""
    if (request.turn is None) == (request.text is None):
        raise BadMessage(
            "A pin has a `turn` or a `text`.",
            "Give one of them: the `turn` of a `done`, or a fact in words.",
        )
    turn = (
        _pin_fact(dialogue, request.text)
        if request.turn is None
        else _pin_turn(dialogue, request.turn)
    )
    pinned = [s for s in _pins(dialogue) if s.turn == turn]
    return Pinned(
        id=request.id,
        npc=dialogue.name,
        turn=turn,
        n_tokens=_n_tokens(pinned),
        n_pinned=dialogue.ledger.n_pinned,
        n_left=max(0, budget(dialogue) - _n_tokens(_pins(dialogue))),
    )


def unpin(dialogue: Dialogue, request: Unpin) -> None:
    """Let a pinned turn age like any other. Raises UnknownTarget."""
    pinned = [s for s in _pins(dialogue) if s.turn == request.turn]
    if not pinned:
        turns = _listed({s.turn for s in _pins(dialogue)})
        raise UnknownTarget(
            f"Turn {request.turn} of {dialogue.name!r} is not pinned.",
            f"Pinned turns: {turns}." if turns else "Nothing is pinned.",
        )
    dialogue.ledger.pin(pinned, False)


def budget(dialogue: Dialogue) -> int:
    """Return how many tokens all pins of a character may take, beside its persona."""
    n_persona = dialogue.ledger.n_pinned - _n_tokens(_pins(dialogue))
    free = dialogue.ledger.window - n_persona
    return max(
        0,
        min(
            int(free * PIN_SHARE),
            most_pinned(dialogue.ledger.window, dialogue.chat_format) - n_persona,
        ),
    )


def release(dialogue: Dialogue) -> list[int]:
    """Unpin the oldest turns until the pins fit the budget: the window may be smaller than it was.

    Returns their numbers.
    """
    turns: dict[int, list[Segment]] = {}
    for segment in _pins(dialogue):
        turns.setdefault(segment.turn, []).append(segment)
    n_over = sum(map(_n_tokens, turns.values())) - budget(dialogue)
    released = []
    for turn, segments in turns.items():
        if n_over <= 0:
            break
        dialogue.ledger.pin(segments, False)
        n_over -= _n_tokens(segments)
        released.append(turn)
    return released


def _pin_fact(dialogue: Dialogue, text: str | None) -> int:
    fact = clean(text or "").replace("\n", " ")
    if not fact:
        raise BadMessage("The text of a pin is empty.", "Say in words what is not to be forgotten.")
    event = as_event(fact)
    for segment in _pins(dialogue):
        if segment.kind is Kind.EVENT and segment.text == event:
            return segment.turn
    room = most_characters(budget(dialogue))
    n_more = dialogue.n_turn(event[:room], TAKEN)
    is_cut = len(event) > room
    _check(
        dialogue, max(n_more, budget(dialogue) + 1) if is_cut else n_more, "over " if is_cut else ""
    )
    return dialogue.insert(event, TAKEN, pinned=True)


def _pin_turn(dialogue: Dialogue, turn: int) -> int:
    found = [s for s in dialogue.ledger.segments if s.turn == turn and s.kind is not Kind.PERSONA]
    if not found or turn >= dialogue.turn:
        past = {s.turn for s in dialogue.ledger.segments if s.kind is not Kind.PERSONA} - {
            dialogue.turn
        }
        raise UnknownTarget(
            f"Turn {turn} of {dialogue.name!r} is not in its window.",
            f"Turns that are: {_listed(past) or 'none yet'}.",
        )
    _check(dialogue, _n_tokens([s for s in found if not s.pinned]))
    dialogue.ledger.pin(found, True)
    return turn


def _check(dialogue: Dialogue, n_more: int, over: str = "") -> None:
    pins, most = _pins(dialogue), budget(dialogue)
    if _n_tokens(pins) + n_more > most:
        fits = n_more <= most
        raise TooLarge(
            f"A pin of {over}{n_more} tokens is too much: {_n_tokens(pins)} of {most} tokens for "
            f"pins of {dialogue.name!r} are taken.",
            f"{_shorter({s.turn for s in pins} if fits else set())}, or give the character a "
            "larger window.",
        )


def _shorter(turns: set[int]) -> str:
    if not turns:
        return "Say it shorter"
    return f"Unpin {'turn' if len(turns) == 1 else 'one of the turns'} {_listed(turns)}"


def _pins(dialogue: Dialogue) -> list[Segment]:
    return [s for s in dialogue.ledger.segments if s.pinned and s.kind is not Kind.PERSONA]


def _n_tokens(segments: list[Segment]) -> int:
    return sum(len(s.tokens) for s in segments)


def _listed(turns: set[int]) -> str:
    """Numbers in words, the newest when they are many."""
    names = [str(turn) for turn in sorted(turns)]
    return ", ".join(["...", *names[-12:]] if len(names) > 12 else names)
