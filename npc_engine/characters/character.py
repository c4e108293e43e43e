"""One character on the stage: what is asked of it, in which order, and when it answers.

Owns how its inbox is served and what breaks a reply off; the reply itself is `replies`'s. It knows
its own sequence, but no batch, no other character and no socket.
"""

import logging
from collections.abc import Callable
from typing import Any

from npc_engine import protocol as m
from npc_engine.characters.generation import Generation
from npc_engine.characters.inbox import Heard, Inbox, Waiting, priority_of
from npc_engine.characters.replies import Replies, Samples, Send, Why
from npc_engine.characters.unread_events import Flood, Unread
from npc_engine.dialogue import history, overheard, pins
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.overheard import Overheard, Unheard, Unsaid
from npc_engine.errors import Busy, Internal, NpcError, RequestError, UnknownNpc
from npc_engine.scenes.audience import Audience
from npc_engine.scheduling.batching import Claim, Priority

__all__ = ["Character"]

log = logging.getLogger("npc_engine")


class Character:
    """A dialogue with its inbox and its replies. `send` takes replies; `clock` gives seconds.

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
        self.audience: Audience | None = None
        self._unread = Unread(dialogue.open_turn, max_events, flood)
        self.inbox = Inbox(dialogue.name, self._unread)
        self._send = send
        self._clock = clock
        self.n_changes = 0
        self._on_change = on_change
        self.on_line: Callable[[Character], None] | None = None
        self.replies = Replies(
            dialogue, self.claim, backend, send, clock, max_tokens, self.note_change
        )
        self._unread.look_again(clock())  # it may come from a save, with events that end

    def note_change(self) -> None:
        """What a save holds of it may have changed: `on_change` hears of it."""
        self.n_changes += 1
        self._on_change(self)

    @property
    def npc(self) -> Dialogue:
        """`dialogue`, by its name of before: scripts that look inside know it."""
        return self.dialogue

    @property
    def generation(self) -> Generation | None:
        """The reply under way."""
        return self.replies.under_way

    @property
    def wants(self) -> bool:
        """Whether it wants a place in the next batch, or a slot before it is spoken to."""
        return self.claim.called or (self.dialogue.sequence.n_pending > 0 and not self.claim.asleep)

    @property
    def is_pressed(self) -> bool:
        """Whether it speaks, or something other than events waits for it."""
        return self.generation is not None or self.claim.called or not self.inbox.has_only_events

    @property
    def next_end(self) -> float:
        """When the next event that it has perceived is over, and nobody has answered."""
        return self._unread.next_end

    @property
    def is_speaking(self) -> bool:
        """Whether it is amid a reply."""
        return self.generation is not None

    def waiting(self, kind: type[Heard]) -> list[Any]:
        """Return the requests of one kind that wait, oldest first."""
        return [w.request for w in self.inbox.all_of(kind)]

    def take(self, client: bytes, request: Heard, order: int, max_queue: int) -> None:
        """Put a request into the inbox. Raises Busy when too many that want an answer wait."""
        self.inbox.put(Waiting(client, request, self._clock(), order), max_queue)
        self.note_change()
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
        if self.generation is None and self._unread.next_end <= self._clock():
            self._unread.expire(self._clock())
            self.note_change()
        self._give_way()
        while self.inbox and self.generation is None:
            self._serve_next()
        if self.generation is not None:
            self.claim.priority = self._inherited(self.generation.request)

    def _give_way(self) -> None:
        """Break off for a line of the player that waits: what has come as whole lines was said.

        What came before that and was begun behind it is answered with one line at least.
        """
        generation = self.generation
        if generation is None or generation.request.priority == "player":
            return
        if self.inbox.player_waits and (generation.whole_lines or not generation.was_hurried):
            self.replies.interrupt("cancelled", generation.whole_lines)

    def _inherited(self, answered: m.Say) -> Priority:
        """The priority of what it answers, or of what waits behind that, where it is higher."""
        return min(map(priority_of, [answered, *self.waiting(m.Say)]))

    def catch_up(self) -> None:
        """Serve the inbox up to the next line that it has to answer, and not that."""
        while self.inbox and self.generation is None:
            if isinstance(self.inbox.first, m.Say):
                return
            self._serve_next()

    def _serve_next(self) -> None:
        waiting = self.inbox.take_first()
        self.note_change()
        try:
            self._serve(waiting)
        except NpcError as error:
            log.error("%s could not be served: %s", type(waiting.request).__name__, error)
            self._refuse(waiting, error)
        except Exception:
            log.exception("%s could not be served", type(waiting.request).__name__)
            self._refuse(waiting, Internal("The engine failed.", "Its log has the details."))

    def _refuse(self, waiting: Waiting, error: NpcError) -> None:
        # These get no other answer.
        if isinstance(waiting.request, m.Say | m.Pin | m.Unpin | m.Rewind):
            self._send(waiting.client, m.error_reply(error, waiting.request.id))

    def _serve(self, waiting: Waiting) -> None:
        request = waiting.request
        if isinstance(request, m.Say):
            self._begin(waiting, request)
        elif isinstance(request, m.Hear):
            self.dialogue.open_turn.read_typed(request.speaker, request.text)
        elif isinstance(request, m.Event):
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

    def _keep(self, waiting: Waiting, request: m.Pin | m.Unpin | m.Rewind) -> None:
        try:
            if isinstance(request, m.Pin):
                reply: m.Reply = pins.pin(self.dialogue, request)
            elif isinstance(request, m.Rewind):
                reply = self._rewind(request)
            else:
                pins.unpin(self.dialogue, request)
                reply = m.Ok(id=request.id)
        except RequestError as error:  # nobody's fault but the game's: not for the log
            reply = m.error_reply(error, request.id)
        self._send(waiting.client, reply)

    def _rewind(self, request: m.Rewind) -> m.Reply:
        if self.audience is not None:  # the others go on from what it said, and so must it
            raise Busy(
                f"{self.dialogue.name!r} is in the scene {self.audience.name!r}.",
                "Cancel the scene, or let it leave, before you rewind it.",
            )
        reply = history.rewind(self.dialogue, request)
        self.replies.forget_last()
        self._unread.look_again(self._clock())
        return reply

    def _begin(self, waiting: Waiting, request: m.Say) -> None:
        now = self._clock()
        self.dialogue.stop_reading_again()
        self._unread.expire(now)
        if self.on_line is not None:
            self.on_line(self)
        generation = self.replies.begin(
            request,
            waiting.client,
            waiting.received,
            now,
            present=self.audience.names if self.audience else (),
            is_hurried=self.inbox.player_waits,
        )
        self.claim.order = waiting.order
        if self.claim.expected < waiting.order:  # else half of a further line came meanwhile
            self.claim.expected = 0
        self.claim.asleep = False  # it may have failed since this line came in
        if self.audience is not None:
            generation.utterance = self.audience.begin(self.dialogue.name, request)

    def look(self, logits: Any) -> None:
        """Take in what it would say next, behind all it has read, in a pause."""
        if self.dialogue.drift is not None:
            self.dialogue.drift.look(logits)
            self.note_change()

    def speak(self, row: int) -> None:
        """Sample the next token from a row of the last batch, and stream what it completes."""
        if self.generation is not None:
            self.replies.next_token(self.generation, row)

    def _take_back(self, unsaid: Unsaid) -> None:
        """Live on as if what nobody heard had not been said."""
        if overheard.unsay(self.dialogue, unsaid):
            self.replies.forget_last()
        self._unread.look_again(self._clock())

    def cancel(self, client: bytes, request_id: str, heard: int | None) -> bool:
        """Cut a `say` short, or take it out of the inbox; False when there is none such."""
        generation = self.generation
        if generation is not None and generation.answers(client, request_id):
            text = None if heard is None else generation.heard(heard)
            self.replies.interrupt("cancelled", text)
            return True
        for waiting in self._says():
            if (waiting.client, waiting.request.id) == (client, request_id):
                self.inbox.remove(waiting)
                self._send_unsaid(waiting, "cancelled")
                return True
        return False

    def drop(self, client: bytes | None, why: Why) -> None:
        """Cut short every `say` of a client (None: of everybody)."""
        if self.generation and client in (None, self.generation.client):
            self.replies.interrupt(why)
        for waiting in [w for w in self._says() if client in (None, w.client)]:
            self.inbox.remove(waiting)
            self._send_unsaid(waiting, why)
        if client is None:
            gone = UnknownNpc(
                f"{self.dialogue.name!r} has left, or the engine ends.",
                "Ask again once it is back.",
            )
            for waiting in self.inbox.all_of(m.Pin, m.Unpin, m.Rewind):
                self.inbox.remove(waiting)
                self._refuse(waiting, gone)

    def _says(self) -> list[Waiting]:
        """The lines that wait. Events and half-typed words are answered already, and stay."""
        return self.inbox.all_of(m.Say)

    def fail(self, error: NpcError) -> None:
        """Answer the `say` under way with an error. Nothing of the reply is kept.

        It then sleeps until it is spoken to: reading again what failed could fail for ever.
        """
        self.dialogue.sequence.forget_cache()
        self.claim.asleep = True
        if self.generation:
            self.replies.fail(error)

    def _send_unsaid(self, waiting: Waiting, why: Why) -> None:
        waited = (self._clock() - waiting.received) * 1000
        done = m.Done(
            id=waiting.request.id,
            npc=self.dialogue.name,
            text="",
            reason=why,
            truncated=False,
            stats=m.DoneStats(queue_ms=waited, total_ms=waited),
        )
        self._send(waiting.client, done)
