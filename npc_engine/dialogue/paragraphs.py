"""What a user turn says, as text: a paragraph for each thing that happened or was said.

    *A wolf howls.*      an event
    Bram: Show me.       what somebody said in its presence
    Who are you?         the player's words
    (She is tired.)      the notes of this turn

Owns the form of each, and how long it may be. Texts that come in may hold anything. It knows no
segment and no cache.

Shares of the window that is left beside the persona and one turn's markup: a message 40 %, an
event 15 %, the notes of a turn 10 %; a reply gets what then remains. So a turn always fits once
the past has left.
"""

from collections.abc import Sequence

from npc_engine.kvcache.ledger import Ledger
from npc_engine.text.chat_format import ChatFormat, clean

__all__ = ["SPARE", "USER", "Paragraphs", "as_event", "label_of", "own_turn"]

USER = "Player"
SILENCE = "..."
MAX_LABEL = 16  # tokens of a name that stands before a reply; a longer one is left out
MESSAGE_SHARE = 0.40
EVENT_SHARE = 0.15
NOTES_SHARE = 0.10
SPARE = 8  # tokens kept free for what an interruption adds to a reply


class Paragraphs:
    """Texts that fit their share of a ledger's window."""

    def __init__(self, chat_format: ChatFormat, ledger: Ledger) -> None:
        self._chat_format = chat_format
        self._ledger = ledger

    def message(self, text: str) -> tuple[str, bool]:
        """Return somebody's words, and whether they had to be cut."""
        return self._chat_format.fit(text, self._share(MESSAGE_SHARE))

    def said(self, speaker: str, text: str) -> tuple[str, bool]:
        """Return what is said to a character, and whether it had to be cut."""
        words = clean(text) or SILENCE
        if label_of(speaker) != label_of(USER):
            words = label_of(speaker) + words
        return self.answered(words)

    def answered(self, words: str) -> tuple[str, bool]:
        """Return words that a character has heard and is to answer; silence for none."""
        words, cut = self.message(words)
        return words or SILENCE, cut

    def event(self, text: str) -> str:
        """Return what happens; nothing when there is no text."""
        text, _ = self._chat_format.fit(clean(text), self._share(EVENT_SHARE))
        return as_event(text) if text else ""

    def notes(self, notes: Sequence[str]) -> tuple[list[int], bool]:
        """Return the tokens of a turn's notes, and whether they had to be cut.

        They stand after the message, not before: what was read of it ahead stays valid.
        """
        text = "\n".join(filter(None, map(clean, notes)))
        if not text:
            return [], False
        text, cut = self._chat_format.fit(text, self._share(NOTES_SHARE))
        return (self._chat_format.words(f"\n({text})") if text else []), cut

    def own_label(self, char: str) -> list[int]:
        """Return what a reply among others begins with: else a small model writes somebody else's.

        In tokens; none of a name that is too long.
        """
        label = self._chat_format.words(label_of(char).rstrip())
        return label if len(label) <= MAX_LABEL else []

    def _share(self, part: float) -> int:
        free = self._ledger.window - self._ledger.n_pinned - self._chat_format.n_markup - SPARE
        return max(0, int(free * part))


def as_event(text: str) -> str:
    """Return an event as a paragraph of a user turn."""
    return (text if text.startswith("*") else f"*{text}*") + "\n"


def own_turn(char: str) -> str:
    """Return what is said to one whose turn it is to speak, and who has nothing to answer."""
    return f"*{char} speaks.*"


def label_of(speaker: str) -> str:
    """Return what stands before somebody's words: `Bram: `."""
    speaker = clean(speaker).replace("\n", " ")
    return f"{speaker}: " if speaker else ""
