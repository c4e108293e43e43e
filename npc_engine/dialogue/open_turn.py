"""The turn that a character takes in just now, as the last segments of its sequence.

    ... past turns] [OPEN EVENT EVENT "Bram: Show me.\n" EVENT SAID-so-far
                     what happened and what others said   half-typed words, always last

Owns what comes into it, what merges with what, and how its segments follow each other: what opens
it, that each paragraph ends its line, that half-typed words stay behind all else, and that there is
room. What they say is `paragraphs`'; past turns and the reply are `dialogue`'s.

Half-typed words have the room that nobody else wants: nothing leaves for what may be deleted again.
Of what does not fit only the beginning is read ahead; it gives way to all that comes, and has its
room made when it is said.
"""

from npc_engine.dialogue.paragraphs import Paragraphs, label_of
from npc_engine.kvcache.ledger import Kind, Segment, oldest
from npc_engine.kvcache.sequence import Sequence
from npc_engine.kvcache.tokens import n_common
from npc_engine.text.chat_format import ChatFormat

__all__ = ["BEFORE", "OpenTurn"]

SOMEBODY = "?"  # has said what was overheard, where it is not known who
BEFORE = -1  # the utterance of all that was overheard in an earlier life


class OpenTurn:
    """The tail of a sequence. `number`: the turn's; `typed`: words that the player has not said."""

    def __init__(
        self,
        sequence: Sequence,
        chat_format: ChatFormat,
        paragraphs: Paragraphs,
        number: int,
    ) -> None:
        self.number = number
        self.typed: Segment | None = None
        self._sequence = sequence
        self._ledger = sequence.ledger
        self._chat_format = chat_format
        self._paragraphs = paragraphs

    @property
    def segments(self) -> list[Segment]:
        """All that belongs to it, a reply under way too."""
        found = []
        for segment in reversed(self._ledger.segments):
            if segment.turn != self.number or segment.kind is Kind.PERSONA:
                break
            found.append(segment)
        return found[::-1]

    @property
    def events(self) -> list[Segment]:
        """What has happened in it, and what others have said."""
        return [s for s in self.segments if s.kind is Kind.EVENT]

    # -- what happens ----------------------------------------------------------------------------

    def perceive(self, text: str, importance: float = 0.5, expires: float | None = None) -> bool:
        """Add an event. `expires`: a time of the engine's clock.

        One of the same words takes its place; returns whether there was one.
        """
        line = self._paragraphs.event(text)
        if not line:
            return False
        same = [s for s in self.events if s.text == line and not s.utterance]
        if same:
            importance = max(importance, same[0].importance)
            if expires is not None:
                expires = None if same[0].expires is None else max(expires, same[0].expires)
            if same[0] is self.events[-1]:  # nothing came since: it need not be read again
                same[0].importance, same[0].expires = importance, expires
                return True
            self._sequence.drop(same)
        self.add_event(line, importance, expires)
        return bool(same)

    def forget_events(self, most: int) -> int:
        """Keep `most` events, the newest unless others are more important.

        Returns how many leave. What others say in its presence is no event, and is bounded by the
        window.
        """
        events = [s for s in self.events if not s.utterance]
        old = []
        while len(events) > most:
            old.append(events.pop(oldest([s.importance for s in events])))
        self._sequence.drop(old)
        return len(old)

    def expire(self, now: float) -> tuple[int, float | None]:
        """Forget events whose time is over.

        Returns how many, and when the next one will be.
        """
        old = [s for s in self.segments if s.expires is not None and s.expires <= now]
        self._sequence.drop(old)
        ends = [s.expires for s in self.segments if s.expires is not None]
        return len(old), min(ends, default=None)

    # -- what others say -------------------------------------------------------------------------

    def heard_of(self, utterance: int) -> list[Segment]:
        """Return what it holds of somebody's talk (see `overheard`)."""
        return [s for s in self.events if s.utterance == utterance]

    def add_heard(self, line: str, utterance: int, speaker: str = "") -> None:
        """Add somebody's words; they may grow."""
        line, _ = self._paragraphs.message(line)
        if line:
            heard = self.add_event(line, is_talk=True)
            heard.utterance, heard.speaker = utterance, speaker or SOMEBODY

    def grow(self, segment: Segment, line: str) -> bool:
        """Make the words at the tail longer; False when there was no room for them any more."""
        line, _ = self._paragraphs.message(line)
        return self._change(segment, line)

    def take_up(self, speaker: str, utterance: int) -> str:
        """Make what it has heard of an utterance what is being said to it; return that."""
        pieces = self.heard_of(utterance)
        if not pieces:
            return ""
        self.take_typed()
        label = label_of(speaker)
        words = label + " ".join(s.text.removesuffix("\n").removeprefix(label) for s in pieces)
        if pieces == self._ledger.segments[-1:]:
            self.typed = pieces[0]
            self.typed.kind = Kind.SAID
        else:  # something came between: the line that it answers stands last
            self._sequence.drop(pieces)
        return words

    # -- what the player types and says ----------------------------------------------------------

    def read_typed(self, speaker: str, text: str) -> None:
        """Read the player's line so far; when it is said, what is alike need not be read again."""
        words, _ = self._paragraphs.said(speaker, text)
        self.read_ahead(words)

    def read_ahead(self, words: str) -> None:
        """Make half-typed words the tail, as many of them as there is room for."""
        tokens = self._chat_format.words(words)
        if self.typed is None:
            if self._ledger.n_tokens + self._n_to_open >= self._ledger.window:
                return
            self.open(0)
            self.typed = self.add(Kind.SAID, [], words)
        typed = self.typed
        self._sequence.cut(typed, n_common(typed.tokens, tokens))
        more = tokens[len(typed.tokens) :][: self._ledger.window - self._ledger.n_tokens]
        self._sequence.make_room(len(more), self.number)
        for token in more:
            self._ledger.append_token(token)
        typed.text = words

    def take_typed(self) -> Segment | None:
        """Take out half-typed words and return them."""
        typed, self.typed = self.typed, None
        if typed is not None:
            self._sequence.drop([typed])
        return typed

    def put_typed_aside(self) -> str:
        """Take out half-typed words and return them; their opener too, where nothing else is."""
        typed = self.take_typed()
        if typed is None:
            return ""
        if not self.events:
            self._sequence.drop(self.segments)
        return typed.text

    def end_with(self, words: str, n_more: int) -> Segment:
        """Make what is said the tail, keeping the tokens that are there already.

        Makes room for `n_more` tokens behind it.
        """
        said = self.typed
        if said is None:
            tokens = self._chat_format.words(words)
            self.open(len(tokens) + n_more)
            return self.add(Kind.SAID, tokens, words)
        self._change(said, words, n_more)
        self.typed = None  # only now: where that has failed they are half-typed words still
        return said

    def _change(self, tail: Segment, words: str, n_more: int = 0) -> bool:
        """Change the words at the tail, keeping the tokens that are alike; False: it was evicted.

        Makes room for `n_more` tokens behind them.
        """
        tokens = self._chat_format.words(words)
        self._sequence.cut(tail, n_common(tail.tokens, tokens))
        self._sequence.make_room(len(tokens) - len(tail.tokens) + n_more, self.number)
        if self._ledger.segments[-1] is not tail:
            return False
        for token in tokens[len(tail.tokens) :]:
            self._ledger.append_token(token)
        tail.text = words
        return True

    # -- how its segments follow each other ------------------------------------------------------

    def add(
        self,
        kind: Kind,
        tokens: list[int],
        text: str = "",
        importance: float = 0.5,
        expires: float | None = None,
    ) -> Segment:
        """Add a segment at the tail; there is room for it."""
        segment = Segment(kind, tokens, text, self.number, importance=importance, expires=expires)
        self._sequence.append(segment)
        return segment

    def add_event(
        self,
        line: str,
        importance: float = 0.5,
        expires: float | None = None,
        is_talk: bool = False,
    ) -> Segment:
        """Add a line before half-typed words, and make room for it. `is_talk`: it is no event."""
        typed = self.take_typed()
        line += "\n" if typed and not line.endswith("\n") else ""
        tokens = self._chat_format.words(line)
        self.open(len(tokens), 0 if is_talk else len(tokens))
        event = self.add(Kind.EVENT, tokens, line, importance=importance, expires=expires)
        if typed is not None:
            self.read_ahead(typed.text)
        return event

    def open(self, n_more: int, n_events: int = 0) -> None:
        """Begin a line, with room for `n_more` tokens; `n_events` of these are of an event."""
        self._sequence.make_room(n_more + self._n_to_open, self.number, n_events)
        self.begin_line()

    def begin_line(self) -> None:
        """Begin a line of the user turn, which is opened if need be; there is room."""
        end = self._line_end()
        for token in end:
            self._ledger.append_token(token)
        if end:
            self._ledger.segments[-1].text += "\n"
        if self._wants_opener:
            self.add(Kind.OPEN, list(self._chat_format.open))

    @property
    def _n_to_open(self) -> int:
        return (len(self._chat_format.open) if self._wants_opener else 0) + len(self._line_end())

    @property
    def _wants_opener(self) -> bool:
        tail = self._ledger.segments[-1]
        is_open = tail.turn == self.number and tail.kind is not Kind.PERSONA
        return not is_open and self._ledger.wants_opener

    def _line_end(self) -> list[int]:
        """What ends the line of somebody's words, which may have grown up to now."""
        tail = self._ledger.segments[-1]
        is_event = tail.kind is Kind.EVENT and tail.turn == self.number
        return self._chat_format.words("\n") if is_event and not tail.text.endswith("\n") else []
