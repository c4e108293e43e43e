"""What is said in the presence of others: on its way to them, and as segments of who hears it.

    Overheard(7, "Bram", "Show me.")  --->  an inbox  --->
    [OPEN EVENT "Wren: I found a button.\\n" EVENT "Bram: Show me."]          heard so far
    [OPEN EVENT "Wren: I found a button.\\n" SAID  "Bram: Show me." CLOSE REPLY    it answers Bram

Owns the records that a scene puts into a character's inbox beside those of the wire, and what they
do to its open turn. A line is an event of it that grows while it is being spoken, so that it is
read ahead; the one that the character answers becomes what was said to it, where it stands, and
nothing is read twice. It knows no scene and no inbox.

An *utterance* is one reply as others hear it, or one line of a player: a number that no other has.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import ClassVar

from npc_engine.dialogue.dialogue import CUT_OFF, Dialogue
from npc_engine.dialogue.paragraphs import label_of
from npc_engine.dialogue.taking_back import cut_back, take_back, turn_of
from npc_engine.protocol import Say
from npc_engine.text.chat_format import clean

__all__ = [
    "Cue",
    "Overheard",
    "Undoing",
    "Unheard",
    "Unsaid",
    "on_its_way",
    "overhear",
    "unhear",
    "unsay",
]


class Cue(Say, tag="say"):
    """A `say` that no client has sent: it is this character's turn in a scene.

    `answers`: the utterance that it answers, 0 for none. `text` is what stands in for it where the
    character has not heard it.
    """

    answers: int = 0


@dataclass(slots=True)
class Overheard:
    """More of an utterance, for somebody who is present; `text` begins with its own space."""

    id: ClassVar[str] = ""  # nobody has asked for it
    utterance: int
    speaker: str
    text: str


@dataclass(slots=True)
class Unheard:
    """An utterance that was cut short after it was heard: `text` is all that was said.

    Like `Unsaid` it counts from now on, whatever waits: see `Inbox`.
    """

    id: ClassVar[str] = ""  # nobody has asked for it
    utterance: int
    speaker: str
    text: str


@dataclass(slots=True)
class Unsaid:
    """Talk that the player never heard is taken back: it counts as never said.

    `gone`: utterances, of others and its own. `cut`: its own that was heard in part, and what is
    left of it.
    """

    id: ClassVar[str] = ""
    gone: frozenset[int]
    cut: tuple[int, str, int] | None = None  # utterance, text, bytes of the text


Undoing = Unheard | Unsaid
"""What takes something back."""


def overhear(dialogue: Dialogue, utterance: int, speaker: str, more: str) -> None:
    """Hear more of what somebody says. `more` begins with its own space, if there is one."""
    words = clean(more)
    if not words:
        return
    line = label_of(speaker) + words
    pieces = dialogue.open_turn.heard_of(utterance)
    if pieces and pieces[-1] is dialogue.ledger.segments[-1] and not pieces[-1].text.endswith("\n"):
        line = pieces[-1].text + (" " if more[0].isspace() else "") + words
        if dialogue.open_turn.grow(pieces[-1], line):
            return
    elif words == CUT_OFF:  # something came between: a dash of its own says nothing
        return
    dialogue.open_turn.add_heard(line, utterance, speaker)


def unhear(dialogue: Dialogue, utterance: int, speaker: str, text: str) -> bool:
    """Cut a line back to `text` after it was heard; not once it was answered.

    Returns whether it has heard of it at all.
    """
    pieces = dialogue.open_turn.heard_of(utterance)
    words = label_of(speaker) + clean(text) + CUT_OFF
    heard = " ".join(s.text.strip() for s in pieces)
    is_known = utterance in dialogue.utterances
    if not pieces or words.startswith(heard):  # it left before more of it was said
        return is_known
    dialogue.sequence.drop(pieces)
    if clean(text) and utterance not in dialogue.utterances:  # else it has answered half of it
        dialogue.open_turn.add_heard(words, utterance, speaker)
    return is_known


def unsay(dialogue: Dialogue, unsaid: Unsaid) -> bool:
    """Live on as if what nobody heard had not been said; whether a turn of its own is gone."""
    has_gone = take_back(dialogue, unsaid.gone)
    if unsaid.cut is not None:
        utterance, text, n_bytes = unsaid.cut
        cut_back(dialogue, turn_of(dialogue, utterance), text, n_bytes)
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
