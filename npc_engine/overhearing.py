"""What a character hears of others' talk, as segments of its sequence.

    [OPEN EVENT "Wren: I found a button.\n" EVENT "Bram: Show me."]          heard so far
    [OPEN EVENT "Wren: I found a button.\n" SAID  "Bram: Show me." CLOSE REPLY    it answers Bram

Owns their form. A line is an event of the open turn that grows while it is being spoken, so that it
is read ahead; the one that the character answers becomes what was said to it, where it stands, and
nothing is read twice. It knows no scene and no inbox.
"""

from collections.abc import Iterable

from npc_engine.hearing import label_of
from npc_engine.hearsay import Overheard, Unheard, Unsaid
from npc_engine.npc import CUT_OFF, Npc
from npc_engine.voice import clean

__all__ = ["on_its_way", "overhear", "unhear"]


def overhear(npc: Npc, utterance: int, speaker: str, more: str) -> None:
    """Hear more of what somebody says. `more` begins with its own space, if there is one."""
    words = clean(more)
    if not words:
        return
    line = label_of(speaker) + words
    pieces = npc.heard_of(utterance)
    if pieces and pieces[-1] is npc.ledger.segments[-1] and not pieces[-1].text.endswith("\n"):
        line = pieces[-1].text + (" " if more[0].isspace() else "") + words
        if npc.grow(pieces[-1], line):
            return
    npc.add_heard(line, utterance, speaker)


def unhear(npc: Npc, utterance: int, speaker: str, text: str) -> bool:
    """Cut a line back to `text` after it was heard; not once it was answered.

    Returns whether it has heard of it at all.
    """
    pieces = npc.heard_of(utterance)
    words = label_of(speaker) + clean(text) + CUT_OFF
    heard = " ".join(s.text.strip() for s in pieces)
    is_known = any(s.utterance == utterance for s in npc.ledger.segments)
    if not pieces or words.startswith(heard):  # it left before more of it was said
        return is_known
    npc.sequence.drop(pieces)
    is_half_answered = any(s.utterance == utterance for s in npc.ledger.segments)
    if clean(text) and not is_half_answered:
        npc.add_heard(words, utterance, speaker)
    return is_known


def on_its_way(records: Iterable[object]) -> list[str]:
    """Return the lines that a character will have heard when these are served, one an utterance."""
    records = list(records)
    lines: dict[int, str] = {}
    for record in records:
        if isinstance(record, Overheard):
            line = lines.get(record.utterance)
            if line:
                lines[record.utterance] = line + record.text
            else:
                lines[record.utterance] = label_of(record.speaker) + record.text.lstrip()
    for record in records:  # these stand before what they cut
        if isinstance(record, Unheard) and record.utterance in lines:
            label = label_of(record.speaker)
            lines[record.utterance] = label + record.text + CUT_OFF if record.text else ""
        elif isinstance(record, Unsaid):
            lines = {n: line for n, line in lines.items() if n not in record.gone}
    return [clean(line) for line in lines.values() if line]
