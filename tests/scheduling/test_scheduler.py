"""The scheduler: what a step is, what it says of the machine, chunk and threads together."""

from collections.abc import Sequence as Seq
from typing import Any

import pytest

from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.kvcache.sequence import Sequence
from npc_engine.scheduling.batching import Claim, Priority, Run
from npc_engine.scheduling.scheduler import Batch, Scheduler
from npc_engine.scheduling.threads import READING, Threads
from tests.support.fake_llama import FakeLlama
from tests.support.machines import Machine


class Clocked:
    """A scheduler with a clock and a load of its own."""

    def __init__(self, threads: Threads | None = None, **keys: Any) -> None:
        self.now = 0.0
        self.load: float | None = None
        self.scheduler = Scheduler(
            50, 512, lambda: self.now, threads=threads, load=lambda: self.load, **keys
        )
        self.rows = [claim(Priority.PLAYER, 1, speaking=True) for _ in range(8)]
        self.reader = claim(Priority.NEAR, 9000)

    def note(self, n_prefill: int, n_rows: int, seconds: float, decode_s: float) -> None:
        """A step of so much, whatever the scheduler would have chosen, has been run."""
        runs = [Run(row, 1, True) for row in self.rows[:n_rows]]
        if n_prefill:
            runs.append(Run(self.reader, n_prefill, False))
        self.end(Batch(runs, self.n_threads(n_prefill + n_rows), self.now), seconds, decode_s)

    def end(self, batch: Batch, seconds: float, decode_s: float) -> None:
        batch.decoded = self.now + decode_s
        self.now += seconds
        self.scheduler.note(batch)

    def n_threads(self, n_tokens: int) -> int:
        return self.scheduler._threads.count(n_tokens)


def claim(priority: Priority, n_pending: int, *, speaking: bool = False, **keys: Any) -> Claim:
    sequence = Sequence(Ledger(10_000, 10_000), FakeLlama())
    sequence.append(Segment(Kind.SAID, [0] * n_pending))
    return Claim(priority.name, sequence, priority, 1, speaking=speaking, **keys)


# What a batch is


def test_its_runs_stand_in_the_order_of_their_slots() -> None:
    claims = [claim(Priority.NEAR, 1, speaking=True) for _ in range(3)]
    for row, slot in zip(claims, (2, 0, 1), strict=True):
        row.sequence.slot = slot
    batch = Scheduler(50, 512, lambda: 0.0).schedule(claims)
    assert [run.claim.sequence.slot for run in batch.runs] == [0, 1, 2]
    assert [slot for slot, *_ in batch.spans()] == [0, 1, 2]


def test_it_counts_itself() -> None:
    c = Clocked()
    batch = c.scheduler.schedule([*c.rows[:3], c.reader])
    n = next(run.n_tokens for run in batch.runs if run.claim is c.reader)
    assert (batch.n_rows, batch.n_prefill, batch.n_cells) == (3, n, 3 + n * n)
    assert [(len(tokens), logits) for _, _, tokens, logits in batch.spans()] == [
        *[(1, True)] * 3,
        (n, False),  # it is not read yet
    ]


def test_without_a_claim_there_is_none() -> None:
    batch = Clocked().scheduler.schedule([])
    assert not batch
    assert not batch.is_line
    assert batch.spans() == []


def test_who_is_watched_is_looked_at_in_a_pause_alone() -> None:
    watched = claim(Priority.IDLE, 3, watched=True)
    row = claim(Priority.AMBIENT, 1, speaking=True)
    alone = Batch([Run(watched, 3, True)], 1, 0.0)
    beside = Batch([Run(watched, 3, True), Run(row, 1, True)], 1, 0.0)
    assert [alone.looks_at(run) for run in alone.runs] == [True]
    assert [beside.looks_at(run) for run in beside.runs] == [False, False]
    assert [logits for *_, logits in beside.spans()] == [False, True]
    row.priority = Priority.IDLE  # its line ends in this batch
    assert not beside.is_line
    assert [beside.looks_at(run) for run in beside.runs] == [False, False], "it has no logits"


