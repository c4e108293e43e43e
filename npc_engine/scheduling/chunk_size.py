"""How large a prefill chunk may be, so that a step keeps to its time.

Owns what a token of prefill takes, and what the decode rows beside it take, on each count of
threads. It knows no clock and no threads: whoever runs steps says how long they took.

    step    [rows: as long as they took last][ chunk: what is left of the step's time ]

Before a token's time is known, a chunk is small, and the next at most four times as large. What is
known of another count of threads is taken for the worst that it can mean for this one.
"""

__all__ = ["FIRST_CHUNK", "IDLE_STRETCH", "MIN_CHUNK", "ChunkSize"]

MIN_CHUNK = 4
"""Fewest tokens of prefill in a step, also where its rows take all of its time: a decode reads the
weights once for all, so that a few tokens more cost little, and whoever is read gets on."""

IDLE_STRETCH = 4  # nobody speaks: a step may take this much longer, and reads in bigger pieces
FIRST_CHUNK = 16  # a step of so many tokens is short on any machine that can speak at all
GROWTH = 4
ROWS_SHARE, ROWS_EVERY = 1 / 3, 6
"""Rows that take a third of a step's time have every sixth step while somebody's line is read."""
WEIGHT = 64  # a chunk of so many tokens counts for half of what a token usually takes
RISE, FALL = 0.6, 0.2  # shares of a new measurement: a machine that slows down is believed sooner


class ChunkSize:
    """Sizes chunks to `step_ms` milliseconds and at most `n_batch` tokens."""

    def __init__(self, step_ms: float, n_batch: int) -> None:
        self.step_ms = step_ms
        self.n_batch = n_batch
        self._token_s: dict[int, float] = {}  # by threads
        self._read_s = 0.0  # of a token, in whatever chunks were read: mostly in the large ones
        self._rows_s = 0.0  # of `_n_rows` rows on `_rows_threads` threads
        self._n_rows = self._rows_threads = 1
        self._reach = 0
        self._n_waited = 0

    def chunk(self, anyone_speaks: bool, n_rows: int = 0, n_threads: int = 1) -> int:
        """Return how many tokens of prefill the next step may hold beside so many decode rows."""
        reach = self._reach or (MIN_CHUNK if anyone_speaks else FIRST_CHUNK)
        token_s = self._per_token(n_threads)
        if token_s:
            seconds = self.step_ms / 1000 * (1 if anyone_speaks else IDLE_STRETCH)
            n = (seconds - self._rows_take(n_rows, n_threads)) / token_s
            reach = int(min(n, reach))
        return max(MIN_CHUNK, min(reach, self.n_batch))

    def rows_wait(self, n_rows: int, n_threads: int = 1) -> bool:
        """Return whether so many rows are to wait a step, since they would take much of it.

        They have every sixth step all the same: who speaks slows down, and does not stop.
        """
        if self._rows_take(n_rows, n_threads) * 1000 < ROWS_SHARE * self.step_ms:
            self._n_waited = 0
            return False
        self._n_waited = (self._n_waited + 1) % ROWS_EVERY
        return self._n_waited > 0

    def reading_s(self, n_tokens: int) -> float | None:
        """Return the seconds that so many tokens take to read, None before any were read."""
        return n_tokens * self._read_s if self._read_s else None

    def note(self, n_prefill: int, n_rows: int, seconds: float, n_threads: int = 1) -> None:
        """Take in a step: its tokens of prefill, its decode rows, how long it took."""
        self._reach = max(self._reach, GROWTH * n_prefill)
        if seconds <= 0:
            return  # a clock that stands still
        if not n_prefill:
            self._note_rows(n_rows, seconds, n_threads)
            return
        left = seconds - self._rows_take(n_rows, n_threads)
        # What rows take may have been known wrong: a token takes no less than half of its share.
        token_s = max(left / n_prefill, seconds / (n_prefill + n_rows) / 2)
        share = n_prefill / (n_prefill + WEIGHT) if self._read_s else 1.0
        self._read_s += share * (token_s - self._read_s)
        self._token_s[n_threads] = _follow(self._token_s.get(n_threads, 0.0), token_s)

    def _note_rows(self, n_rows: int, seconds: float, n_threads: int) -> None:
        same = (n_rows, n_threads) == (self._n_rows, self._rows_threads)
        self._rows_s = _follow(self._rows_s if same else 0.0, seconds)
        self._n_rows, self._rows_threads = n_rows, n_threads

    def _rows_take(self, n_rows: int, n_threads: int) -> float:
        """Seconds of so many rows: no less than the last rows if they are as many, or fewer."""
        if not n_rows:
            return 0.0
        more = max(1.0, n_rows / self._n_rows) * max(1.0, self._rows_threads / n_threads)
        return self._rows_s * more

    def _per_token(self, n_threads: int) -> float:
        """Seconds of a token; 0 when unknown. At worst, threads gain all, or nothing."""
        known = self._token_s
        if n_threads in known or not known:
            return known.get(n_threads, 0.0)
        return max(s * max(1.0, n / n_threads) for n, s in known.items())


def _follow(mean: float, value: float) -> float:
    return mean + (RISE if value > mean else FALL) * (value - mean) if mean else value
