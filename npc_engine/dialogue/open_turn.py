"""The turn that a character hears just now, as the last segments of its sequence.

    ... past turns] [OPEN EVENT EVENT "Bram: Show me.\n" EVENT SAID-so-far
                     what happened and what others said   half-typed words, always last

Owns how its segments follow each other: what opens it, that each paragraph ends its line, that the
draft of the player's words stays behind all else, and that there is room. It knows what stands
there, but not why: that is `hearing`'s and `dialogue`'s.

A draft has the room that nobody else wants: nothing leaves for words that may be deleted again. Of
what does not fit only the beginning is read ahead; it gives way to all that comes, and has its room
made when it is said.

Shares of the window that is left beside the persona and one turn's markup: a message 40 %, an
event 15 %, the notes of a turn 10 %; a reply gets what then remains. So a turn always fits once
the past has left.
"""

from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.kvcache.sequence import Sequence
from npc_engine.kvcache.tokens import n_common
from npc_engine.text.chat_format import ChatFormat

__all__ = ["EVENT_SHARE", "MESSAGE_SHARE", "NOTES_SHARE", "SPARE", "OpenTurn"]

MESSAGE_SHARE = 0.40
EVENT_SHARE = 0.15
NOTES_SHARE = 0.10
SPARE = 8  # tokens kept free for what an interruption adds to a reply


class OpenTurn:
    """What of a character is its open turn. `Dialogue` is one, and has the fields."""

    chat_format: ChatFormat
    sequence: Sequence
    turn: int
    _draft: Segment | None

    @property
    def ledger(self) -> Ledger:
        """The ledger of its sequence."""
        return self.sequence.ledger

    def _share(self, part: float) -> int:
        free = self.ledger.window - self.ledger.n_pinned - self.chat_format.n_markup - SPARE
        return max(0, int(free * part))

    def _open(self, n_more: int, n_events: int = 0) -> None:
        """Make room for `n_more` tokens in an open user turn."""
        self.sequence.make_room(n_more + self._n_to_open, self.turn, n_events)
        self._begin_line()

    @property
    def _n_to_open(self) -> int:
        return (len(self.chat_format.open) if self._wants_opener else 0) + len(self._line_end())

    @property
    def _wants_opener(self) -> bool:
        return not self._is_open and self.ledger.wants_opener

    def _begin_line(self) -> None:
        """Begin a line of the user turn, which is opened if need be."""
        self._end_line()
        if self._wants_opener:
            self._add(Kind.OPEN, list(self.chat_format.open))

    def _line_end(self) -> list[int]:
        """What ends the line of somebody's words, which may have grown up to now."""
        tail = self.ledger.segments[-1]
        is_event = tail.kind is Kind.EVENT and tail.turn == self.turn
        return self.chat_format.words("\n") if is_event and not tail.text.endswith("\n") else []

    def _end_line(self) -> None:
        end = self._line_end()
        for token in end:
            self.ledger.append_token(token)
        if end:
            self.ledger.segments[-1].text += "\n"

    @property
    def _is_open(self) -> bool:
        tail = self.ledger.segments[-1]
        return tail.turn == self.turn and tail.kind is not Kind.PERSONA

    def _open_turn(self) -> list[Segment]:
        found = []
        for segment in reversed(self.ledger.segments):
            if segment.turn != self.turn or segment.kind is Kind.PERSONA:
                break
            found.append(segment)
        return found[::-1]

    def _add(
        self,
        kind: Kind,
        tokens: list[int],
        text: str = "",
        importance: float = 0.5,
        expires: float | None = None,
    ) -> Segment:
        segment = Segment(kind, tokens, text, self.turn, importance=importance, expires=expires)
        self.sequence.append(segment)
        return segment

    def _add_event(
        self,
        line: str,
        importance: float = 0.5,
        expires: float | None = None,
        is_talk: bool = False,
    ) -> Segment:
        draft = self._take_draft()
        line += "\n" if draft and not line.endswith("\n") else ""
        tokens = self.chat_format.words(line)
        self._open(len(tokens), 0 if is_talk else len(tokens))
        event = self._add(Kind.EVENT, tokens, line, importance=importance, expires=expires)
        if draft is not None:
            self._read_ahead(draft.text)
        return event

    def _unread(self, line: str | None = None) -> list[Segment]:
        """The events of the open turn, talk among them; or those that say `line`, and are none."""
        events = [s for s in self._open_turn() if s.kind is Kind.EVENT]
        return [s for s in events if line is None or (s.text == line and not s.utterance)]

    def _take_draft(self) -> Segment | None:
        draft, self._draft = self._draft, None
        if draft is not None:
            self.sequence.drop([draft])
        return draft

    def _put_draft_aside(self) -> str:
        """Take out half-typed words and return them; their opener too, where nothing else is."""
        draft = self._take_draft()
        if draft is None:
            return ""
        if not self._unread():
            self.sequence.drop(self._open_turn())
        return draft.text

    def _read_ahead(self, words: str) -> None:
        """Make half-typed words the tail, as many of them as there is room for."""
        tokens = self.chat_format.words(words)
        if self._draft is None:
            if self.ledger.n_tokens + self._n_to_open >= self.ledger.window:
                return
            self._open(0)
            self._draft = self._add(Kind.SAID, [], words)
        draft = self._draft
        self.sequence.cut(draft, n_common(draft.tokens, tokens))
        more = tokens[len(draft.tokens) :][: self.ledger.window - self.ledger.n_tokens]
        self.sequence.make_room(len(more), self.turn)
        for token in more:
            self.ledger.append_token(token)
        draft.text = words

    def _set_said(self, words: str, n_more: int = 0) -> Segment:
        """Make the player's words the tail, keeping the tokens that are there already."""
        tokens = self.chat_format.words(words)
        draft = self._draft
        if draft is None:
            self._open(len(tokens) + n_more)
            draft = self._draft = self._add(Kind.SAID, tokens, words)
            return draft
        self._change(draft, words, n_more)
        return draft

    def _change(self, tail: Segment, words: str, n_more: int = 0) -> bool:
        """Change the words at the tail, keeping the tokens that are alike; False: it was evicted.

        Makes room for `n_more` tokens behind them.
        """
        tokens = self.chat_format.words(words)
        self.sequence.cut(tail, n_common(tail.tokens, tokens))
        self.sequence.make_room(len(tokens) - len(tail.tokens) + n_more, self.turn)
        if self.ledger.segments[-1] is not tail:
            return False
        for token in tokens[len(tail.tokens) :]:
            self.ledger.append_token(token)
        tail.text = words
        return True
