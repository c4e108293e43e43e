"""The governor: chunk and threads together, and what it says of the machine."""

import pytest

from npc_engine.scheduling.governor import Governor, Step
from npc_engine.scheduling.threads import READING, Threads
from tests.support.machines import Machine


def test_it_says_what_it_believes() -> None:
    governor = Governor(50, 512, Threads(2))
    assert governor.stats() == {
        "step_ms": 0.0,
        "prefill_tps": 0.0,
        "decode_tps": 0.0,
        "n_threads": 2,
        "n_threads_prefill": 2,
        "n_thread_switches": 0,
        "load": 0.0,
    }
    governor.note(Step(100, 0, 0.1, 0.1), load=1.5)
    governor.note(Step(0, 8, 0.04, 0.03))
    stats = governor.stats()
    assert stats["prefill_tps"] == pytest.approx(1000)
    assert stats["decode_tps"] == pytest.approx(200)
    assert stats["step_ms"] == pytest.approx(82)
    assert stats["load"] == 1.5  # the last that was heard


def test_decode_speed_is_that_of_steps_without_prefill() -> None:
    governor = Governor(50, 512)
    governor.note(Step(64, 8, 1.0, 1.0))
    assert governor.decode_tps == 0
    governor.note(Step(0, 8, 0.1, 0.1))
    assert governor.decode_tps == pytest.approx(80)


def test_it_follows_a_machine_that_slows_down() -> None:
    governor = Governor(50, 512)
    for _ in range(20):
        governor.note(Step(100, 0, 0.1, 0.1))
    for _ in range(20):
        governor.note(Step(50, 0, 0.5, 0.5))
    assert governor.prefill_tps == pytest.approx(100, rel=0.05)
    assert governor.step_ms_mean == pytest.approx(500, rel=0.05)


def test_a_clock_that_stands_still_is_harmless() -> None:
    governor = Governor(50, 512, Threads(1, 4))
    governor.note(Step(64, 2, 0.0, 0.0))
    assert governor.n_threads(2) == 1


def test_threads_are_judged_by_the_decode_alone() -> None:
    """Sampling takes what it takes, on any number of threads."""
    governor = Governor(50, 512, Threads(1, 2))
    for _ in range(200):
        decode_s = 0.010 / governor.n_threads(8)
        governor.note(Step(0, 8, decode_s + 0.09, decode_s))
    assert governor.stats()["n_threads"] == 2


def test_a_village_beside_a_game_keeps_its_steps_and_its_threads() -> None:
    """Speaking and reading mixed, quiet, busy and quiet again."""
    machine = Machine(2, token_s=0.0008, weights_s=0.008, seed=4)
    threads = Threads(1, 2)
    governor = Governor(50, 512, threads)
    too_long = {}
    for load in (0, 2, 0):
        machine.load = load
        n_long = 0
        for i in range(900):
            n_rows = 1 + i // 30 % 8
            n = governor.chunk(True, n_rows) if i % 3 else 0
            n_threads = governor.n_threads(n + n_rows)
            seconds = machine.step(n_threads, n + n_rows)
            governor.note(Step(n, n_rows, seconds, seconds), float(load))
            n_long += machine.exact(n_threads, n + n_rows) > 1.25 * 0.05
        too_long[load] = n_long
        best = 1 if load else 2
        assert (threads.settled(8), threads.settled(READING)) == (best, best)
    assert max(too_long.values()) < 45  # of 900: those amid a change, and probes
