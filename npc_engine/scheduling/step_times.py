"""What steps usually take, and so what the next one should.

Owns running means, and the bound that follows. It knows no threads and no clock.
"""

__all__ = ["N_KNOWN", "SLOW", "StepTimes"]

SLOW = 1.5  # times the usual: a slow step
SMOOTHING = 0.1
N_KNOWN = 4  # steps before anything is usual


class StepTimes:
    """Means of time, tokens and cells over about the last ten steps."""

    def __init__(self) -> None:
        self.n = 0
        self.seconds = self.n_tokens = self.n_cells = 0.0

    def expected(self, n_tokens: int, n_cells: int) -> float:
        """The seconds that a step is within, if nothing has changed; 0 when unknown.

        A step takes a + b * tokens + c * cells. So it grows no more than the one or the other does;
        of a smaller one nothing is said, since nobody knows a.
        """
        if self.n < N_KNOWN or (n_cells and not self.n_cells):
            return 0.0
        more_cells = n_cells / self.n_cells if self.n_cells else 1.0
        return self.seconds * max(1.0, n_tokens / self.n_tokens, more_cells)

    def is_typical(self, n_tokens: int, n_cells: int) -> bool:
        """Whether such a step does about as much as they usually do."""
        return (
            abs(n_tokens - self.n_tokens) <= 0.1 * self.n_tokens
            and abs(n_cells - self.n_cells) <= 0.1 * self.n_cells
        )

    def note(self, n_tokens: int, n_cells: int, seconds: float) -> None:
        """Take in a step."""
        expected = self.expected(n_tokens, n_cells)
        if expected:
            seconds = min(seconds, SLOW * expected)  # a hiccup does not make hiccups usual
        share = max(SMOOTHING, 1 / (self.n + 1))
        self.seconds += share * (seconds - self.seconds)
        self.n_tokens += share * (n_tokens - self.n_tokens)
        self.n_cells += share * (n_cells - self.n_cells)
        self.n += 1
