"""One character: its persona, its turns, what it hears and says, as segments of its sequence.

    [persona] [OPEN EVENT EVENT SAID NOTE CLOSE extra REPLY END] [OPEN EVENT SAID-so-far
     pinned                    a past turn                          the open turn: events and half-
                                                                    typed words are read ahead

Owns the order of a chat: persona, whole turns, the words that close the open one, and the reply.
What comes into the open turn is `open_turn`'s. It knows no batch, no socket and no file.
"""

from collections.abc import Sequence as Seq
from itertools import takewhile
from typing import Any

from npc_engine.cards.card import Card
from npc_engine.config import Sampling
from npc_engine.dialogue.open_turn import OpenTurn
from npc_engine.dialogue.paragraphs import SPARE, USER, Paragraphs, as_event, label_of, own_turn
from npc_engine.dialogue.persona import beginning
from npc_engine.kvcache.cache import Cache
from npc_engine.kvcache.ledger import Kind, Segment
from npc_engine.kvcache.recurrent_drift import RecurrentDrift
from npc_engine.kvcache.sequence import Sequence
from npc_engine.text.chat_format import ChatFormat, clean

__all__ = ["CUT_OFF", "Dialogue"]

CUT_OFF = "\u2014"  # a reply that was interrupted ends with a dash, so the character knows it


