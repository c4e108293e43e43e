"""The persona of a character: the pinned beginning of its dialogue, behind the engine's world.

Owns how a card becomes segments, and how much of a window they may take. It knows no turn.
"""

from npc_engine.cards.card import Card
from npc_engine.dialogue.paragraphs import USER
from npc_engine.errors import TooLarge
from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.text.chat_format import ChatFormat, most_characters

__all__ = ["beginning", "check_persona", "most_pinned"]

MIN_WORDS = 24  # of them at least for words, beside a turn's markup
MIN_FREE = 64  # tokens that a persona must leave for talking


def beginning(name: str, card: Card, chat_format: ChatFormat, window: int, n_pos: int) -> Ledger:
    """Return a ledger that holds a card's persona, not yet read.

    `window`: tokens it may hold; `n_pos`: positions the model can do. Raises TooLarge when the
    persona leaves no room to talk.
    """
    persona = card.persona(user=USER).strip()
    room = most_characters(window)
    tokens, joined = chat_format.beginning(persona[:room])
    is_cut = len(persona) > room
    n_tokens = max(len(tokens), window) if is_cut else len(tokens)
    check_persona(name, n_tokens, window, chat_format, "over " if is_cut else "")
    n_world = len(chat_format.world_tokens)
    ledger = Ledger(window, n_pos, joined=joined)
    if n_world:
        ledger.append(Segment(Kind.PERSONA, tokens[:n_world], chat_format.world, pinned=True))
    ledger.append(Segment(Kind.PERSONA, tokens[n_world:], persona, pinned=True))
    return ledger


def check_persona(
    name: str, n_tokens: int, window: int, chat_format: ChatFormat, over: str = ""
) -> None:
    """Raise TooLarge when a persona of `n_tokens`, with the world, leaves no room to talk.

    `over`: "over " where there are more of them, and nobody has counted.
    """
    most = most_pinned(window, chat_format)
    if n_tokens <= most:
        return
    n_world = len(chat_format.world_tokens)
    of_these, what = (
        (f", {n_world} of them for the world", "card or world") if n_world else ("", "card")
    )
    shorten = f"Shorten the {what} to at most {most} tokens, or give" if most > 0 else "Give"
    raise TooLarge(
        f"The persona of {name!r} takes {over}{n_tokens} tokens of a window of {window}{of_these}.",
        f"{shorten} a larger window.",
    )


def most_pinned(window: int, chat_format: ChatFormat) -> int:
    """Return how many tokens a persona may take of a window, so that there is room to talk."""
    return window - max(MIN_FREE, window // 4, chat_format.n_markup + MIN_WORDS)
