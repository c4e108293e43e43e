"""One character: its persona, its turns, what it hears and says, as segments of its sequence.

    [persona] [OPEN EVENT EVENT SAID NOTE CLOSE extra REPLY END] [OPEN EVENT SAID-so-far
     pinned                    a past turn                          the open turn: events and half-
                                                                    typed words are read ahead

Owns the order of a chat: persona, whole turns, the reply, and how these are taken back. What comes
into the open turn is `hearing`'s. It knows no batch, no socket and no file.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from npc_engine.cards.card import Card
from npc_engine.config import Sampling
from npc_engine.dialogue.hearing import USER, Hearing
from npc_engine.dialogue.open_turn import MESSAGE_SHARE, SPARE
from npc_engine.errors import TooLarge
from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.kvcache.recurrent_drift import RecurrentDrift
from npc_engine.kvcache.sequence import Cache, Sequence
from npc_engine.text.chat_format import ChatFormat, clean, most_characters

__all__ = ["CUT_OFF", "USER", "Dialogue", "check_persona", "most_pinned"]

MIN_WORDS = 24  # of them at least for words, beside a turn's markup
MIN_FREE = 64  # tokens that a persona must leave for talking
CUT_OFF = "\u2014"  # a reply that was interrupted ends with a dash, so the character knows it


@dataclass
class Dialogue(Hearing):
    """A character and its sequence.

    `n_rewinds`: how often it went back in the talk. `extra`, `extra_header`: what a newer version
    saved with it (see `unknown_keys`).
    """

    name: str
    card: Card
    chat_format: ChatFormat
    sequence: Sequence
    sampling: Sampling
    turn: int = 1
    drift: RecurrentDrift | None = None
    n_rewinds: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    extra_header: dict[str, Any] = field(default_factory=dict)
    _draft: Segment | None = None

    def __post_init__(self) -> None:
        if self.sequence.keeps_states:
            self.drift = RecurrentDrift(self.sequence)

    @property
    def wants_to_look(self) -> bool:
        """Whether to look what it would say next behind the next token that it reads in a pause."""
        return self.drift is not None and self.drift.wants_to_look

    @property
    def knows_world(self) -> bool:
        """Whether its persona begins with this engine's world: a save may bring another one."""
        world = self.chat_format.world_tokens
        return self.ledger.tokens()[: len(world)] == world

    @classmethod
    def create(
        cls,
        name: str,
        card: Card,
        chat_format: ChatFormat,
        cache: Cache,
        *,
        sampling: Sampling,
        window: int,
        n_pos: int,
    ) -> "Dialogue":
        """Return a new character, its persona pinned and not yet read.

        `window`: tokens it may hold; `n_pos`: positions the model can do. Raises TooLarge when
        the persona leaves no room to talk.
        """
        persona = card.persona(user=USER).strip()
        room = most_characters(window)
        tokens, joined = chat_format.beginning(persona[:room])
        is_cut = len(persona) > room
        n_tokens = max(len(tokens), window) if is_cut else len(tokens)
        check_persona(name, n_tokens, window, chat_format, "over " if is_cut else "")
        n_world = len(chat_format.world_tokens)
        ledger = Ledger(window, n_pos, joined=joined)
        if n_world:
            ledger.append(Segment(Kind.PERSONA, tokens[:n_world], chat_format.world, pinned=True))
        ledger.append(Segment(Kind.PERSONA, tokens[n_world:], persona, pinned=True))
        return cls(name, card, chat_format, Sequence(ledger, cache), sampling)

    def stop_reading_again(self) -> None:
        """Somebody speaks to it: go on from the cache as it was before this pause."""
        if self.drift is not None:
            self.drift.give_up()
        self.sequence.give_up_reading_again()

    def greet(self, greeting: str) -> None:
        """Put the card's first words behind the persona, as the reply to the player's coming.

        As a turn, since a model repeats what it is told that it said, and goes on from what it
        said itself.
        """
        words, _ = self.chat_format.fit(clean(greeting), self._share(MESSAGE_SHARE))
        if not words:
            return
        self.insert(self.as_event(f"{USER} comes up to {self.card.char}."), words)

    def insert(self, event: str, reply: str, pinned: bool = False) -> int:
        """Put a whole turn before the open one: what happened, and how it was taken.

        `event` is one of `as_event`. Returns the turn's number.
        """
        draft = self._put_draft_aside()
        self.sequence.make_room(self.n_turn(event, reply), self.turn)
        since = self._open_turn()  # after making room: events may have left it
        self.sequence.drop(since)
        self._open(0)
        self._add(Kind.EVENT, self.chat_format.words(event), event)
        self._add(Kind.CLOSE, list(self.chat_format.close))
        self._add(Kind.REPLY, self.chat_format.lead + self.chat_format.words(reply), reply)
        self._add(Kind.END, list(self.chat_format.end))
        if pinned:
            self.ledger.pin(self._open_turn(), True)
        self.turn += 1
        if since:
            self._open(0)
        for segment in since:
            if segment.kind is not Kind.OPEN:
                segment.turn = self.turn
                self.sequence.append(segment)
        if draft:
            self._read_ahead(draft)
        return self.turn - 1

    def n_turn(self, event: str, reply: str) -> int:
        """Return how many tokens `insert` adds."""
        words = (
            self.chat_format.words(event) + self.chat_format.lead + self.chat_format.words(reply)
        )
        return len(words) + self.chat_format.n_markup

    def settled(self) -> list[Segment]:
        """All segments but a line being spoken and the words it answers, or half-typed words.

        What others said in its presence stays, also where it is what the line answers.
        """
        kept = (Kind.OPEN, Kind.EVENT)
        return [
            s for s in self.ledger.segments if s.turn != self.turn or s.kind in kept or s.utterance
        ]

    def relive(
        self,
        kind: Kind,
        text: str,
        turn: int,
        importance: float,
        pinned: bool = False,
        cut_off: bool = False,
    ) -> bool:
        """Add a segment of an earlier life from its text alone, in this model's tokens.

        Nothing leaves for it: whoever tells a whole life makes room once, at its end. Returns
        whether it is the last one now: the persona, an opener and notes are not told so.
        `cut_off`: a reply that was interrupted.
        """
        if kind is Kind.PERSONA or kind is Kind.NOTE:
            return False
        self.turn = turn
        if kind in (Kind.OPEN, Kind.EVENT, Kind.SAID):
            self._begin_line()
        if kind is Kind.CLOSE:
            self._add(kind, list(self.chat_format.close))
        elif kind is Kind.END:
            self._add(kind, list(self.chat_format.end))
        elif kind is not Kind.OPEN:
            text, _ = self.chat_format.fit(text, self._share(MESSAGE_SHARE))
            lead = self.chat_format.lead if kind is Kind.REPLY else []
            words = self.chat_format.words(text + CUT_OFF if cut_off else text)
            self._add(kind, lead + words, text, importance).cut_off = cut_off
        if pinned:
            tail = reversed(self.ledger.segments)
            self.ledger.pin(list(takewhile(lambda s: s.turn == turn and not s.pinned, tail)), True)
        return kind is not Kind.OPEN

    # -- what it says ----------------------------------------------------------------------

    @property
    def reply(self) -> Segment:
        """The reply under way: the last segment while the character speaks."""
        return self.ledger.segments[-1]

    def reply_limit(self, wanted: int) -> int:
        """Return how many tokens a reply may have so that the turn fits beside the persona."""
        turn = sum(len(s.tokens) for s in self._open_turn() if s.kind is not Kind.EVENT)
        room = self.ledger.window - self.ledger.n_pinned - turn - len(self.chat_format.end) - SPARE
        return max(1, min(wanted, room))

    def speak(self, token: int) -> None:
        """Add a sampled token to the reply, evicting the past when it outgrows the window."""
        if not self.reply.tokens:
            self.sequence.keep_state()
        self.sequence.make_room(1, self.turn)
        self.ledger.append_token(token)

    def set_aside(self) -> int:
        """Take all of the reply so far for a note, which leaves when the turn ends.

        Returns how many bytes that is. A recurrent state has read it and cannot forget it without
        reading the turn again: there it stays.
        """
        thought = self.reply
        if self.sequence.keeps_states:
            return 0
        thought.kind = Kind.NOTE
        self._add(Kind.REPLY, [])
        return sum(len(self.chat_format.piece(token)) for token in thought.tokens)

    def finish(self, text: str, n_bytes: int, interrupted: bool, utterance: int = 0) -> None:
        """End the reply: keep its first `n_bytes` bytes, close the turn, forget its notes.

        `utterance`: as what others heard it, 0 when nobody did.
        """
        self.sequence.drop([s for s in self._open_turn() if s.kind is Kind.NOTE])
        self.sequence.make_room(len(self.chat_format.end) + SPARE, self.turn)
        self._cut_reply(n_bytes, interrupted)
        self.reply.text, self.reply.utterance = text, utterance
        self.sequence.keep_state()
        self._add(Kind.END, list(self.chat_format.end))
        self.turn += 1

    def cut_back(self, turn: int, text: str, n_bytes: int) -> bool:
        """Cut the reply of the turn that was spoken last to its first `n_bytes` bytes.

        What was heard and pinned since keeps its place behind it. False when it has left, or when
        something was said since.
        """
        segments = self.ledger.segments
        replies = [i for i, s in enumerate(segments) if s.kind is Kind.REPLY and s.turn == turn]
        since = segments[replies[0] + 1 :] if replies else []
        if not replies or any(s.kind is Kind.SAID and s.turn < self.turn for s in since):
            return False
        draft = self._put_draft_aside()
        since = self.ledger.segments[replies[0] + 1 :]
        self.sequence.drop(since)
        self._cut_reply(n_bytes, interrupted=True)
        self.reply.text = text
        for segment in since:
            self.sequence.append(segment)
        self.sequence.make_room(0, self.turn)
        if draft:
            self._read_ahead(draft)
        return True

    @property
    def speakers(self) -> list[str]:
        """The others whose words are in its window."""
        named = dict.fromkeys(s.speaker for s in self.ledger.segments if s.speaker)
        return [name for name in named if name not in (self.card.char, self.card.name)]

    @property
    def last_spoken(self) -> int:
        """The last turn that is over and in which it answered somebody, 0 when there is none."""
        answered = (s.turn for s in self.ledger.segments if s.kind is Kind.SAID)
        return max((turn for turn in answered if turn < self.turn), default=0)

    def turn_of(self, utterance: int) -> int:
        """Return the turn whose reply was this utterance, 0 when it has left."""
        replies = (s for s in self.ledger.segments if s.kind is Kind.REPLY)
        return next((s.turn for s in replies if s.utterance == utterance), 0)

    def take_back(self, gone: Collection[int]) -> bool:
        """Take back the turns whose replies are in `gone`, and what it heard of that talk.

        What else it heard in these turns stays, in the open one, and so does what was said to it
        since, with its answers. Nothing changes when one of those turns is pinned. Returns whether
        there were any.
        """
        segments = self.ledger.segments
        turns = {s.turn for s in segments if s.kind is Kind.REPLY and s.utterance in gone}
        since = [s for s in segments if s.turn in turns]
        heard = [s for s in segments if s.kind is Kind.EVENT and s.utterance in gone]
        if any(s.pinned for s in since) or not since + heard:
            return False
        draft = self._take_draft()
        if turns and all(s.turn in turns for s in self._closed_since(min(turns))):
            since += self._open_turn()  # their numbers are free again
            self.turn = min(turns)
        self.sequence.drop(since + [s for s in heard if s not in since and not s.pinned])
        self.sequence.drop(self.ledger.orphans())
        for s in since:
            # What was said to it and heard by nobody else was the scene's own cue.
            is_heard = s.kind is Kind.EVENT or (s.kind is Kind.SAID and s.utterance)
            if is_heard and s.utterance not in gone:
                line = s.text if s.text.endswith("\n") else s.text + "\n"
                event = self._add_event(line, s.importance, s.expires, bool(s.utterance))
                event.utterance, event.speaker = s.utterance, s.speaker
        if draft is not None:
            self._read_ahead(draft.text)
        return bool(turns)

    def _closed_since(self, turn: int) -> list[Segment]:
        return [s for s in self.ledger.segments if turn <= s.turn < self.turn]

    def rewind(self, first: int) -> None:
        """Forget its turns from `first` on, pinned ones too, and all that it perceived since then.

        It is as if they had never been: the next turn has the number `first` again.
        """
        self.stop_reading_again()
        self._draft = None
        since = [s for s in self.ledger.segments if s.turn >= first and s.kind is not Kind.PERSONA]
        self.sequence.drop(since)
        self.turn = first
        self.n_rewinds += 1

    def quotable(self) -> list[str]:
        """Return what it may say again and again: all that was told to it, and its pins.

        What others say in its presence is not: they would echo each other.
        """
        own = (Kind.REPLY, Kind.OPEN, Kind.CLOSE, Kind.END)
        told = [self.card.char]
        told += [
            s.text
            for s in self.ledger.segments
            if s.pinned or (s.kind not in own and not s.utterance)
        ]
        return told

    @property
    def half_typed(self) -> Segment | None:
        """What the player has typed so far and not said."""
        return self._draft

    def _cut_reply(self, n_bytes: int, interrupted: bool) -> None:
        reply = self.reply
        n_keep, rest = self.chat_format.beginning_of(reply.tokens, n_bytes)
        self.sequence.cut(reply, n_keep)
        reply.cut_off = interrupted
        rest += CUT_OFF if interrupted else ""
        for token in self.chat_format.words(rest) if rest else []:
            self.ledger.append_token(token)


def check_persona(
    name: str, n_tokens: int, window: int, chat_format: ChatFormat, over: str = ""
) -> None:
    """Raise TooLarge when a persona of `n_tokens`, with the world, leaves no room to talk.

    `over`: "over " where there are more of them, and nobody has counted.
    """
    most = most_pinned(window, chat_format)
    if n_tokens <= most:
        return
    n_world = len(chat_format.world_tokens)
    of_these, what = (
        (f", {n_world} of them for the world", "card or world") if n_world else ("", "card")
    )
    shorten = f"Shorten the {what} to at most {most} tokens, or give" if most > 0 else "Give"
    raise TooLarge(
        f"The persona of {name!r} takes {over}{n_tokens} tokens of a window of {window}{of_these}.",
        f"{shorten} a larger window.",
    )


def most_pinned(window: int, chat_format: ChatFormat) -> int:
    """Return how many tokens a persona may take of a window, so that there is room to talk."""
    return window - max(MIN_FREE, window // 4, chat_format.n_markup + MIN_WORDS)
