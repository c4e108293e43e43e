"""A simulated computer: threads, cores, other programs and a batch to the seconds of a step."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from npc_engine.scheduling.threads import Threads


@dataclass
class Machine:
    """`n_cores` cores, of which a game keeps `load` busy. `token_s`: of one token on one thread.

    A step ends with its slowest thread. Beyond the free cores a thread shares one with the game;
    then all wait for it, and each waiting costs (`wait`).
    """

    n_cores: int = 2
    load: int = 0
    token_s: float = 0.002
    weights_s: float = 0.014  # read once a step
    serial: float = 0.1
    wait: float = 0.2
    noise: float = 0.07
    hiccups: float = 0.01
    seed: int = 1
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def exact(self, n_threads: int, n_tokens: int) -> float:
        """Seconds of a step, without noise."""
        share = self.serial + (1 - self.serial) / n_threads
        if n_threads > self.n_cores - self.load:
            share = 1.4 if n_threads == 1 else 2.4 * share + self.wait
        return (self.weights_s + self.token_s * n_tokens) * share

    def step(self, n_threads: int, n_tokens: int) -> float:
        """Seconds of a step as a clock would have them."""
        hiccup = self.rng.uniform(1.5, 3) if self.rng.random() < self.hiccups else 1.0
        return self.exact(n_threads, n_tokens) * self.rng.lognormvariate(0, self.noise) * hiccup

    def best(self, n_tokens: int) -> int:
        """The best count for such steps."""
        return min(range(1, self.n_cores + 1), key=lambda n: self.exact(n, n_tokens))


def run(
    machine: Machine, threads: Threads, sizes: Iterable[int], hears: bool = False
) -> list[tuple[int, float]]:
    """Run steps of these sizes; return count and exact seconds of each."""
    out = []
    for n_tokens in sizes:
        n = threads.count(n_tokens)
        threads.note(n_tokens, machine.step(n, n_tokens))
        if hears:
            threads.note_load(machine.load * machine.rng.uniform(0.9, 1.1))
        out.append((n, machine.exact(n, n_tokens)))
    return out


def ratio(machine: Machine, steps: list[tuple[int, float]], n_tokens: int) -> float:
    """How fast these steps were, to the best fixed count: 1 is as fast."""
    best = machine.exact(machine.best(n_tokens), n_tokens)
    return len(steps) * best / sum(seconds for _, seconds in steps)
