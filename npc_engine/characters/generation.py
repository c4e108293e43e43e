"""A `say` being answered: from its sampled tokens to the records that stream to the client.

Owns one reply's detokenizer, sampler, counts and times. It knows no KV cache and no socket.
"""

from collections.abc import Sequence
from typing import Any

from npc_engine.protocol import Done, DoneStats, Gesture, Line, Reply, Say, Text
from npc_engine.scenes.audience import Utterance
from npc_engine.text.detokenizer import Detokenizer
from npc_engine.text.detokenizer import Record as Found
from npc_engine.text.thoughts import MESSAGES, Thoughts

__all__ = ["MAX_SILENT_TOKENS", "Generation"]

MAX_FOR_LINE = 64  # tokens of a reply that no thought may take: these, or a quarter of it
MAX_SILENT_TOKENS = 16
"""A reply that is still empty after these may end empty; so many beyond its limit it may take."""


class Generation:
    """One reply under way. Times are in seconds of the engine's clock."""

    def __init__(
        self,
        request: Say,
        client: bytes,
        *,
        own: Sequence[str],
        others: Sequence[str],
        stop: Sequence[str],
        thoughts: Thoughts,
        sampler: Any,
        received: float,
    ) -> None:
        self.request = request
        self.client = client
        self.sampler = sampler
        self.detokenizer = Detokenizer(own=own, others=others, stop=stop, thoughts=thoughts)
        self.to_say: list[int] = []  # tokens that come next, whatever the model would say
        self.turn = 0
        self.utterance: Utterance | None = None  # for whoever is present and hears it
        self.limit = 0  # tokens of the reply
        self.silent_limit = 0  # the same for one that is still empty
        self.was_hurried = False  # whether a line of the player waited when it began
        self.truncated = False
        self.n_evicted_before = 0
        self.stats = DoneStats()
        self.received = received
        self.first: float | None = None
        self.line_end = 0  # offset in the text behind the last whole line
        self.has_new_line = False  # whether the last piece completed a line
        self._seq = 0
        self._stream = frozenset(request.stream)
        self._has_closed_thought = False

    def answers(self, client: bytes, request_id: str) -> bool:
        """Whether this request of this client's is the line that it answers."""
        return (self.client, self.request.id) == (client, request_id)

    @property
    def may_end(self) -> bool:
        """Whether an end token may be sampled: not before anything was said."""
        return (
            self.thinks_in_messages
            or self.stats.n_decoded >= MAX_SILENT_TOKENS
            or self.detokenizer.has_said
        )

    @property
    def thinks_in_messages(self) -> bool:
        """Whether it is in a thought that ends as a message does, and the answer comes after it."""
        return self.detokenizer.thought in MESSAGES

    def too_long_a_thought(self) -> str | None:
        """Return what opened the thought it is in, once, when few tokens are left for a line."""
        thought = self.detokenizer.thought
        n_left = self.limit - self.stats.n_decoded
        if not thought or self._has_closed_thought or n_left > min(self.limit // 4, MAX_FOR_LINE):
            return None
        self._has_closed_thought = True
        return thought

    @property
    def thought_is_over(self) -> bool:
        """Whether it has thought and not said anything yet: true until `set_aside`."""
        return self.detokenizer.has_only_thought

    def set_aside(self, n_bytes: int) -> None:
        """Count no more what was said so far: a thought that is over."""
        self.detokenizer.set_aside(n_bytes)

    @property
    def is_full(self) -> bool:
        """Whether the reply has as many tokens as it may have; more, while none of them is spoken.

        (A label, say: three tokens may be "Mara:" and nothing else.)
        """
        limit = self.limit if self.detokenizer.has_said else self.silent_limit
        return self.stats.n_decoded >= limit

    @property
    def whole_lines(self) -> str:
        """What has come of its text as whole lines."""
        return self.detokenizer.text[: self.line_end]

    def note_token(self, now: float) -> None:
        """Count a sampled token."""
        if self.first is None:
            self.first = now
            self.stats.ttft_ms = (now - self.received) * 1000
        self.stats.n_decoded += 1

    def feed(self, piece: bytes) -> list[Reply]:
        """Take in a token's bytes; return the records that they complete."""
        return self._records(self.detokenizer.feed(piece))

    def finish(self, cut: bool) -> list[Reply]:
        """Return the records of what was held back. `cut`: more would have come."""
        return self._records(self.detokenizer.finish(cut))

    def heard(self, n_characters: int) -> str:
        """Return what was heard of the reply: so many characters of its lines."""
        text = self.detokenizer.text
        return text[: self.detokenizer.heard(n_characters)]

    def n_bytes(self, text: str) -> int:
        """Return how many bytes of its tokens reach to the end of `text`, its beginning."""
        return self.detokenizer.raw_offset(len(text))

    def done(self, reason: Any, text: str, now: float) -> Done:
        """Return the terminal record. `text` may be shorter than what was streamed (barge-in)."""
        stats = self.stats
        stats.total_ms = (now - self.received) * 1000
        seconds = now - self.first if self.first is not None else 0.0
        stats.decode_tps = (stats.n_decoded - 1) / seconds if seconds > 0 else 0.0
        return Done(
            id=self.request.id,
            npc=self.request.npc,
            text=text,
            reason=reason,
            truncated=self.truncated,
            turn=self.turn,
            stats=stats,
        )

    def _records(self, found: list[Found]) -> list[Reply]:
        ends = [f.end for f in found if f.kind == "line"]
        self.has_new_line = bool(ends)
        self.line_end = max(ends, default=self.line_end)
        return [self._record(f) for f in found if f.kind in self._stream]

    def _record(self, found: Found) -> Reply:
        seq, self._seq = self._seq, self._seq + 1
        request, npc = self.request.id, self.request.npc
        if found.kind == "line":
            return Line(id=request, seq=seq, npc=npc, index=found.index, text=found.text)
        kind = Text if found.kind == "text" else Gesture
        return kind(id=request, seq=seq, npc=npc, text=found.text)
