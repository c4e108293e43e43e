"""One character on the stage: what it has taken in, and what it is saying.

Owns how its inbox is served, and the way of one reply from begin to its terminal record. It knows
its own sequence and a sampler, but no batch, no other character and no socket.
"""

import logging
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

from npc_engine.characters.generation import MAX_SILENT_TOKENS, Generation
from npc_engine.characters.inbox import Heard, Inbox, Waiting, priority_of
from npc_engine.characters.unread_events import Flood, Unread
from npc_engine.config import N_RECENT, Sampling
from npc_engine.dialogue import history as past
from npc_engine.dialogue import overheard, pins
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.overheard import Cue, Overheard, Unheard, Unsaid
from npc_engine.dialogue.paragraphs import USER
from npc_engine.dialogue.taking_back import cut_back
from npc_engine.errors import Busy, Internal, NpcError, RequestError, UnknownNpc
from npc_engine.kvcache.ledger import Kind
from npc_engine.protocol import (
    Done,
    DoneStats,
    Event,
    Hear,
    Ok,
    Pin,
    Reply,
    Rewind,
    Say,
    Unpin,
    error_reply,
)
from npc_engine.scenes.audience import Audience
from npc_engine.scheduling.batching import Claim, Priority

__all__ = ["Character", "Samples", "Send", "Why"]

log = logging.getLogger("npc_engine")

Send = Callable[[bytes, Reply], None]
Why = Literal["stop", "length", "cancelled", "slow_client"]


class Samples(Protocol):
    """What speaking needs of the backend."""

    def sampler(
        self,
        sampling: Sampling,
        seed: int,
        recent: Sequence[int],
        quotable: Callable[[], Iterable[str]],
    ) -> Any:
        """Return a sampler for one reply."""

    def sample(self, row: int, sampler: Any, may_end: bool) -> int:
        """Choose a token from a row of the last batch."""


