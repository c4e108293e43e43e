"""What a character hears: events, the words of others, and the player's, as parts of its open turn.

Owns how a text becomes a segment there, what merges with what, and how the turn closes with the
words that are answered. How the segments follow each other is `open_turn`'s; the reply is
`dialogue`'s. Texts that come in may hold anything.
"""

from collections.abc import Sequence as Seq

from npc_engine.cards.card import Card
from npc_engine.dialogue.open_turn import EVENT_SHARE, MESSAGE_SHARE, NOTES_SHARE, OpenTurn
from npc_engine.kvcache.ledger import Kind, Segment, oldest
from npc_engine.text.chat_format import clean

__all__ = ["BEFORE", "USER", "Hearing", "label_of", "own_turn"]

USER = "Player"
MAX_LABEL = 16  # tokens of a name that stands before a reply; a longer one is left out
SILENCE = "..."
SOMEBODY = "?"  # has said what was overheard, where it is not known who
BEFORE = -1  # the utterance of all that was overheard in an earlier life


class Hearing(OpenTurn):
    """What of a character hears. `Dialogue` is one, and has the fields."""

    card: Card

    def perceive(self, text: str, importance: float = 0.5, expires: float | None = None) -> bool:
        """Add an event to the open turn. `expires`: a time of the engine's clock.

        One of the same words takes its place; returns whether there was one.
        """
        text, _ = self.chat_format.fit(clean(text), self._share(EVENT_SHARE))
        if not text:
            return False
        line = self.as_event(text)
        same = self._unread(line)
        if same:
            importance = max(importance, same[0].importance)
            if expires is not None:
                expires = None if same[0].expires is None else max(expires, same[0].expires)
            if same[0] is self._unread()[-1]:  # nothing came since: it need not be read again
                same[0].importance, same[0].expires = importance, expires
                return True
            self.sequence.drop(same)
        self._add_event(line, importance, expires)
        return bool(same)

    def forget_events(self, most: int) -> int:
        """Keep `most` events of the open turn, the newest unless others are more important.

        Returns how many leave. What others say in its presence is no event, and is bounded by the
        window.
        """
        events = [s for s in self._unread() if not s.utterance]
        old = []
        while len(events) > most:
            old.append(events.pop(oldest([s.importance for s in events])))
        self.sequence.drop(old)
        return len(old)

    @staticmethod
    def as_event(text: str) -> str:
        """Return an event as a paragraph of a user turn."""
        return (text if text.startswith("*") else f"*{text}*") + "\n"

    @property
    def utterances(self) -> set[int]:
        """All talk of which it knows something."""
        return {s.utterance for s in self.ledger.segments if s.utterance}

    def heard_of(self, utterance: int) -> list[Segment]:
        """Return what the open turn holds of somebody's talk (see `overheard`)."""
        return [s for s in self._open_turn() if s.utterance == utterance and s.kind is Kind.EVENT]

    def add_heard(self, line: str, utterance: int, speaker: str = "") -> None:
        """Add somebody's words to the open turn; they may grow."""
        line, _ = self.chat_format.fit(line, self._share(MESSAGE_SHARE))
        if line:
            heard = self._add_event(line, is_talk=True)
            heard.utterance, heard.speaker = utterance, speaker or SOMEBODY

    def grow(self, segment: Segment, line: str) -> bool:
        """Make the words at the tail longer; False when there was no room for them any more."""
        line, _ = self.chat_format.fit(line, self._share(MESSAGE_SHARE))
        return self._change(segment, line)

    def hear(self, speaker: str, text: str) -> None:
        """Read the player's line so far; the `say` that follows reuses what is alike."""
        words, _ = self._said(speaker, text)
        self._read_ahead(words)

    def expire(self, now: float) -> tuple[int, float | None]:
        """Forget events of the open turn whose time is over.

        Returns how many, and when the next one will be.
        """
        old = [s for s in self._open_turn() if s.expires is not None and s.expires <= now]
        self.sequence.drop(old)
        ends = [s.expires for s in self._open_turn() if s.expires is not None]
        return len(old), min(ends, default=None)

    def say(
        self,
        speaker: str,
        text: str,
        notes: Seq[str] = (),
        *,
        answers: int = 0,
        among_others: bool = False,
    ) -> tuple[int, int, bool]:
        """Close the open turn with the player's words, and open the reply.

        `answers`: an utterance that it has heard, and that stands for speaker and text then.
        `among_others`: the reply has its name before it, as all lines of the others have.
        Returns (n_prompt, n_cached, truncated): tokens that the turn's words and markup have,
        tokens that were in the cache already, whether the message was cut.
        """
        heard = self._take_up(speaker, answers) if answers else ""
        if answers and not heard and answers in self.utterances:  # spoken to since: not once more
            speaker, text, answers = USER, own_turn(self.card.char), 0
        words, truncated = self._fit(heard) if heard else self._said(speaker, text)
        aside, notes_cut = self._notes(notes)
        close, extra = list(self.chat_format.close), list(self.chat_format.extra)
        if among_others:
            (extra or close).extend(self._own_label())
        tail = len(aside) + len(close) + len(extra)
        said = self._set_said(words, tail)
        said.utterance = answers if heard else 0
        said.speaker = "" if among_others and not answers else label_of(speaker)[:-2]
        n_cached = self.ledger.n_cells
        self._draft = None
        if aside:
            self._add(Kind.NOTE, aside)
        self._add(Kind.CLOSE, close)
        if extra:
            self._add(Kind.NOTE, extra)
        self._add(Kind.REPLY, [])
        return len(said.tokens) + tail, n_cached, truncated or notes_cut

    def _own_label(self) -> list[int]:
        """What a reply among others begins with: else a small model writes somebody else's."""
        label = self.chat_format.words(label_of(self.card.char).rstrip())
        return label if len(label) <= MAX_LABEL else []

    def _take_up(self, speaker: str, utterance: int) -> str:
        """Make what it has heard of an utterance the draft of what is said to it; return that."""
        pieces = self.heard_of(utterance)
        if not pieces:
            return ""
        self._take_draft()
        label = label_of(speaker)
        words = label + " ".join(s.text.removesuffix("\n").removeprefix(label) for s in pieces)
        if pieces == self.ledger.segments[-1:]:
            self._draft = pieces[0]
            self._draft.kind = Kind.SAID
        else:  # something came between: the line that it answers stands last
            self.sequence.drop(pieces)
        return words

    def _said(self, speaker: str, text: str) -> tuple[str, bool]:
        words = clean(text) or SILENCE
        if label_of(speaker) != label_of(USER):
            words = label_of(speaker) + words
        return self._fit(words)

    def _fit(self, words: str) -> tuple[str, bool]:
        words, cut = self.chat_format.fit(words, self._share(MESSAGE_SHARE))
        return words or SILENCE, cut

    def _notes(self, notes: Seq[str]) -> tuple[list[int], bool]:
        """After the message, not before: what was read of it ahead stays valid."""
        text = "\n".join(filter(None, map(clean, notes)))
        if not text:
            return [], False
        text, cut = self.chat_format.fit(text, self._share(NOTES_SHARE))
        if not text:
            return [], cut
        return self.chat_format.words(f"\n({text})"), cut


def own_turn(char: str) -> str:
    """Return what is said to one whose turn it is to speak, and who has nothing to answer."""
    return f"*{char} speaks.*"


def label_of(speaker: str) -> str:
    """Return what stands before somebody's words: `Bram: `."""
    speaker = clean(speaker).replace("\n", " ")
    return f"{speaker}: " if speaker else ""
