"""How many threads a step runs on, chosen by what steps take while the engine speaks.

Owns a choice for each kind of step, and the trials that keep it right. It knows no clock, no
llama and no cores: whoever runs steps says how long they took.

    kinds    1 token | 2-4 | 5-16 | more: reading
    ladder   1  2  3  4  6  8  12 ...      up to all cores that may be used

Rules
 1. Compared are steps of about as many tokens, close in time (`step_times`). Fewer threads can be
    faster: the work of a small step is less than waking a thread, and a busy core keeps all
    others waiting.
 2. A trial tries a neighbour on the ladder, half, or twice as many: beside a game on half of the
    cores, one thread less is as slow as one too many. It wins with 10 % less time.
 3. After each round of trials that wins nothing the waits double. What trials have lost must be
    less than 3 % of the time since.
 4. Alarm: two steps in a row that take 2.5 times the usual, or one that takes 4 times and is felt.
    A game got busy: half the threads at once, for steps of every kind, and no trial needed. The
    way back is by trials, and longer after each alarm that follows closely on another. More
    tokens, or more cells that they attend to, are no alarm; nor is twice the usual: where two
    programs take turns on a core, any count of threads has such steps, and fewer get less of it.
 5. When steps get faster or slower for long, or other programs take more or fewer cores than
    before, trials come soon again; at once where it is slower.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

from npc_engine.scheduling.step_times import ABTrial, StepTimes

__all__ = ["READING", "Threads"]

KINDS = (1, 4, 16)  # the most tokens in steps of each kind; a last kind is reading
READING = KINDS[-1] + 1
"""Tokens from which on a step counts as reading."""

N_WAIT, N_WAIT_READING = 8, 4  # steps of a kind before a trial; those that read are rarer, longer
N_BLOCK, N_BLOCK_READING = 2, 1
MAX_LEVEL = 4  # of backing off: each doubles the wait
TOO_SLOW = 2.0  # a step of a trial that takes as many times the usual ends it
MAX_COST = 0.03
ALARMING = 2.5  # times the usual
VERY_SLOW = 4.0
FELT_S = 0.25  # one slow step that is shorter may be anything: a K-shift, a page fault
CHANGED, N_CHANGED = 1.25, 4  # so many steps in a row that differ by as much
N_CALM = 400  # steps after which an alarm is forgotten
LOAD_CHANGED = 0.5  # cores


@dataclass
class _Kind:
    """The choice for steps of one kind. `at`, `left`, `home`: places on the ladder."""

    n_wait: int
    n_block: int
    at: int
    left: int = -1  # where it came from
    home: int = 0  # where it was before alarms
    to_try: list[int] = field(default_factory=list)  # what is left of this round
    level: int = 0
    n_since: int = 0  # steps since the last trial, or change
    n_steps: int = 0
    debt: float = 0.0  # seconds that trials have lost and that are not worked off yet
    trial: ABTrial | None = None
    other: int = 0  # what the trial tries
    times: StepTimes = field(default_factory=StepTimes)
    n_slow: int = 0
    n_changed: int = 0  # in a row: steps that took longer, or below 0: less time

    @property
    def now(self) -> int:
        """Where the next step is run."""
        return self.other if self.trial and self.trial.tries_other else self.at

    @property
    def may_try(self) -> bool:
        return self.debt <= 0 and self.n_since >= self.n_wait << self.level

    def settle(self) -> None:
        """Begin anew: nothing is known of what steps take now."""
        self.trial = None
        self.times = StepTimes()
        self.n_since = self.n_slow = self.n_changed = 0


class Threads:
    """A count for each kind of step. `start`: the first, `most`: all that may be used.

    With `start` alone the count is fixed.
    """

    def __init__(self, start: int, most: int | None = None) -> None:
        self._ladder = _ladder(start, most)
        at = self._ladder.index(start)
        self._kinds = [_Kind(N_WAIT, N_BLOCK, at) for _ in KINDS]
        self._kinds.append(_Kind(N_WAIT_READING, N_BLOCK_READING, at))
        self._n_alarms = 0
        self._n_calm = 0
        self._load = 0.0
        self.n_switches = 0

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self._ladder) == 1

    def count(self, n_tokens: int) -> int:
        """Return on how many threads a step of so many tokens is to run."""
        return self._ladder[self._kind(n_tokens).now]

    def settled(self, n_tokens: int) -> int:
        """Return the count that is chosen for such a step, whatever a trial tries just now."""
        return self._ladder[self._kind(n_tokens).at]

    def note(self, n_tokens: int, seconds: float, n_cells: int = 0) -> None:
        """Take in a step that ran on `count(n_tokens)` threads.

        `n_cells`: cells that its tokens attended to, summed over them.
        """
        if self.is_fixed or n_tokens < 1 or seconds <= 0:
            return
        kind = self._kind(n_tokens)
        kind.n_steps += 1
        self._n_calm += 1
        if kind.trial is not None and kind.trial.tries_other:
            self._note_other(kind, n_tokens, n_cells, seconds)
        else:
            self._note_current(kind, n_tokens, n_cells, seconds)

    def note_load(self, load: float | None) -> None:
        """Take in how many cores other programs take, as far as anybody knows."""
        if load is None or abs(load - self._load) < LOAD_CHANGED:
            return
        free = self._place(self._ladder[-1] - round(load))
        for kind in self._kinds:
            # What is left of the round stays: a load that flutters must not keep it from its end.
            rest = kind.to_try or self._round(kind.at, upward=load < self._load)
            kind.to_try = list(dict.fromkeys([free, *rest]))
            kind.level = 0
        self._load = load

    def rest(self) -> None:
        """Note that steps pause: the next ones are not close in time to the last."""
        for kind in self._kinds:
            if kind.trial is not None:
                kind.trial.interrupt()

    def _kind(self, n_tokens: int) -> _Kind:
        """The kind of a step. One that is new takes over the choice of its neighbour below."""
        i = sum(n_tokens > most for most in KINDS)
        kind = self._kinds[i]
        if not kind.n_steps and 0 < i < len(KINDS):
            kind.at = self._kinds[i - 1].at
        return kind

    def _note_other(self, kind: _Kind, n_tokens: int, n_cells: int, seconds: float) -> None:
        assert kind.trial is not None
        expected = kind.times.expected(n_tokens, n_cells)
        kind.debt += max(0.0, seconds - expected) if expected else 0.0
        won = kind.trial.note(n_tokens, seconds)
        if won is not None:
            self._end_trial(kind, won)
        elif expected and seconds > TOO_SLOW * expected:
            self._end_trial(kind, False)

    def _note_current(self, kind: _Kind, n_tokens: int, n_cells: int, seconds: float) -> None:
        kind.debt = max(0.0, kind.debt - MAX_COST * seconds)
        expected = kind.times.expected(n_tokens, n_cells)
        if self._is_alarming(kind, seconds, expected):
            self._alarm()
            return
        if expected and kind.times.is_typical(n_tokens, n_cells):
            self._note_change(kind, seconds, expected)
        kind.times.note(n_tokens, n_cells, seconds)
        if kind.trial is not None:
            won = kind.trial.note(n_tokens, seconds)
            if won is not None:
                self._end_trial(kind, won)
            return
        kind.n_since += 1
        if kind.may_try:
            self._begin_trial(kind)

    def _is_alarming(self, kind: _Kind, seconds: float, expected: float) -> bool:
        if not expected or seconds < ALARMING * expected:
            kind.n_slow = 0
            return False
        kind.n_slow += 1
        if all(k.at == 0 for k in self._kinds):
            return False  # nothing to give up
        return kind.n_slow >= 2 or seconds > max(VERY_SLOW * expected, FELT_S)

    def _alarm(self) -> None:
        """Rule 4."""
        self._n_alarms = 1 + (self._n_alarms if self._n_calm < N_CALM else 0)
        self._n_calm = 0
        self.n_switches += 1
        for kind in self._kinds:
            kind.home = max(kind.home, kind.at)
            kind.left, kind.at = kind.at, self._place(self._ladder[kind.at] // 2)
            kind.settle()
            kind.debt = 0.0  # it was the game that cost the time, and no trial
            self._stir(kind, kind.home, upward=False)
            kind.level = min(self._n_alarms - 1, MAX_LEVEL)

    def _note_change(self, kind: _Kind, seconds: float, expected: float) -> None:
        """Rule 5, by what steps take."""
        if seconds > CHANGED * expected:
            kind.n_changed = max(kind.n_changed, 0) + 1
        elif seconds * CHANGED < expected:
            kind.n_changed = min(kind.n_changed, 0) - 1
        else:
            kind.n_changed = 0
        if abs(kind.n_changed) >= N_CHANGED:
            upward = kind.n_changed < 0
            kind.settle()
            self._stir(kind, kind.home if upward else kind.at, upward=upward)
            kind.n_since = 0 if upward else kind.n_wait

    def _stir(self, kind: _Kind, first: int, upward: bool) -> None:
        """Try soon again: `first`, then this way."""
        kind.level = 0
        kind.to_try = list(dict.fromkeys([first, *self._round(kind.at, upward)]))

    def _round(self, at: int, upward: bool) -> list[int]:
        """The places that are tried from here, in this order."""
        up = [at + 1, self._place(self._ladder[at] * 2)]
        down = [self._place(self._ladder[at] // 2), at - 1]
        places = [*up, *down] if upward else [*down, *up]
        return [p for p in dict.fromkeys(places) if 0 <= p < len(self._ladder) and p != at]

    def _place(self, count: int) -> int:
        """The place on the ladder of the most threads that are no more than `count`."""
        return max(0, bisect_right(self._ladder, count) - 1)

    def _begin_trial(self, kind: _Kind) -> None:
        kind.to_try = [p for p in kind.to_try if p != kind.at] or self._round(kind.at, upward=True)
        kind.other = kind.to_try.pop(0)
        kind.trial = ABTrial(kind.n_block)

    def _end_trial(self, kind: _Kind, won: bool) -> None:
        """Rules 2 and 3. Going back where it came from is no reason to look again soon."""
        back = kind.other == kind.left
        if back or (not won and not kind.to_try):
            kind.level = min(kind.level + 1, MAX_LEVEL)
        kind.trial = None
        kind.n_since = 0
        if won:
            self.n_switches += 1
            kind.left, kind.at = kind.at, kind.other
            kind.settle()
            kind.to_try = self._round(kind.at, upward=kind.at > kind.left)
            if not back:
                kind.level = 0


def _ladder(start: int, most: int | None) -> list[int]:
    """The counts that are worth a try: all small ones, then steps of a third to a half."""
    if most is None:
        return [start]
    counts = {1, start, max(start, most)}
    step = 1
    while step <= most:
        counts |= {step, min(step * 3 // 2, most)}
        step *= 2
    return sorted(counts)
