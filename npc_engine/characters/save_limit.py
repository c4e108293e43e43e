"""Whether a save can hold a card: reckoned before its character comes, and not when it is saved.

Owns a card's share of a state, and what is said of one that is beyond it. The rest is for what a
character grows by: its talk, what waits to be heard, and what newer versions have saved with it. It
knows no file.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from npc_engine.cards.card import Card
from npc_engine.errors import CardError
from npc_engine.storage.msgpack_bounds import NEST_COST, WIDE, measure, n_values
from npc_engine.storage.snapshot import MAX_STATE_COST

__all__ = ["MAX_CARD_COST", "check_card"]

MAX_CARD_COST = MAX_STATE_COST // 2


def check_card(card: Card) -> None:
    """Raise CardError, naming the field, for a card that no save could hold."""
    whole = card.to_map()
    why = _misfit(whole)
    if why is None:
        return
    fields: Mapping[str, Any] = {**whole, **whole["data"]}
    wrong = [(key, _misfit(value)) for key, value in fields.items() if key != "data"]
    key, reason = next(((key, reason) for key, reason in wrong if reason), ("", why))
    raise CardError(
        f"{f'`{key}` of the card' if key else 'The card'} cannot be saved: {reason:.200}.",
        "Leave out what the character does not need: texts are cheap, and each number, list or map "
        "takes a hundred bytes and more.",
    )


def _misfit(value: Any) -> str | None:
    """Why a save cannot hold this, if so."""
    try:
        packed = msgspec.msgpack.encode(value)
        most = (MAX_CARD_COST - WIDE * len(packed)) // NEST_COST  # no value takes more
        if n_values(packed, most) > most:
            measure(packed, 0, MAX_CARD_COST)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        return str(error)
    return None