class Character:
    """An Npc with its inbox. `send` takes replies; `clock` gives seconds.

    `max_tokens`: of a reply. `max_events` unread ones are kept; `flood` counts those that are not.
    `n_changes` counts whenever what a save holds of it may have changed, but not each token.
    `on_line` is called before it takes up a line: what makes room for that has not left yet.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        backend: Samples,
        send: Send,
        clock: Callable[[], float],
        max_tokens: int,
        max_events: int,
        flood: Flood,
        on_change: Callable[["Character"], None] = lambda _character: None,
    ) -> None:
        self.dialogue = dialogue
        self.claim = Claim(dialogue.name, dialogue.sequence, Priority.IDLE, 0)
        self.speaking: Generation | None = None
        self.audience: Audience | None = None
        self._said: Generation | None = None
        self._unread = Unread(dialogue.open_turn, max_events, flood)
        self.inbox = Inbox(dialogue.name, self._unread)
        self._backend = backend
        self._send = send
        self._clock = clock
        self._max_tokens = max_tokens
        self._n_changes = 0
        self._on_change = on_change
        self.on_line: Callable[[Character], None] | None = None
        self._unread.look_again(clock())  # it may come from a save, with events that end

    @property
    def n_changes(self) -> int:
        """How often what a save holds of it may have changed. `on_change` hears of each time."""
        return self._n_changes

    @n_changes.setter
    def n_changes(self, n: int) -> None:
        self._n_changes = n
        self._on_change(self)

    @property
    def wants(self) -> bool:
        """Whether it wants a place in the next batch, or a slot before it is spoken to."""
        return self.claim.called or (self.dialogue.sequence.n_pending > 0 and not self.claim.asleep)

    @property
    def is_pressed(self) -> bool:
        """Whether it speaks, or something other than events waits for it."""
        return self.speaking is not None or self.claim.called or not self.inbox.has_only_events

    @property
    def next_end(self) -> float:
        """When the next event that it has perceived is over, and nobody has answered."""
        return self._unread.next_end

    @property
    def is_speaking(self) -> bool:
        """Whether it is amid a reply."""
        return self.speaking is not None

    def waiting(self, kind: type[Heard]) -> list[Any]:
        """Return the requests of one kind that wait, oldest first."""
        return [w.request for w in self.inbox.all_of(kind)]

    def take(self, client: bytes, request: Heard, order: int, max_queue: int) -> None:
        """Put a request into the inbox. Raises Busy when too many that want an answer wait."""
        self.inbox.put(Waiting(client, request, self._clock(), order), max_queue)
        self.n_changes += 1
        self.claim.asleep = False

    def attend(self, order: int) -> None:
        """It is about to be spoken to: it is called in and read first. `order`: of arrival."""
        self.claim.expected = order
        self.claim.called = True
        self.claim.asleep = False

    def advance(self) -> None:
        """Serve the inbox in order, up to the next line that it has to answer."""
        self.claim.watched = self.dialogue.wants_to_look
        self.claim.listening = self.audience is not None
        if self.speaking is None and self._unread.next_end <= self._clock():
            self._unread.expire(self._clock())
            self.n_changes += 1
        self._give_way()
        while self.inbox and self.speaking is None:
            self._serve_next()
        if self.speaking is not None:
            self.claim.priority = self._inherited(self.speaking.request)

    def _give_way(self) -> None:
        """Break off for a line of the player that waits: what has come as whole lines was said.

        What came before that and was begun behind it is answered with one line at least.
        """
        speaking = self.speaking
        if speaking is None or speaking.request.priority == "player":
            return
        if self.inbox.player_waits and (speaking.whole_lines or not speaking.was_hurried):
            self._interrupt("cancelled", speaking.whole_lines)

    def _inherited(self, answered: Say) -> Priority:
        """The priority of what it answers, or of what waits behind that, where it is higher."""
        return min(map(priority_of, [answered, *self.waiting(Say)]))

    def catch_up(self) -> None:
        """Serve the inbox up to the next line that it has to answer, and not that."""
        while self.inbox and self.speaking is None:
            if isinstance(self.inbox.first, Say):
                return
            self._serve_next()

    def _serve_next(self) -> None:
        waiting = self.inbox.take_first()
        self.n_changes += 1
        try:
            self._serve(waiting)
        except NpcError as error:
            log.error("%s could not be served: %s", type(waiting.request).__name__, error)
            self._refuse(waiting, error)
        except Exception:
            log.exception("%s could not be served", type(waiting.request).__name__)
            self._refuse(waiting, Internal("The engine failed.", "Its log has the details."))

    def _refuse(self, waiting: Waiting, error: NpcError) -> None:
        if isinstance(waiting.request, Say | Pin | Unpin | Rewind):  # no other answer is due
            self._send(waiting.client, error_reply(error, waiting.request.id))

    def _serve(self, waiting: Waiting) -> None:
        request = waiting.request
        if isinstance(request, Say):
            self._begin(waiting, request)
        elif isinstance(request, Hear):
            self.dialogue.open_turn.read_typed(request.speaker, request.text)
        elif isinstance(request, Event):
            self._unread.perceive(request, waiting.received, self._clock())
        elif isinstance(request, Overheard):
            overheard.overhear(self.dialogue, request.utterance, request.speaker, request.text)
        elif isinstance(request, Unheard):
            cut = request.utterance, request.speaker, request.text
            self.inbox.cut(request, is_known=overheard.unhear(self.dialogue, *cut))
        elif isinstance(request, Unsaid):
            self._take_back(request)
        else:
            self._keep(waiting, request)

    def _keep(self, waiting: Waiting, request: Pin | Unpin | Rewind) -> None:
        try:
            if isinstance(request, Pin):
                reply: Reply = pins.pin(self.dialogue, request)
            elif isinstance(request, Rewind):
                reply = self._rewind(request)
            else:
                pins.unpin(self.dialogue, request)
                reply = Ok(id=request.id)
        except RequestError as error:  # nobody's fault but the game's: not for the log
            reply = error_reply(error, request.id)
        self._send(waiting.client, reply)

    def _rewind(self, request: Rewind) -> Reply:
        if self.audience is not None:  # the others go on from what it said, and so must it
            raise Busy(
                f"{self.dialogue.name!r} is in the scene {self.audience.name!r}.",
                "Cancel the scene, or let it leave, before you rewind it.",
            )
        reply = past.rewind(self.dialogue, request)
        self._said = None
        self._unread.look_again(self._clock())
        return reply

    def _begin(self, waiting: Waiting, request: Say) -> None:
        now = self._clock()
        dialogue = self.dialogue
        dialogue.stop_reading_again()
        self._unread.expire(now)
        if self.on_line is not None:
            self.on_line(self)
        sampler = self._backend.sampler(
            dialogue.sampling, self._seed(), self._recent(), dialogue.quotable
        )
        speaking = Generation(
            request,
            waiting.client,
            own=(dialogue.card.char, dialogue.card.name),
            others=(
                USER,
                request.speaker,
                *dialogue.speakers,
                *(self.audience.names if self.audience else ()),
            ),
            stop=(*dialogue.chat_format.pieces.stop, *dialogue.sampling.stop),
            thoughts=dialogue.chat_format.thoughts,
            sampler=sampler,
            received=waiting.received,
        )
        speaking.turn = dialogue.turn
        speaking.n_evicted_before = dialogue.ledger.n_evicted
        try:
            n_prompt, n_cached, truncated = dialogue.say(
                request.speaker,
                request.text,
                request.notes,
                answers=request.answers if isinstance(request, Cue) else 0,
                among_others=isinstance(request, Cue),
            )
        except BaseException:
            sampler.close()
            raise
        if not dialogue.sequence.n_pending:  # all read ahead, and this template adds no markup:
            dialogue.sequence.forget_cache()  # there is no row to sample from
        speaking.stats.n_prompt, speaking.stats.n_cached = n_prompt, n_cached
        speaking.stats.queue_ms = (now - waiting.received) * 1000
        speaking.truncated = truncated
        speaking.was_hurried = self.inbox.player_waits
        most = request.max_tokens or self._max_tokens
        speaking.limit = dialogue.reply_limit(most)
        speaking.silent_limit = dialogue.reply_limit(most + MAX_SILENT_TOKENS)
        self.speaking = speaking
        self.claim.order = waiting.order
        if self.claim.expected < waiting.order:  # else half of a further line came meanwhile
            self.claim.expected = 0
        self.claim.asleep = False  # it may have failed since this line came in
        if self.audience is not None:
            speaking.utterance = self.audience.begin(dialogue.name, request)

    def _seed(self) -> int:
        """Every turn has its own seed, so that a restored character goes on as it would have."""
        seed = self.dialogue.sampling.seed
        base = zlib.crc32(self.dialogue.name.encode()) if seed is None else seed
        return zlib.crc32(f"{base}:{self.dialogue.turn}".encode())

    def _recent(self) -> list[int]:
        recent: list[int] = []
        for segment in reversed(self.dialogue.ledger.segments):
            if segment.kind is Kind.REPLY:
                recent = segment.tokens[-N_RECENT:] + recent
            if len(recent) >= N_RECENT:
                break
        return recent[-N_RECENT:]

    def look(self, logits: Any) -> None:
        """Take in what it would say next, behind all it has read, in a pause."""
        if self.dialogue.drift is not None:
            self.dialogue.drift.look(logits)
            self.n_changes += 1

    def speak(self, row: int) -> None:
        """Sample the next token from a row of the last batch, and stream what it completes."""
        speaking = self.speaking
        if speaking is None:
            return
        token = self._next_token(speaking, row)
        speaking.note_token(self._clock())
        self.claim.speaking = True
        chat_format = self.dialogue.chat_format
        if token in chat_format.ends and not (
            token in chat_format.between and speaking.thinks_in_messages
        ):
            self._finish("stop")
            return
        self.dialogue.speak(token)
        for record in speaking.feed(chat_format.piece(token)):
            self._send(speaking.client, record)
        if speaking.thought_is_over:
            speaking.set_aside(self.dialogue.set_aside())
        if speaking.has_new_line and speaking.utterance is not None:
            speaking.utterance.grow(speaking.whole_lines)
        if speaking.detokenizer.stopped:
            self._finish("stop")
        elif speaking.is_full:
            self._finish("length")

    def _next_token(self, speaking: Generation, row: int) -> int:
        """The model's choice; where a thought leaves no room for a line, what ends it."""
        thought = speaking.too_long_a_thought()
        if thought:
            speaking.to_say = self.dialogue.chat_format.closing(thought)
        if speaking.to_say:
            return speaking.to_say.pop(0)
        return self._backend.sample(row, speaking.sampler, speaking.may_end)

    def _finish(self, why: Why) -> None:
        speaking = self._quiet()
        for record in speaking.finish(cut=why != "stop"):
            self._send(speaking.client, record)
        text = speaking.detokenizer.text
        self._send_done(speaking, why, text)
        self._said = speaking
        self._end_turn(speaking, text, speaking.n_bytes(text), interrupted=False)

    def _interrupt(self, why: Why, text: str | None = None) -> None:
        """Cut the reply back to this beginning of it, in the ledger and in the cache."""
        speaking = self._quiet()
        text = speaking.detokenizer.text if text is None else text
        self._send_done(speaking, why, text)
        self._end_turn(speaking, text, speaking.n_bytes(text), interrupted=True)

    def _end_turn(self, speaking: Generation, text: str, n_bytes: int, interrupted: bool) -> None:
        """Close the turn behind a reply that has its answer: a failure here is only logged."""
        self.n_changes += 1
        utterance = speaking.utterance
        try:
            self.dialogue.finish(text, n_bytes, interrupted, utterance.number if utterance else 0)
        except Exception:
            log.exception("a turn of %r could not be closed", self.dialogue.name)
            self.dialogue.sequence.forget_cache()
            self.claim.asleep = True
            self._said = None
        if utterance is not None:
            utterance.end(speaking.detokenizer, text, interrupted)

    def _quiet(self) -> Generation:
        speaking, self.speaking = self.speaking, None
        if speaking is None:
            raise RuntimeError(f"{self.dialogue.name} does not speak")
        speaking.sampler.close()
        self._said = None
        self.claim.speaking = False
        self.claim.priority = Priority.IDLE
        speaking.stats.n_evicted = self.dialogue.ledger.n_evicted - speaking.n_evicted_before
        return speaking

    def _send_done(self, speaking: Generation, why: Why, text: str) -> None:
        done = speaking.done(why, text, self._clock())
        done.turn = speaking.turn
        self._send(speaking.client, done)

    def forget_unheard(self, client: bytes, request_id: str, heard: int) -> bool:
        """Cut the last reply, which has ended already, to what the player heard of it.

        A reply is decoded faster than it is spoken aloud: most barge-ins come after its end.
        """
        said = self._said
        if said is None or self.speaking or (said.client, said.request.id) != (client, request_id):
            return False
        text = said.heard(heard)
        if text == said.detokenizer.text:
            return True
        self._said = None
        self.n_changes += 1
        if not cut_back(self.dialogue, said.turn, text, said.n_bytes(text)):
            return False
        if said.utterance is not None:
            said.utterance.unsay(text)
        return True

    def let_go(self, client: bytes, request_id: str) -> None:
        """An id is used again: it means its last reply no more."""
        said = self._said
        if said is not None and (said.client, said.request.id) == (client, request_id):
            self._said = None

    def _take_back(self, unsaid: Unsaid) -> None:
        """Live on as if what nobody heard had not been said."""
        if overheard.unsay(self.dialogue, unsaid):
            self._said = None
        self._unread.look_again(self._clock())

    def cancel(self, client: bytes, request_id: str, heard: int | None) -> bool:
        """Cut a `say` short, or take it out of the inbox; False when there is none such."""
        speaking = self.speaking
        if speaking and (speaking.client, speaking.request.id) == (client, request_id):
            self._interrupt("cancelled", None if heard is None else speaking.heard(heard))
            return True
        for waiting in self._says():
            if (waiting.client, waiting.request.id) == (client, request_id):
                self.inbox.remove(waiting)
                self._send_unsaid(waiting, "cancelled")
                return True
        return False

    def drop(self, client: bytes | None, why: Why) -> None:
        """Cut short every `say` of a client (None: of everybody)."""
        if self.speaking and client in (None, self.speaking.client):
            self._interrupt(why)
        for waiting in [w for w in self._says() if client in (None, w.client)]:
            self.inbox.remove(waiting)
            self._send_unsaid(waiting, why)
        if client is None:
            gone = UnknownNpc(
                f"{self.dialogue.name!r} has left, or the engine ends.",
                "Ask again once it is back.",
            )
            for waiting in self.inbox.all_of(Pin, Unpin, Rewind):
                self.inbox.remove(waiting)
                self._refuse(waiting, gone)

    def _says(self) -> list[Waiting]:
        """The lines that wait. Events and half-typed words are answered already, and stay."""
        return self.inbox.all_of(Say)

    def fail(self, error: NpcError) -> None:
        """Answer the `say` under way with an error. Nothing of the reply is kept.

        It then sleeps until it is spoken to: reading again what failed could fail for ever.
        """
        self.dialogue.sequence.forget_cache()
        self.claim.asleep = True
        if self.speaking:
            speaking = self._quiet()
            self._send(speaking.client, error_reply(error, speaking.request.id))
            self._end_turn(speaking, "", 0, interrupted=True)

    def _send_unsaid(self, waiting: Waiting, why: Why) -> None:
        waited = (self._clock() - waiting.received) * 1000
        done = Done(
            id=waiting.request.id,
            npc=self.dialogue.name,
            text="",
            reason=why,
            truncated=False,
            stats=DoneStats(queue_ms=waited, total_ms=waited),
        )
        self._send(waiting.client, done)
