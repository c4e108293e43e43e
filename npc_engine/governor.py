"""How large a prefill chunk may be, from measured step times.

Owns one number, the prefill speed of this model on this machine as it is now. It knows no clock:
whoever runs steps tells it how long they took.
"""

__all__ = ["MIN_CHUNK", "Governor"]

MIN_CHUNK = 16
IDLE_STRETCH = 4  # nobody speaks: a step may take this much longer, and reads in bigger pieces
SMOOTHING = 0.3


class Governor:
    """Sizes prefill chunks to a step's time. `step_ms`: milliseconds, `n_batch`: tokens."""

    def __init__(self, step_ms: float, n_batch: int) -> None:
        self.step_ms = step_ms
        self.n_batch = n_batch
        self.prefill_tps = 0.0
        self.decode_tps = 0.0
        self.step_ms_mean = 0.0

    def chunk(self, anyone_speaks: bool) -> int:
        """Return how many tokens of prefill the next step may hold."""
        if not self.prefill_tps:
            return min(64, self.n_batch)
        seconds = self.step_ms / 1000 * (1 if anyone_speaks else IDLE_STRETCH)
        return max(MIN_CHUNK, min(self.n_batch, int(self.prefill_tps * seconds)))

    def note(self, n_tokens: int, seconds: float, n_rows: int = 0) -> None:
        """Take in a step: its tokens of prefill, how long it took, its decode rows."""
        self.step_ms_mean = _smooth(self.step_ms_mean, seconds * 1000)
        if n_tokens >= MIN_CHUNK and seconds > 0:
            self.prefill_tps = _smooth(self.prefill_tps, n_tokens / seconds)
        if n_rows and not n_tokens and seconds > 0:
            self.decode_tps = _smooth(self.decode_tps, n_rows / seconds)


def _smooth(mean: float, value: float) -> float:
    return value if not mean else mean + SMOOTHING * (value - mean)