class Dialogue:
    """A character and its sequence: past turns, the open one, and the reply under way.

    `n_rewinds`: how often it went back in the talk. `extra`, `extra_header`: what a newer version
    saved with it (see `saving.records`).
    """

    def __init__(
        self,
        name: str,
        card: Card,
        chat_format: ChatFormat,
        sequence: Sequence,
        sampling: Sampling,
        turn: int = 1,
    ) -> None:
        self.name = name
        self.card = card
        self.chat_format = chat_format
        self.sequence = sequence
        self.ledger = sequence.ledger
        self.sampling = sampling
        self.paragraphs = Paragraphs(chat_format, sequence.ledger)
        self.open_turn = OpenTurn(sequence, chat_format, self.paragraphs, turn)
        self.drift = RecurrentDrift(sequence) if sequence.keeps_states else None
        self.n_rewinds = 0
        self.extra: dict[str, Any] = {}
        self.extra_header: dict[str, Any] = {}

    @property
    def turn(self) -> int:
        """The number of the open turn."""
        return self.open_turn.number

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
        ledger = beginning(name, card, chat_format, window, n_pos)
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
        words, _ = self.paragraphs.message(clean(greeting))
        if not words:
            return
        self.insert(as_event(f"{USER} comes up to {self.card.char}."), words)

    def insert(self, event: str, reply: str, pinned: bool = False) -> int:
        """Put a whole turn before the open one: what happened, and how it was taken.

        `event` is one of `as_event`. Returns the turn's number.
        """
        typed = self.open_turn.put_typed_aside()
        self.sequence.make_room(self.n_turn(event, reply), self.turn)
        since = self.open_turn.segments  # after making room: events may have left it
        self.sequence.drop(since)
        self.open_turn.open(0)
        self.open_turn.add(Kind.EVENT, self.chat_format.words(event), event)
        self.open_turn.add(Kind.CLOSE, list(self.chat_format.close))
        self.open_turn.add(Kind.REPLY, self.chat_format.lead + self.chat_format.words(reply), reply)
        self.open_turn.add(Kind.END, list(self.chat_format.end))
        if pinned:
            self.ledger.pin(self.open_turn.segments, True)
        self.open_turn.number += 1
        if since:
            self.open_turn.open(0)
        for segment in since:
            if segment.kind is not Kind.OPEN:
                segment.turn = self.turn
                self.sequence.append(segment)
        if typed:
            self.open_turn.read_ahead(typed)
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
        self.open_turn.number = turn
        if kind in (Kind.OPEN, Kind.EVENT, Kind.SAID):
            self.open_turn.begin_line()
        if kind is Kind.CLOSE:
            self.open_turn.add(kind, list(self.chat_format.close))
        elif kind is Kind.END:
            self.open_turn.add(kind, list(self.chat_format.end))
        elif kind is not Kind.OPEN:
            text, _ = self.paragraphs.message(text)
            lead = self.chat_format.lead if kind is Kind.REPLY else []
            words = self.chat_format.words(text + CUT_OFF if cut_off else text)
            self.open_turn.add(kind, lead + words, text, importance).cut_off = cut_off
        if pinned:
            tail = reversed(self.ledger.segments)
            self.ledger.pin(list(takewhile(lambda s: s.turn == turn and not s.pinned, tail)), True)
        return kind is not Kind.OPEN

    # -- what is said to it, and what it says ----------------------------------------------------

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
        heard = self.open_turn.take_up(speaker, answers) if answers else ""
        if answers and not heard and answers in self.utterances:  # spoken to since: not once more
            speaker, text, answers = USER, own_turn(self.card.char), 0
        words, truncated = (
            self.paragraphs.answered(heard) if heard else self.paragraphs.said(speaker, text)
        )
        aside, notes_cut = self.paragraphs.notes(notes)
        close, extra = list(self.chat_format.close), list(self.chat_format.extra)
        if among_others:
            (extra or close).extend(self.paragraphs.own_label(self.card.char))
        n_behind = len(aside) + len(close) + len(extra)
        said = self.open_turn.end_with(words, n_behind)
        said.utterance = answers if heard else 0
        said.speaker = "" if among_others and not answers else label_of(speaker)[:-2]
        n_cached = self.ledger.n_cells
        if aside:
            self.open_turn.add(Kind.NOTE, aside)
        self.open_turn.add(Kind.CLOSE, close)
        if extra:
            self.open_turn.add(Kind.NOTE, extra)
        self.open_turn.add(Kind.REPLY, [])
        return len(said.tokens) + n_behind, n_cached, truncated or notes_cut

    @property
    def reply(self) -> Segment:
        """The reply under way: the last segment while the character speaks."""
        return self.ledger.segments[-1]

    def reply_limit(self, wanted: int) -> int:
        """Return how many tokens a reply may have so that the turn fits beside the persona."""
        turn = sum(len(s.tokens) for s in self.open_turn.segments if s.kind is not Kind.EVENT)
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
        self.open_turn.add(Kind.REPLY, [])
        return sum(len(self.chat_format.piece(token)) for token in thought.tokens)

    def finish(self, text: str, n_bytes: int, interrupted: bool, utterance: int = 0) -> None:
        """End the reply: keep its first `n_bytes` bytes, close the turn, forget its notes.

        `utterance`: as what others heard it, 0 when nobody did.
        """
        self.sequence.drop([s for s in self.open_turn.segments if s.kind is Kind.NOTE])
        self.sequence.make_room(len(self.chat_format.end) + SPARE, self.turn)
        self.cut_reply(n_bytes, interrupted)
        self.reply.text, self.reply.utterance = text, utterance
        self.sequence.keep_state()
        self.open_turn.add(Kind.END, list(self.chat_format.end))
        self.open_turn.number += 1

    # -- what it knows of its talk -----------------------------------------------------------

    @property
    def utterances(self) -> set[int]:
        """All talk of which it knows something."""
        return {s.utterance for s in self.ledger.segments if s.utterance}

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

    def rewind(self, first: int) -> None:
        """Forget its turns from `first` on, pinned ones too, and all that it perceived since then.

        It is as if they had never been: the next turn has the number `first` again.
        """
        self.stop_reading_again()
        self.open_turn.typed = None
        since = [s for s in self.ledger.segments if s.turn >= first and s.kind is not Kind.PERSONA]
        self.sequence.drop(since)
        self.open_turn.number = first
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

    def cut_reply(self, n_bytes: int, interrupted: bool) -> None:
        """Keep the first `n_bytes` bytes of the reply, which is the last segment."""
        reply = self.reply
        n_keep, rest = self.chat_format.beginning_of(reply.tokens, n_bytes)
        self.sequence.cut(reply, n_keep)
        reply.cut_off = interrupted
        rest += CUT_OFF if interrupted else ""
        for token in self.chat_format.words(rest) if rest else []:
            self.ledger.append_token(token)
