"""How an engine shares the machine: on how many threads a step runs, and how much it reads.

Owns the one place that hears of each step, and what of it there is to tell. `threads` chooses the
count, `chunk_size` the size. It knows no clock and no llama: whoever runs steps says how long they
took, and how busy other programs keep the machine.
"""

from typing import Any, NamedTuple

from npc_engine.scheduling.chunk_size import MIN_CHUNK, ChunkSize
from npc_engine.scheduling.threads import READING, Threads

__all__ = ["Governor", "Step"]

SMOOTHING = 0.3


class Step(NamedTuple):
    """One batch: its tokens of prefill, its decode rows, and the seconds it took.

    `decode_s`: without sampling and bookkeeping, which threads do not speed up. `n_cells`: cells of
    the KV cache that its tokens attended to, summed over them.
    """

    n_prefill: int
    n_rows: int
    seconds: float
    decode_s: float
    n_cells: int = 0


class Governor:
    """`step_ms`: what a step may take while somebody speaks; `n_batch`: most tokens of a step."""

    def __init__(self, step_ms: float, n_batch: int, threads: Threads | None = None) -> None:
        self._threads = threads or Threads(1)
        self._chunks = ChunkSize(step_ms, n_batch)
        self._load = 0.0
        self._n_rows = 1
        self.prefill_tps = 0.0
        self.decode_tps = 0.0
        self.step_ms_mean = 0.0

    def chunk(self, anyone_speaks: bool, n_rows: int = 0) -> int:
        """Return how many tokens of prefill the next step may hold beside so many decode rows."""
        return self._chunks.chunk(anyone_speaks, n_rows, self._threads.count(READING))

    def rows_wait(self, n_rows: int) -> bool:
        """Return whether so many decode rows are to wait a step for a line that is being read."""
        return self._chunks.rows_wait(n_rows, self._threads.count(n_rows))

    def reading_s(self, n_tokens: int) -> float | None:
        """Return the seconds that so many tokens take to read, None before any were read."""
        return self._chunks.reading_s(n_tokens)

    def n_threads(self, n_tokens: int) -> int:
        """Return on how many threads a step of so many tokens is to run."""
        return self._threads.count(n_tokens)

    def note(self, step: Step, load: float | None = None) -> None:
        """Take in a step. `load`: cores that other programs take, where that is known."""
        n_tokens = step.n_prefill + step.n_rows
        n_threads = self._threads.count(n_tokens)
        self._chunks.note(step.n_prefill, step.n_rows, step.seconds, n_threads)
        self._threads.note(n_tokens, step.decode_s, step.n_cells)
        self._threads.hear(load)
        self._load = self._load if load is None else load
        self._note_speeds(step.n_prefill, step.n_rows, step.seconds)

    def rest(self) -> None:
        """Note that there is nothing to run for now."""
        self._threads.rest()

    def stats(self) -> dict[str, Any]:
        """Return what is believed of the machine now, for `stats`."""
        return {
            "step_ms": self.step_ms_mean,
            "prefill_tps": self.prefill_tps,
            "decode_tps": self.decode_tps,
            "n_threads": self._threads.settled(self._n_rows),
            "n_threads_prefill": self._threads.settled(READING),
            "n_thread_switches": self._threads.n_switches,
            "load": self._load,
        }

    def _note_speeds(self, n_prefill: int, n_rows: int, seconds: float) -> None:
        self.step_ms_mean = _smooth(self.step_ms_mean, seconds * 1000)
        if n_rows:
            self._n_rows = n_rows
        if n_prefill >= MIN_CHUNK and seconds > 0:
            self.prefill_tps = _smooth(self.prefill_tps, n_prefill / seconds)
        if n_rows and not n_prefill and seconds > 0:
            self.decode_tps = _smooth(self.decode_tps, n_rows / seconds)


def _smooth(mean: float, value: float) -> float:
    return value if not mean else mean + SMOOTHING * (value - mean)
