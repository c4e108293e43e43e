"""A character as a save holds it while something is to be taken back, and it is amid a line.

What is taken back counts from the moment at which that was decided; carried out it is at the end of
the line. Owns what a save taken between these holds. It knows no inbox and no file.
"""

from collections.abc import Iterable
from dataclasses import replace

from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.overheard import Undoing, Unsaid, unhear, unsay
from npc_engine.kvcache.ledger import Kind, Ledger

__all__ = ["without"]

NO_END = 1 << 62  # positions: nothing is read here, so they do not run out


def without(dialogue: Dialogue, undoing: Iterable[Undoing]) -> Dialogue:
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
