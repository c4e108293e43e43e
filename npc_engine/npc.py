"""One character: its persona, its turns, what it hears and says, as segments of its sequence.

    [persona] [OPEN EVENT EVENT SAID NOTE CLOSE extra REPLY END] [OPEN EVENT SAID-so-far
     pinned                    a past turn                          the open turn: events and half-
                                                                    typed words are read ahead

Owns which text becomes which segment. It knows the order of a chat and its token budget, but no
batch, no socket and no file.

Shares of the window that is left beside the persona and one turn's markup: a message 40 %, an
event 15 %, the notes of a turn 10 %; a reply gets what then remains. So a turn always fits once
the past has left.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from npc_engine.card import Card
from npc_engine.config import Sampling
from npc_engine.drift import Drift
from npc_engine.errors import TooLarge
from npc_engine.ledger import Kind, Ledger, Segment
from npc_engine.sequence import Cache, Sequence
from npc_engine.voice import Voice, clean

__all__ = ["USER", "Npc", "most_pinned"]

USER = "Player"
MESSAGE_SHARE = 0.40
EVENT_SHARE = 0.15
NOTES_SHARE = 0.10
SPARE = 8  # tokens kept free for what an interruption adds to a reply
MIN_WORDS = 24  # of them at least for words, beside a turn's markup
MIN_FREE = 64  # tokens that a persona must leave for talking
SILENCE = "..."
CUT_OFF = "\u2014"  # a reply that was interrupted ends with a dash, so the character knows it


@dataclass
class Npc:
    """A character and its sequence. Texts that come in may hold anything."""

    name: str
    card: Card
    voice: Voice
    sequence: Sequence
    sampling: Sampling
    turn: int = 1
    drift: Drift | None = None
    _draft: Segment | None = None

    def __post_init__(self) -> None:
        if self.sequence.keeps_states:
            self.drift = Drift(self.sequence)

    @property
    def wants_to_look(self) -> bool:
        """Whether to look what it would say next behind the next token that it reads in a pause."""
        return self.drift is not None and self.drift.wants_to_look

    @property
    def knows_world(self) -> bool:
        """Whether its persona begins with this engine's world: a save may bring another one."""
        world = self.voice.world_tokens
        return self.ledger.tokens()[: len(world)] == world

    @classmethod
    def create(
        cls,
        name: str,
        card: Card,
        voice: Voice,
        cache: Cache,
        *,
        sampling: Sampling,
        window: int,
        n_pos: int,
    ) -> "Npc":
        """Return a new character, its persona pinned and not yet read.

        `window`: tokens it may hold; `n_pos`: positions the model can do. Raises TooLarge when
        the persona leaves no room to talk.
        """
        persona = card.persona(user=USER).strip()
        tokens, joined = voice.beginning(persona)
        most = most_pinned(window, voice)
        n_world = len(voice.world_tokens)
        if len(tokens) > most:
            raise _too_large(name, len(tokens), n_world, window, most)
        ledger = Ledger(window, n_pos, joined=joined)
        if n_world:
            ledger.append(Segment(Kind.PERSONA, tokens[:n_world], voice.world, pinned=True))
        ledger.append(Segment(Kind.PERSONA, tokens[n_world:], persona, pinned=True))
        return cls(name, card, voice, Sequence(ledger, cache), sampling)

    def stop_reading_again(self) -> None:
        """Somebody speaks to it: go on from the cache as it was before this pause."""
        if self.drift is not None:
            self.drift.give_up()
        self.sequence.give_up_reading_again()

    @property
    def ledger(self) -> Ledger:
        """The ledger of its sequence."""
        return self.sequence.ledger

    def _share(self, part: float) -> int:
        free = self.ledger.window - self.ledger.n_pinned - self.voice.n_markup - SPARE
        return max(0, int(free * part))

    def greet(self, greeting: str) -> None:
        """Put the card's first words behind the persona, as the reply to the player's coming.

        As a turn, since a model repeats what it is told that it said, and goes on from what it
        said itself.
        """
        words, _ = self.voice.fit(clean(greeting), self._share(MESSAGE_SHARE))
        if not words:
            return
        self.insert(self.as_event(f"{USER} comes up to {self.card.char}."), words)

    def insert(self, event: str, reply: str, pinned: bool = False) -> int:
        """Put a whole turn before the open one: what happened, and how it was taken.

        `event` is one of `as_event`. Returns the turn's number.
        """
        self.sequence.make_room(self.n_turn(event, reply), self.turn)
        since = self._open_turn()  # after making room: events may have left it
        self.sequence.drop(since)
        self._open(0)
        self._add(Kind.EVENT, self.voice.words(event), event)
        self._add(Kind.CLOSE, list(self.voice.close))
        self._add(Kind.REPLY, self.voice.lead + self.voice.words(reply), reply)
        self._add(Kind.END, list(self.voice.end))
        if pinned:
            self.ledger.pin(self._open_turn(), True)
        self.turn += 1
        if since:
            self._open(0)
        for segment in since:
            if segment.kind is not Kind.OPEN:
                segment.turn = self.turn
                self.sequence.append(segment)
        return self.turn - 1

    def n_turn(self, event: str, reply: str) -> int:
        """Return how many tokens `insert` adds."""
        words = self.voice.words(event) + self.voice.lead + self.voice.words(reply)
        return len(words) + self.voice.n_markup

    # -- what it hears ---------------------------------------------------------------------

    def perceive(self, text: str, importance: float = 0.5, expires: float | None = None) -> None:
        """Add an event to the open turn. `expires`: a time of the engine's clock."""
        text, _ = self.voice.fit(clean(text), self._share(EVENT_SHARE))
        if not text:
            return
        line = self.as_event(text)
        tokens = self.voice.words(line)
        draft = self._take_draft()
        self._open(len(tokens) + (len(draft.tokens) if draft else 0))
        self._add(Kind.EVENT, tokens, line, importance=importance, expires=expires)
        if draft is not None:
            self._draft = self._add(Kind.SAID, draft.tokens, draft.text)

    @staticmethod
    def as_event(text: str) -> str:
        """Return an event as a paragraph of a user turn."""
        return (text if text.startswith("*") else f"*{text}*") + "\n"

    def hear(self, speaker: str, text: str) -> None:
        """Read the player's line so far; the `say` that follows reuses what is alike."""
        words, _ = self._said(speaker, text)
        self._set_said(words)

    def expire(self, now: float) -> None:
        """Forget events of the open turn whose time is over."""
        old = [s for s in self._open_turn() if s.expires is not None and s.expires <= now]
        self.sequence.drop(old)

    def say(self, speaker: str, text: str, notes: Seq[str] = ()) -> tuple[int, int, bool]:
        """Close the open turn with the player's words, and open the reply.

        Returns (n_prompt, n_cached, truncated): tokens that the turn's words and markup have,
        tokens that were in the cache already, whether the message was cut.
        """
        words, truncated = self._said(speaker, text)
        aside, notes_cut = self._notes(notes)
        tail = len(aside) + len(self.voice.close) + len(self.voice.extra)
        said = self._set_said(words, tail)
        n_cached = self.ledger.n_cells
        self._draft = None
        if aside:
            self._add(Kind.NOTE, aside)
        self._add(Kind.CLOSE, list(self.voice.close))
        if self.voice.extra:
            self._add(Kind.NOTE, list(self.voice.extra))
        self._add(Kind.REPLY, [])
        return len(said.tokens) + tail, n_cached, truncated or notes_cut

    def _said(self, speaker: str, text: str) -> tuple[str, bool]:
        speaker = clean(speaker).replace("\n", " ")
        words = clean(text) or SILENCE
        if speaker and speaker != USER:
            words = f"{speaker}: {words}"
        words, cut = self.voice.fit(words, self._share(MESSAGE_SHARE))
        return words or SILENCE, cut

    def _notes(self, notes: Seq[str]) -> tuple[list[int], bool]:
        """After the message, not before: what was read of it ahead stays valid."""
        text = "\n".join(filter(None, map(clean, notes)))
        if not text:
            return [], False
        text, cut = self.voice.fit(text, self._share(NOTES_SHARE))
        if not text:
            return [], cut
        return self.voice.words(f"\n({text})"), cut

    def _set_said(self, words: str, n_more: int = 0) -> Segment:
        """Make the player's words the tail, keeping the tokens that are there already."""
        tokens = self.voice.words(words)
        draft = self._draft
        if draft is None:
            self._open(len(tokens) + n_more)
            draft = self._draft = self._add(Kind.SAID, tokens, words)
            return draft
        self.sequence.cut(draft, _n_common(draft.tokens, tokens))
        self.sequence.make_room(len(tokens) - len(draft.tokens) + n_more, self.turn)
        for token in tokens[len(draft.tokens) :]:
            self.ledger.append_token(token)
        draft.text = words
        return draft

    def _take_draft(self) -> Segment | None:
        draft, self._draft = self._draft, None
        if draft is not None:
            self.sequence.drop([draft])
        return draft

    def _open(self, n_more: int) -> None:
        """Make room for `n_more` tokens in an open user turn."""
        self.sequence.make_room(n_more + len(self.voice.open), self.turn)
        if not self._open_turn() and self.ledger.wants_opener:
            self._add(Kind.OPEN, list(self.voice.open))

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

    def settled(self) -> list[Segment]:
        """All segments but a line being spoken and the words it answers, or half-typed words."""
        kept = (Kind.OPEN, Kind.EVENT)
        return [s for s in self.ledger.segments if s.turn != self.turn or s.kind in kept]

    def relive(
        self, kind: Kind, text: str, turn: int, importance: float, pinned: bool = False
    ) -> None:
        """Add a segment of an earlier life from its text alone, in this model's tokens."""
        if kind is Kind.PERSONA or kind is Kind.NOTE:
            return
        self.turn = turn
        if kind in (Kind.OPEN, Kind.EVENT, Kind.SAID):
            self._open(0)
        if kind is Kind.CLOSE:
            self._add(kind, list(self.voice.close))
        elif kind is Kind.END:
            self._add(kind, list(self.voice.end))
        elif kind is not Kind.OPEN:
            text, _ = self.voice.fit(text, self._share(MESSAGE_SHARE))
            self._add(kind, self.voice.words(text), text, importance)
        if pinned:
            self.ledger.pin(self._open_turn(), True)

    # -- what it says ----------------------------------------------------------------------

    @property
    def reply(self) -> Segment:
        """The reply under way: the last segment while the character speaks."""
        return self.ledger.segments[-1]

    def reply_limit(self, wanted: int) -> int:
        """Return how many tokens a reply may have so that the turn fits beside the persona."""
        turn = sum(len(s.tokens) for s in self._open_turn() if s.kind is not Kind.EVENT)
        room = self.ledger.window - self.ledger.n_pinned - turn - len(self.voice.end) - SPARE
        return max(1, min(wanted, room))

    def speak(self, token: int) -> None:
        """Add a sampled token to the reply, evicting the past when it outgrows the window."""
        if not self.reply.tokens:
            self.sequence.keep_state()
        self.sequence.make_room(1, self.turn)
        self.ledger.append_token(token)

    def finish(self, text: str, n_bytes: int, interrupted: bool) -> None:
        """End the reply: keep its first `n_bytes` bytes, close the turn, forget its notes."""
        self.sequence.drop([s for s in self._open_turn() if s.kind is Kind.NOTE])
        self.sequence.make_room(len(self.voice.end) + SPARE, self.turn)
        self._cut_reply(n_bytes, interrupted)
        self.reply.text = text
        self.sequence.keep_state()
        self._add(Kind.END, list(self.voice.end))
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
        self.sequence.drop(since)
        self._cut_reply(n_bytes, interrupted=True)
        self.reply.text = text
        for segment in since:
            self.sequence.append(segment)
        self.sequence.make_room(0, self.turn)
        return True

    def _cut_reply(self, n_bytes: int, interrupted: bool) -> None:
        reply = self.reply
        n_keep, rest = self.voice.beginning_of(reply.tokens, n_bytes)
        self.sequence.cut(reply, n_keep)
        rest += CUT_OFF if interrupted else ""
        for token in self.voice.words(rest) if rest else []:
            self.ledger.append_token(token)


def _too_large(name: str, n: int, n_world: int, window: int, most: int) -> TooLarge:
    of_these, what = (
        (f", {n_world} of them for the world", "card or world") if n_world else ("", "card")
    )
    shorten = f"Shorten the {what} to at most {most} tokens, or give" if most > 0 else "Give"
    return TooLarge(
        f"The persona of {name!r} takes {n} tokens of a window of {window}{of_these}.",
        f"{shorten} a larger window.",
    )


def most_pinned(window: int, voice: Voice) -> int:
    """Return how many tokens a persona may take of a window, so that there is room to talk."""
    return window - max(MIN_FREE, window // 4, voice.n_markup + MIN_WORDS)


def _n_common(a: Seq[int], b: Seq[int]) -> int:
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n