def test_ambient_speech_pauses_between_its_steps_unless_somebody_stands() -> None:
    c = Clocked(ambient_share=0.25)
    row = claim(Priority.AMBIENT, 1, speaking=True)
    assert c.scheduler.patience() is None
    c.end(c.scheduler.schedule([row]), 0.1, 0.1)
    assert not c.scheduler.schedule([row])
    assert c.scheduler.patience() == pytest.approx(0.3)
    assert c.scheduler.schedule([row], [claim(Priority.PLAYER, 5)]), "a player waits for a slot"
    c.now += 0.3
    assert c.scheduler.schedule([row])


# What it says of the machine


def test_it_says_what_it_believes() -> None:
    c = Clocked(Threads(2))
    assert c.scheduler.stats() == {
        "n_steps": 0,
        "n_decoded": 0,
        "n_prefilled": 0,
        "step_ms": 0.0,
        "prefill_tps": 0.0,
        "decode_tps": 0.0,
        "n_threads": 2,
        "n_threads_prefill": 2,
        "n_thread_switches": 0,
        "load": 0.0,
    }
    c.load = 1.5
    c.note(100, 0, 0.1, 0.1)
    c.load = None
    c.note(0, 8, 0.04, 0.03)
    stats = c.scheduler.stats()
    assert (stats["n_steps"], stats["n_decoded"], stats["n_prefilled"]) == (2, 8, 100)
    assert stats["prefill_tps"] == pytest.approx(1000)
    assert stats["decode_tps"] == pytest.approx(200)
    assert stats["step_ms"] == pytest.approx(82)
    assert stats["load"] == 1.5  # the last that was heard


def test_decode_speed_is_that_of_steps_without_prefill() -> None:
    c = Clocked()
    c.note(64, 8, 1.0, 1.0)
    assert c.scheduler.stats()["decode_tps"] == 0
    c.note(0, 8, 0.1, 0.1)
    assert c.scheduler.stats()["decode_tps"] == pytest.approx(80)


def test_it_follows_a_machine_that_slows_down() -> None:
    c = Clocked()
    for _ in range(20):
        c.note(100, 0, 0.1, 0.1)
    for _ in range(20):
        c.note(50, 0, 0.5, 0.5)
    assert c.scheduler.stats()["prefill_tps"] == pytest.approx(100, rel=0.05)
    assert c.scheduler.stats()["step_ms"] == pytest.approx(500, rel=0.05)


def test_a_clock_that_stands_still_is_harmless() -> None:
    c = Clocked(Threads(1, 4))
    c.note(64, 2, 0.0, 0.0)
    assert c.n_threads(2) == 1


def test_threads_are_judged_by_the_decode_alone() -> None:
    """Sampling takes what it takes, on any number of threads."""
    c = Clocked(Threads(1, 2))
    for _ in range(200):
        decode_s = 0.010 / c.n_threads(8)
        c.note(0, 8, decode_s + 0.09, decode_s)
    assert c.scheduler.stats()["n_threads"] == 2


def test_a_village_beside_a_game_keeps_its_steps_and_its_threads() -> None:
    """Speaking and reading mixed, quiet, busy and quiet again."""
    machine = Machine(2, token_s=0.0008, weights_s=0.008, seed=4)
    threads = Threads(1, 2)
    c = Clocked(threads)
    too_long = {}
    for load in (0, 2, 0):
        machine.load = load
        c.load = float(load)
        n_long = 0
        for i in range(900):
            rows: Seq[Claim] = c.rows[: 1 + i // 30 % 8]
            batch = c.scheduler.schedule([*rows, c.reader] if i % 3 else [*rows])
            assert batch.n_rows == len(rows)
            n_tokens = batch.n_prefill + batch.n_rows
            seconds = machine.step(batch.n_threads, n_tokens)
            c.end(batch, seconds, seconds)
            n_long += machine.exact(batch.n_threads, n_tokens) > 1.25 * 0.05
        too_long[load] = n_long
        best = 1 if load else 2
        assert (threads.settled(8), threads.settled(READING)) == (best, best)
    assert max(too_long.values()) < 45  # of 900: those amid a change, and trials
