"""What steps take: what is to be expected of one, and which of two ways of doing it is faster.

Owns running means, with the bound that follows from them; and one trial of another way against the
current one: its pairs, and when it is over. It knows no clock, and not what the ways are: `threads`
asks about thread counts.

    steps   o o c c   o o c c   o o c c        o: the other way, c: the current one
            pair 1    pair 2    pair 3

Only steps within a pair are compared. They stand close together, so that a growing context, or a
game that gets busy, weighs on both alike; the median over pairs is not moved by one hiccup.
"""

import statistics

__all__ = ["MARGIN", "N_KNOWN", "SLOW", "ABTrial", "StepTimes", "alike"]

SLOW = 1.5  # times the usual: a slow step
SMOOTHING = 0.1
N_KNOWN = 4  # steps before anything is usual

MARGIN = 1.1  # how much faster the other way must be to win
N_PAIRS = 5
N_EARLY = 3  # so many pairs may do, where they are clear
CLEAR = 1.25
HOPELESS = 1.6  # one pair is enough; a hiccup seldom makes as much of one
N_VOID = 6  # pairs that may be spoilt by steps of another size before it is given up


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


class ABTrial:
    """A trial in blocks of `n_block` steps. It begins with the other way."""

    def __init__(self, n_block: int) -> None:
        self._n_block = n_block
        self._ratios: list[float] = []  # the other way's time to the current one's, of each pair
        self._pair: list[tuple[int, float]] = []
        self._n_void = 0

    @property
    def tries_other(self) -> bool:
        """Whether the next step goes the other way."""
        return len(self._pair) < self._n_block

    @property
    def ratio(self) -> float:
        """The median of the other way's time to the current one's; 1 before there is a pair."""
        return statistics.median(self._ratios) if self._ratios else 1.0

    def note(self, n_tokens: int, seconds: float) -> bool | None:
        """Take in a step. Return whether the other way wins, as soon as it is known."""
        if self._pair and not alike(self._pair[0][0], n_tokens):
            self._pair.clear()
            self._n_void += 1
            return False if self._n_void > N_VOID else None
        self._pair.append((n_tokens, seconds))
        if len(self._pair) < 2 * self._n_block:
            return None
        other, current = self._pair[: self._n_block], self._pair[self._n_block :]
        self._pair = []
        if _cost(current) > 0:  # a clock that stands still says nothing
            self._ratios.append(_cost(other) / _cost(current))
        else:
            self._n_void += 1
        return self._verdict()

    def interrupt(self) -> None:
        """Forget the pair under way: what comes next is not close in time any more."""
        self._pair.clear()

    def _verdict(self) -> bool | None:
        ratios = self._ratios
        if self._n_void > N_VOID or (ratios and ratios[-1] > HOPELESS):
            return False
        if len(ratios) > 1 and self.ratio > CLEAR:
            return False
        if len(ratios) < N_EARLY:
            return None
        if max(ratios) < 1 / CLEAR:
            return True
        if self.ratio >= 1:
            return False
        if len(ratios) < N_PAIRS:
            return None
        return self.ratio < 1 / MARGIN and sum(r < 1 for r in ratios) >= N_PAIRS - 1


def alike(a: int, b: int) -> bool:
    """Whether steps of so many tokens may be compared: equal ones, or large ones per token.

    A faster way reads more in the time of a step, so large ones may differ.
    """
    return a == b if min(a, b) <= 16 else max(a, b) <= 3 * min(a, b)


def _cost(steps: list[tuple[int, float]]) -> float:
    """Seconds per token."""
    return sum(seconds for _, seconds in steps) / sum(n_tokens for n_tokens, _ in steps)
