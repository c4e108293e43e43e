"""A KV cache layout on trial: a llama_context with a long history, made in a moment.

Owns the short cut to that history, and one step behind it. It knows no other layouts and no choice.
"""

import time

import psutil

from npc_engine.errors import BackendError
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Layout, Model

__all__ = ["N_HISTORY", "LayoutTrial", "room_for"]

N_READ = 7
N_DOUBLED = 7
N_HISTORY = N_READ << N_DOUBLED
"""Tokens of history on a track: 896."""
N_CELLS = 1024
RESERVE_BYTES = 512 << 20


def room_for(model: Model, layout: Layout) -> int:
    """Return how many bytes of memory must be free for a layout to be tried."""
    return model.kv_bytes_per_token(layout) * N_CELLS + RESERVE_BYTES


class LayoutTrial:
    """One layout's llama_context behind 896 cells of history.

    Reading 900 tokens would take a minute on a large model. So 7 are read, and their cells doubled
    seven times; the copies repeat their positions, which makes no difference to the time.
    Raises ModelError, or BackendError where there is no room.
    """

    def __init__(self, model: Model, layout: Layout, n_threads: int) -> None:
        need = room_for(model, layout)
        if need > psutil.virtual_memory().available:
            raise BackendError(f"No room for {need >> 20} MiB.")
        self._model = model
        self._llama = Llama(
            model,
            n_slots=2,
            n_cells=N_CELLS // 2,
            n_batch=16,
            n_threads=n_threads,
            layout=layout,
            unified=True,
        )
        try:
            self.bytes_per_token = self._fill()
            self.step()  # the first one also builds the graph
        except BackendError:
            self.close()
            raise

    def _fill(self) -> int:
        """Fill slot 0; return how much larger the cache becomes with each token."""
        self._position = 0
        self._read(N_READ)
        sizes = []
        for _ in range(N_DOUBLED):
            payload = self._llama.export(0)
            sizes.append(len(payload))
            if not self._llama.restore(1, payload):
                raise BackendError("This KV cache cannot be copied.")
            self._llama.merge(1, 0)
        return round((sizes[1] - sizes[0]) / N_READ)

    def _read(self, n: int) -> None:
        first = self._position
        tokens = [997 * (first + i + 1) % self._model.n_vocab for i in range(n)]
        self._llama.decode([Span(0, first, tokens, True)])
        self._position += n

    def step(self) -> float:
        """Decode one token; return the milliseconds it took."""
        start = time.perf_counter()
        self._read(1)
        return (time.perf_counter() - start) * 1000

    def close(self) -> None:
        """Free the context."""
        self._llama.close()
