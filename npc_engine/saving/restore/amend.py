"""What a `spawn` asks of a character that comes from a save: its card, its sampling, its window.

Owns what takes the place of what was saved, and what is said of it: a game that has been patched
reaches the characters of a running play. It knows no file and no cache.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from npc_engine.cards.card import Card
from npc_engine.config import Sampling
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.persona import check_persona
from npc_engine.kvcache.ledger import Kind
from npc_engine.saving.records import SavedSegment, card_of, parse, sampling_of

__all__ = ["Amended", "Wanted", "amend"]


class Wanted(NamedTuple):
    """What a spawn asks for. `npc`: the character as it would begin anew.

    `sampling`, `window`: whether it names them; else the saved ones go on. `card`: whether its card
    counts, or the saved one.
    """

    npc: Dialogue
    sampling: bool
    window: bool
    card: bool


class Amended(NamedTuple):
    """A saved state with that put into it. `window`: what it may hold now, in tokens.

    `rereads`: its persona is another, so that no cell of its cache is of use. `notice`: what
    differed.
    """

    state: dict[str, Any]
    window: int
    rereads: bool
    notice: str


def amend(state: dict[str, Any], wanted: Wanted) -> Amended:
    """Put what a spawn asks for into a saved state.

    Raises SnapshotError for one that is none, and TooLarge when the persona leaves no room to talk.
    """
    saved, new = parse(state), wanted.npc
    fields = _changed(_fields(card_of(saved)), _fields(new.card))
    chosen = _changed(_values(sampling_of(saved)), _values(new.sampling)) if wanted.sampling else []
    window = new.ledger.window if wanted.window else min(saved.window, new.ledger.window)
    differs = [f"its sampling ({', '.join(chosen)})"] if chosen else []
    if window != saved.window:
        differs.append(f"its window ({saved.window} tokens, now {window})")
    more = {"sampling": msgspec.to_builtins(new.sampling)} if chosen else {}
    is_another = _persona(saved.segments) != _persona(new.ledger.segments)
    rereads = wanted.card and is_another
    # In this model's tokens where that can be: it may be another one.
    persona = saved.segments if is_another and not rereads else new.ledger.segments
    n_persona = sum(len(s.tokens) for s in persona if s.kind is Kind.PERSONA)
    check_persona(new.name, n_persona, window, new.chat_format)
    if wanted.card:
        more["card"] = new.card.to_map()
        if fields:
            differs.insert(0, f"its card ({', '.join(fields)})")
        elif rereads:
            differs.insert(0, "its persona or world")
    if rereads:
        more |= {"segments": _with_persona(state["segments"], new), "joined": new.ledger.joined}
    notice = _notice(differs, rereads, [] if wanted.card else fields)
    return Amended({**state, **more}, window, rereads, notice)


def _with_persona(records: list[dict[str, Any]], new: Dialogue) -> list[dict[str, Any]]:
    """The segments with the persona of `new` in the place of theirs."""
    persona = [
        SavedSegment(
            kind=s.kind,
            tokens=s.tokens,
            text=s.text,
            turn=s.turn,
            pinned=s.pinned,
            importance=s.importance,
            start=0,
            n_cached=0,
        )
        for s in new.ledger.segments
        if s.kind is Kind.PERSONA
    ]
    behind = [record for record in records if record["kind"] != Kind.PERSONA]
    return [*msgspec.to_builtins(persona), *behind]


def _notice(differs: list[str], rereads: bool, unused: list[str]) -> str:
    parts = [f"Not as it was saved: {', '.join(differs)}."] if differs else []
    if rereads:
        parts.append("The persona is read again, and the talk behind it kept.")
    if unused:
        parts.append(f"The saved card counts, not the one given ({', '.join(unused)} differ).")
    return " ".join(parts)


def _fields(card: Card) -> dict[str, Any]:
    data: dict[str, Any] = card.to_map()["data"]
    return data


def _values(sampling: Sampling) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(sampling)
    return values


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _persona(segments: Iterable[Any]) -> list[str]:
    return [s.text for s in segments if s.kind is Kind.PERSONA]
