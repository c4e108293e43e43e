"""What a character hears of others' talk, as segments of its sequence.

    [OPEN EVENT "Wren: I found a button.\n" EVENT "Bram: Show me."]          heard so far
    [OPEN EVENT "Wren: I found a button.\n" SAID  "Bram: Show me." CLOSE REPLY    it answers Bram

Owns their form. A line is an event of the open turn that grows while it is being spoken, so that it
is read ahead; the one that the character answers becomes what was said to it, where it stands, and
nothing is read twice. It knows no scene and no inbox.
"""

from collections.abc import Container, Iterable

from npc_engine.dialogue.dialogue import CUT_OFF, Dialogue
from npc_engine.dialogue.hearing import label_of
from npc_engine.dialogue.overheard import Overheard, Unheard, Unsaid
from npc_engine.text.chat_format import clean

__all__ = ["on_its_way", "overhear", "unhear", "unsay"]


def overhear(dialogue: Dialogue, utterance: int, speaker: str, more: str) -> None:
    """Hear more of what somebody says. `more` begins with its own space, if there is one."""
    words = clean(more)
    if not words:
        return
    line = label_of(speaker) + words
    pieces = dialogue.heard_of(utterance)
    if pieces and pieces[-1] is dialogue.ledger.segments[-1] and not pieces[-1].text.endswith("\n"):
        line = pieces[-1].text + (" " if more[0].isspace() else "") + words
        if dialogue.grow(pieces[-1], line):
            return
    elif words == CUT_OFF:  # something came between: a dash of its own says nothing
        return
    dialogue.add_heard(line, utterance, speaker)


def unhear(dialogue: Dialogue, utterance: int, speaker: str, text: str) -> bool:
    """Cut a line back to `text` after it was heard; not once it was answered.

    Returns whether it has heard of it at all.
    """
    pieces = dialogue.heard_of(utterance)
    words = label_of(speaker) + clean(text) + CUT_OFF
    heard = " ".join(s.text.strip() for s in pieces)
    is_known = utterance in dialogue.utterances
    if not pieces or words.startswith(heard):  # it left before more of it was said
        return is_known
    dialogue.sequence.drop(pieces)
    if clean(text) and utterance not in dialogue.utterances:  # else it has answered half of it
        dialogue.add_heard(words, utterance, speaker)
    return is_known


def unsay(dialogue: Dialogue, unsaid: Unsaid) -> bool:
    """Live on as if what nobody heard had not been said; whether a turn of its own is gone."""
    has_gone = dialogue.take_back(unsaid.gone)
    if unsaid.cut is not None:
        utterance, text, n_bytes = unsaid.cut
        dialogue.cut_back(dialogue.turn_of(utterance), text, n_bytes)
    return has_gone


def on_its_way(records: Iterable[object], known: Container[int] = ()) -> list[str]:
    """Return the lines that a character will have heard when these are served, one an utterance.

    `known`: utterances of which it has heard: nothing more of them comes once they are cut.
    """
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
            label, is_left = label_of(record.speaker), record.text and record.utterance not in known
            lines[record.utterance] = label + record.text + CUT_OFF if is_left else ""
        elif isinstance(record, Unsaid):
            lines = {n: line for n, line in lines.items() if n not in record.gone}
    return [clean(line) for line in lines.values() if line]
