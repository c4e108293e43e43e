"""A llama_context that is timed, and that can decode without the engine: for `bench crowd`.

Owns the bare loop that the engine is held against (llama_decode, then a sampler for each row, and
nothing else), and a long past that is read once for all slots. It knows no character.
"""

import time
from collections.abc import Sequence
from typing import Any

# First llama: it sets the environment that the native library reads when it is loaded.
from npc_engine.llama.context import Llama, Span  # isort: skip

import llama_cpp.llama_cpp as C  # noqa: N812

from npc_engine.config import Sampling
from npc_engine.errors import BackendError
from npc_engine.llama.sampler import Sampler

__all__ = ["Past", "Timed"]


class Timed(Llama):
    """A Llama that notes how long it takes.

    `inner_s`: seconds in decode and sample, until somebody sets it back. `out_ms`, `in_ms`: each
    copy of a slot's cells out and in, in milliseconds.
    """

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.inner_s = 0.0
        self.out_ms: list[float] = []
        self.in_ms: list[float] = []

    def decode(self, spans: Sequence[Span], every: bool = False) -> list[int]:
        """Decode a batch."""
        began = time.perf_counter()
        rows = super().decode(spans, every)
        self.inner_s += time.perf_counter() - began
        return rows

    def sample(self, row: int, sampler: Sampler, may_end: bool = True) -> int:
        """Choose a token."""
        began = time.perf_counter()
        token = super().sample(row, sampler, may_end)
        self.inner_s += time.perf_counter() - began
        return token

    def export(self, slot: int) -> bytes:
        """Copy a slot's cells out."""
        began = time.perf_counter()
        payload = super().export(slot)
        self.out_ms.append((time.perf_counter() - began) * 1000)
        return payload

    def restore(self, slot: int, payload: bytes) -> bool:
        """Copy cells in."""
        began = time.perf_counter()
        fits = super().restore(slot, payload)
        self.in_ms.append((time.perf_counter() - began) * 1000)
        return fits

    def bare_steps(self, n: int, n_steps: int, first: int, recent: Sequence[int]) -> list[float]:
        """Speak with slots 0 to n - 1 from position `first` on; return the ms of each step.

        `recent` tokens count for the penalties, as in the engine: they cost time as well.
        """
        samplers = [self.sampler(Sampling(), seed, recent) for seed in range(n)]
        tokens = [recent[0]] * n
        taken = []
        try:
            self._rows.clear()
            self._batch.n_tokens = n
            self._slots[:n] = range(n)
            self._logits[:n] = 1
            for position in range(first, first + n_steps):
                began = time.perf_counter()
                self._tokens[:n] = tokens
                self._positions[:n] = position
                if code := C.llama_decode(self._ctx, self._batch):
                    raise BackendError(f"llama_decode returned {code} at position {position}.")
                tokens = [
                    sampler.sample(self._ctx, row, True) for row, sampler in enumerate(samplers)
                ]
                taken.append((time.perf_counter() - began) * 1000)
        finally:
            for sampler in samplers:
                sampler.close()
        return taken


class Past:
    """The first tokens of one long past, ready for any empty slot.

    It reads in slot 0, which must be empty when there is something to read: from nothing the first
    time, and what is more than that behind it. Kept are the shortest and the last payload.
    """

    def __init__(self, llama: Llama, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)
        self._llama = llama
        self._payloads: dict[int, bytes] = {}

    def payload(self, n: int) -> bytes:
        """Return the cells of the first n tokens as bytes. Raises BackendError."""
        if n not in self._payloads:
            payload = self._read(n)
            kept = min([n, *self._payloads])
            self._payloads = {k: p for k, p in self._payloads.items() if k == kept} | {n: payload}
        return self._payloads[n]

    def _read(self, n: int) -> bytes:
        llama = self._llama
        at = max((known for known in self._payloads if known < n), default=0)
        if at and not llama.restore(0, self._payloads[at]):
            raise BackendError("This KV cache cannot be copied.")
        while at < n:
            part = self.tokens[at : min(n, at + llama.n_batch)]
            llama.decode([Span(0, at, part, False)])
            at += len(part)
        payload = llama.export(0)
        llama.remove(0, 0, -1)
        return payload

    def fill(self, n_slots: int, n: int) -> None:
        """Fill slots 0 to n_slots - 1 with the first n tokens. Raises BackendError."""
        payload = self.payload(n)
        for slot in range(n_slots):
            self._llama.remove(slot, 0, -1)
            if not self._llama.restore(slot, payload):
                raise BackendError(f"No room for {n} tokens in slot {slot}.")
