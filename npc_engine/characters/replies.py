"""What one character answers: the reply under way, and the last one while it may be cut back.

    begin ---> next_token, next_token, ... ---> the end of its own accord, or `interrupt`, or `fail`
                                                 | `done`            | `done`        | `error`
                                                 cut_back: most barge-ins come after the end

Owns the way of one reply from the words that it answers to its terminal record, and sees that the
turn is closed behind it. It knows its dialogue and a sampler, but no inbox, no batch and no socket.
"""

import logging
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

from npc_engine.characters.generation import MAX_SILENT_TOKENS, Generation
from npc_engine.config import N_RECENT, Sampling
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.overheard import Cue
from npc_engine.dialogue.paragraphs import USER
from npc_engine.dialogue.taking_back import cut_back
from npc_engine.errors import NpcError
from npc_engine.kvcache.ledger import Kind
from npc_engine.protocol import Reply, Say, error_reply
from npc_engine.scheduling.batching import Claim, Priority

__all__ = ["Replies", "Samples", "Send", "Why"]

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


class Replies:
    """The replies of one character. `send` takes records, `clock` gives seconds.

    `under_way`: the one that it is speaking. `max_tokens`: of a reply. `note_change` hears of each
    time that a turn ends or is cut back.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        claim: Claim,
        backend: Samples,
        send: Send,
        clock: Callable[[], float],
        max_tokens: int,
        note_change: Callable[[], None],
    ) -> None:
        self.under_way: Generation | None = None
        self._last: Generation | None = None
        self._dialogue = dialogue
        self._claim = claim
        self._backend = backend
        self._send = send
        self._clock = clock
        self._max_tokens = max_tokens
        self._note_change = note_change

    # -- one reply, from its begin to its end ----------------------------------------------------

    def begin(
        self,
        request: Say,
        client: bytes,
        received: float,
        now: float,
        *,
        present: Sequence[str] = (),
        is_hurried: bool = False,
    ) -> Generation:
        """Close the open turn with a line, and open the reply to it.

        `present`: what those are called who hear it. `is_hurried`: a line of the player waits.
        """
        dialogue = self._dialogue
        generation = self._new(request, client, received, present)
        try:
            n_prompt, n_cached, truncated = dialogue.say(
                request.speaker,
                request.text,
                request.notes,
                answers=request.answers if isinstance(request, Cue) else 0,
                among_others=isinstance(request, Cue),
            )
        except BaseException:
            generation.sampler.close()
            raise
        if not dialogue.sequence.n_pending:  # all read ahead, and this template adds no markup:
            dialogue.sequence.forget_cache()  # there is no row to sample from
        generation.stats.n_prompt, generation.stats.n_cached = n_prompt, n_cached
        generation.stats.queue_ms = (now - received) * 1000
        generation.truncated = truncated
        generation.was_hurried = is_hurried
        most = request.max_tokens or self._max_tokens
        generation.limit = dialogue.reply_limit(most)
        generation.silent_limit = dialogue.reply_limit(most + MAX_SILENT_TOKENS)
        self.under_way = generation
        return generation

    def _new(
        self, request: Say, client: bytes, received: float, present: Sequence[str]
    ) -> Generation:
        dialogue = self._dialogue
        generation = Generation(
            request,
            client,
            own=(dialogue.card.char, dialogue.card.name),
            others=(USER, request.speaker, *dialogue.speakers, *present),
            stop=(*dialogue.chat_format.pieces.stop, *dialogue.sampling.stop),
            thoughts=dialogue.chat_format.thoughts,
            sampler=self._backend.sampler(
                dialogue.sampling, self._seed(), self._recent(), dialogue.quotable
            ),
            received=received,
        )
        generation.turn = dialogue.turn
        generation.n_evicted_before = dialogue.ledger.n_evicted
        return generation

    def _seed(self) -> int:
        """Every turn has its own seed, so that a restored character goes on as it would have."""
        seed = self._dialogue.sampling.seed
        base = zlib.crc32(self._dialogue.name.encode()) if seed is None else seed
        return zlib.crc32(f"{base}:{self._dialogue.turn}".encode())

    def _recent(self) -> list[int]:
        recent: list[int] = []
        for segment in reversed(self._dialogue.ledger.segments):
            if segment.kind is Kind.REPLY:
                recent = segment.tokens[-N_RECENT:] + recent
            if len(recent) >= N_RECENT:
                break
        return recent[-N_RECENT:]

    def next_token(self, generation: Generation, row: int) -> None:
        """Sample from a row of the last batch, and stream what the token completes."""
        token = self._choose(generation, row)
        generation.note_token(self._clock())
        self._claim.speaking = True
        chat_format = self._dialogue.chat_format
        if token in chat_format.ends and not (
            token in chat_format.between and generation.thinks_in_messages
        ):
            self._finish("stop")
            return
        self._dialogue.speak(token)
        for record in generation.feed(chat_format.piece(token)):
            self._send(generation.client, record)
        if generation.thought_is_over:
            generation.set_aside(self._dialogue.set_aside())
        if generation.has_new_line and generation.utterance is not None:
            generation.utterance.grow(generation.whole_lines)
        if generation.detokenizer.stopped:
            self._finish("stop")
        elif generation.is_full:
            self._finish("length")

    def _choose(self, generation: Generation, row: int) -> int:
        """The model's choice; where a thought leaves no room for a line, what ends it."""
        thought = generation.too_long_a_thought()
        if thought:
            generation.to_say = self._dialogue.chat_format.closing(thought)
        if generation.to_say:
            return generation.to_say.pop(0)
        return self._backend.sample(row, generation.sampler, generation.may_end)

    def _finish(self, why: Why) -> None:
        generation = self._quiet()
        for record in generation.finish(cut=why != "stop"):
            self._send(generation.client, record)
        text = generation.detokenizer.text
        self._send(generation.client, generation.done(why, text, self._clock()))
        self._last = generation
        self._end_turn(generation, text, generation.n_bytes(text), interrupted=False)

    def interrupt(self, why: Why, text: str | None = None) -> None:
        """Cut the reply back to this beginning of it, in the ledger and in the cache."""
        generation = self._quiet()
        text = generation.detokenizer.text if text is None else text
        self._send(generation.client, generation.done(why, text, self._clock()))
        self._end_turn(generation, text, generation.n_bytes(text), interrupted=True)

    def fail(self, error: NpcError) -> None:
        """Answer the line with an error. Nothing of the reply is kept."""
        generation = self._quiet()
        self._send(generation.client, error_reply(error, generation.request.id))
        self._end_turn(generation, "", 0, interrupted=True)

    def _quiet(self) -> Generation:
        generation, self.under_way = self.under_way, None
        if generation is None:
            raise RuntimeError(f"{self._dialogue.name} does not speak")
        generation.sampler.close()
        self._last = None
        self._claim.speaking = False
        self._claim.priority = Priority.IDLE
        n_evicted = self._dialogue.ledger.n_evicted
        generation.stats.n_evicted = n_evicted - generation.n_evicted_before
        return generation

    def _end_turn(self, generation: Generation, text: str, n_bytes: int, interrupted: bool) -> None:
        """Close the turn behind a reply that has its answer: a failure here is only logged."""
        self._note_change()
        utterance = generation.utterance
        try:
            self._dialogue.finish(text, n_bytes, interrupted, utterance.number if utterance else 0)
        except Exception:
            log.exception("a turn of %r could not be closed", self._dialogue.name)
            self._dialogue.sequence.forget_cache()
            self._claim.asleep = True
            self._last = None
        if utterance is not None:
            utterance.end(generation.detokenizer, text, interrupted)

    # -- after its end ---------------------------------------------------------------------------

    def cut_back(self, client: bytes, request_id: str, heard: int) -> bool:
        """Cut the last reply, which has ended already, to what the player heard of it.

        A reply is decoded faster than it is spoken aloud: most barge-ins come after its end.
        """
        last = self._last
        if last is None or self.under_way or not last.answers(client, request_id):
            return False
        text = last.heard(heard)
        if text == last.detokenizer.text:
            return True
        self._last = None
        self._note_change()
        if not cut_back(self._dialogue, last.turn, text, last.n_bytes(text)):
            return False
        if last.utterance is not None:
            last.utterance.unsay(text)
        return True

    def let_go(self, client: bytes, request_id: str) -> None:
        """An id is used again: it means the last reply no more."""
        if self._last is not None and self._last.answers(client, request_id):
            self._last = None

    def forget_last(self) -> None:
        """The turn of the last reply is no more: it cannot be cut back."""
        self._last = None
