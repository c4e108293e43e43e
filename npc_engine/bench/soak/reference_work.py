"""A fixed piece of work: how fast is this machine just now?

Owns that work: a short prefill and some decode steps of the same model, in a context of its own
that knows no characters. Other programs slow it down as they slow down whatever is measured beside
it; the quotient of the two tells of a change that they did not make.
"""

import time

from npc_engine.config import Sampling
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Model

__all__ = ["ReferenceWork"]

N_PREFILL = 64
N_ROWS = 16


class ReferenceWork:
    """Made over a loaded model; close it before the model."""

    def __init__(self, model: Model) -> None:
        self._llama = Llama(model, n_cells=2 * N_PREFILL, n_batch=N_PREFILL)
        self._tokens = [token % model.n_vocab for token in range(N_PREFILL)]

    def measure(self) -> float:
        """Do it; return seconds of processor time."""
        began = time.process_time()
        llama = self._llama
        sampler = llama.sampler(Sampling(), 0, ())
        (row,) = llama.decode([Span(0, 0, self._tokens, True)])
        for i in range(N_ROWS):
            token = llama.sample(row, sampler)
            (row,) = llama.decode([Span(0, N_PREFILL + i, [token], True)])
        sampler.close()
        llama.remove(0, 0, -1)
        return time.process_time() - began

    def close(self) -> None:
        """Free its context."""
        self._llama.close()
