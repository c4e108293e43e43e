"""What the next step does, and what the last ones took.

Owns the batch of a step: whether there is one (`ambient`), how much of it is reading
(`chunk_size`), in which order it is decoded and on how many threads (`threads`); and the speeds
that come of it. What may be in it is `batching`'s to say. It knows no llama and no character:
whoever decodes a batch notes when it was decoded.
"""

from collections.abc import Callable, Iterable
from typing import Any

from npc_engine.scheduling.ambient import AmbientShare
from npc_engine.scheduling.batching import Claim, Run, is_read_for, n_rows, schedule
from npc_engine.scheduling.chunk_size import MIN_CHUNK, ChunkSize
from npc_engine.scheduling.threads import READING, Threads

__all__ = ["Batch", "Scheduler"]

SMOOTHING = 0.3

Span = tuple[int | None, int, list[int], bool]


class Batch:
    """The runs of one decode, in its order; there may be none. What is counted is of its making.

    `began`: when it was made; `decoded`: when its rows were there. `is_pause`: nobody in it waits
    for a line. `n_cells`: cells of the KV cache that its tokens attend to, summed over them.
    """

    def __init__(self, runs: Iterable[Run], n_threads: int, began: float) -> None:
        # llama.cpp decodes rows together only where their slots follow each other (split KV
        # cache): shuffled, the same batch took a quarter longer (benchmarks/kv_unified.py).
        self.runs = sorted(runs, key=lambda run: run.claim.sequence.slot or 0)
        self.n_threads = n_threads
        self.began = self.decoded = began
        self.is_ambient = AmbientShare.is_ambient(self.runs)
        self.is_pause = not self.is_line
        self.n_rows = sum(run.claim.is_row for run in self.runs)
        self.n_prefill = sum(run.n_tokens for run in self.runs) - self.n_rows
        self.n_cells = sum(_n_attended(run) for run in self.runs)

    def __bool__(self) -> bool:
        return bool(self.runs)

    @property
    def is_line(self) -> bool:
        """Whether somebody in it speaks, or is to, as of now: a line may have ended in it."""
        return any(run.claim.urgent for run in self.runs)

    def looks_at(self, run: Run) -> bool:
        """Whether what somebody would say next is to be looked at, though nobody asks."""
        return run.last and run.claim.watched and self.is_pause

    def spans(self) -> list[Span]:
        """Return the runs as a backend takes them: slot, first position, tokens, logits?"""
        return [self._span(run) for run in self.runs]

    def _span(self, run: Run) -> Span:
        sequence, ledger = run.claim.sequence, run.claim.sequence.ledger
        logits = (run.last and run.claim.urgent) or self.looks_at(run)
        return sequence.slot, ledger.next_pos, ledger.pending(run.n_tokens), logits


class Scheduler:
    """`step_ms`: what a step may take while somebody speaks; `n_batch`: most tokens of a step.

    `load`: how many cores other programs take, if anybody knows.
    """

    def __init__(
        self,
        step_ms: float,
        n_batch: int,
        clock: Callable[[], float],
        *,
        ambient_share: float = 1.0,
        threads: Threads | None = None,
        load: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._n_batch = n_batch
        self._clock = clock
        self._read_load = load
        self._ambient = AmbientShare(ambient_share)
        self._chunks = ChunkSize(step_ms, n_batch)
        self._threads = threads or Threads(1)
        self._load = 0.0
        self._n_rows = 1
        self._n_steps = self._n_decoded = self._n_prefilled = 0
        self._step_ms = self._prefill_tps = self._decode_tps = 0.0

    def schedule(self, claims: list[Claim], standing: Iterable[Claim] = ()) -> Batch:
        """Return the next batch: empty when nobody has anything to read, or ambient speech pauses.

        `standing`: the claims of those who wait for a slot. They count for what is a pause.
        """
        is_held = self._ambient.holds([*claims, *standing], self._clock())
        runs = [] if is_held else self._runs(claims)
        if not runs and not is_held:
            self._threads.rest()
        n_threads = self._threads.count(sum(run.n_tokens for run in runs))
        return Batch(runs, n_threads, self._clock())

    def _runs(self, claims: list[Claim]) -> list[Run]:
        rows = n_rows(claims)
        wait = is_read_for(claims) and self._chunks.rows_wait(rows, self._threads.count(rows))
        speaks = any(claim.speaking for claim in claims)
        n_threads = self._threads.count(READING)
        chunk = self._chunks.chunk(speaks, n_rows(claims, wait), n_threads)
        return schedule(claims, self._n_batch, chunk, wait)

    def note(self, batch: Batch) -> None:
        """Take in a batch that was decoded, and whose rows were taken in until now."""
        ended = self._clock()
        if batch.is_ambient:
            self._ambient.note(batch.began, ended)
        self._n_steps += 1
        self._n_decoded += batch.n_rows
        self._n_prefilled += batch.n_prefill
        seconds = ended - batch.began
        self._chunks.note(batch.n_prefill, batch.n_rows, seconds, batch.n_threads)
        # Sampling and bookkeeping are left out: threads do not speed them up.
        decode_s = batch.decoded - batch.began
        self._threads.note(batch.n_prefill + batch.n_rows, decode_s, batch.n_cells)
        load = self._read_load()
        self._threads.note_load(load)
        self._load = self._load if load is None else load
        self._note_speeds(batch.n_prefill, batch.n_rows, seconds)

    def _note_speeds(self, n_prefill: int, n_rows: int, seconds: float) -> None:
        self._step_ms = _smooth(self._step_ms, seconds * 1000)
        if n_rows:
            self._n_rows = n_rows
        if n_prefill >= MIN_CHUNK and seconds > 0:
            self._prefill_tps = _smooth(self._prefill_tps, n_prefill / seconds)
        if n_rows and not n_prefill and seconds > 0:
            self._decode_tps = _smooth(self._decode_tps, n_rows / seconds)

    def reading_s(self, n_tokens: int) -> float | None:
        """Return the seconds that so many tokens take to read, None before any were read."""
        return self._chunks.reading_s(n_tokens)

    def patience(self) -> float | None:
        """Return the seconds until ambient speech that is put off may go on; None without any."""
        return self._ambient.patience(self._clock())

    def stats(self) -> dict[str, Any]:
        """Return what was done, and what is believed of the machine now, for `stats`."""
        return {
            "n_steps": self._n_steps,
            "n_decoded": self._n_decoded,
            "n_prefilled": self._n_prefilled,
            "step_ms": self._step_ms,
            "prefill_tps": self._prefill_tps,
            "decode_tps": self._decode_tps,
            "n_threads": self._threads.settled(self._n_rows),
            "n_threads_prefill": self._threads.settled(READING),
            "n_thread_switches": self._threads.n_switches,
            "load": self._load,
        }


def _n_attended(run: Run) -> int:
    """Cells that a run attends to, its own among them, summed over its tokens: about."""
    return run.n_tokens * (run.claim.sequence.ledger.n_cells + run.n_tokens)


def _smooth(mean: float, value: float) -> float:
    return value if not mean else mean + SMOOTHING * (value - mean)
