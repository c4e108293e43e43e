"""What a character hears of others' talk, as segments of its sequence.

    [OPEN EVENT "Wren: I found a button.\n" EVENT "Bram: Show me."]          heard so far
    [OPEN EVENT "Wren: I found a button.\n" SAID  "Bram: Show me." CLOSE REPLY    it answers Bram

Owns their form. A line is an event of the open turn that grows while it is being spoken, so that it
is read ahead; the one that the character answers becomes what was said to it, where it stands, and
nothing is read twice. It knows no scene and no inbox.
"""

from npc_engine.hearsay import Overheard, Unheard
from npc_engine.npc import CUT_OFF, Npc, label_of
from npc_engine.voice import clean

__all__ = ["overhear", "unhear"]


def overhear(npc: Npc, heard: Overheard) -> None:
    """Hear more of what somebody says."""
    words = clean(heard.text)
    if not words:
        return
    pieces = npc.heard_of(heard.utterance)
    if pieces and pieces[-1] is npc.ledger.segments[-1] and not pieces[-1].text.endswith("\n"):
        gap = " " if heard.text[0].isspace() else ""
        line = pieces[-1].text + gap + words
        if npc.grow(pieces[-1], line):
            return
    else:
        line = label_of(heard.speaker) + words
    npc.add_heard(line, heard.utterance)


def unhear(npc: Npc, cut: Unheard) -> None:
    """Correct a line that was cut short after it was heard; not once it was answered."""
    pieces = npc.heard_of(cut.utterance)
    npc.sequence.drop(pieces)
    words = clean(cut.text)
    if pieces and words and not _is_half_answered(npc, cut.utterance):
        npc.add_heard(label_of(cut.speaker) + words + CUT_OFF, cut.utterance)


def _is_half_answered(npc: Npc, utterance: int) -> bool:
    return any(s.utterance == utterance for s in npc.ledger.segments)
