"""What is to be expected of a step: a bound that no step passes that only does more work.

And a trial: it says yes to what is faster, no to the rest, and soon.
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.scheduling.step_times import (
    N_EARLY,
    N_KNOWN,
    N_PAIRS,
    N_VOID,
    SLOW,
    ABTrial,
    StepTimes,
    alike,
)

sizes = st.tuples(st.integers(1, 600), st.integers(0, 1_000_000))


def test_nothing_is_usual_at_first() -> None:
    times = StepTimes()
    for _ in range(N_KNOWN):
        assert times.expected(1, 0) == 0.0
        times.note(1, 0, 0.02)
    assert times.expected(1, 0) == pytest.approx(0.02)


@given(
    st.lists(sizes, min_size=N_KNOWN, max_size=40),
    sizes,
    st.tuples(st.floats(0, 1), st.floats(1e-6, 1), st.floats(0, 1e-3)),
)
def test_more_work_is_never_slow(
    before: list[tuple[int, int]], step: tuple[int, int], cost: tuple[float, float, float]
) -> None:
    """A step takes a + b * tokens + c * cells, whatever these are."""
    times = StepTimes()
    for n_tokens, n_cells in before:
        seconds = cost[0] + cost[1] * n_tokens + cost[2] * n_cells
        if times.expected(n_tokens, n_cells):
            assert seconds <= 1.001 * times.expected(n_tokens, n_cells)
        times.note(n_tokens, n_cells, seconds)
    seconds = cost[0] + cost[1] * step[0] + cost[2] * step[1]
    assert seconds <= 1.001 * times.expected(*step) or not times.expected(*step)


def test_cells_that_were_never_attended_to_make_no_bound() -> None:
    times = StepTimes()
    for _ in range(8):
        times.note(30, 0, 0.02)
    assert times.expected(30, 0) > 0
    assert times.expected(30, 1) == 0


def test_a_hiccup_does_not_make_hiccups_usual() -> None:
    times = StepTimes()
    for _ in range(20):
        times.note(1, 10, 0.02)
    times.note(1, 10, 20.0)
    assert times.expected(1, 10) < 0.02 * SLOW


def test_what_lasts_becomes_usual() -> None:
    times = StepTimes()
    for seconds in [0.02] * 20 + [0.04] * 60:
        times.note(1, 10, seconds)
    assert times.expected(1, 10) == pytest.approx(0.04, rel=0.05)


def test_typical() -> None:
    times = StepTimes()
    for _ in range(8):
        times.note(10, 1000, 0.02)
    assert times.is_typical(10, 1050) and times.is_typical(11, 1000)
    assert not times.is_typical(12, 1000) and not times.is_typical(10, 1200)


# A trial


def verdict(
    other: float, current: float, n_block: int = 2, noise: float = 0.0, seed: int = 0
) -> tuple[bool, int]:
    """The verdict on steps of so many seconds, and after how many of them."""
    trial = ABTrial(n_block)
    rng = random.Random(seed)
    for n in range(1, 1000):
        seconds = other if trial.tries_other else current
        won = trial.note(1, seconds * rng.lognormvariate(0, noise))
        if won is not None:
            return won, n
    raise AssertionError("it never ends")


@pytest.mark.parametrize(
    ("other", "n_pairs", "won"),
    [
        (0.5, N_EARLY, True),  # clear
        (0.85, N_PAIRS, True),
        (0.95, N_PAIRS, False),  # faster, but not by enough
        (1.0, N_EARLY, False),
        (1.5, 2, False),  # a loss ends it
        (1.7, 1, False),  # at once
    ],
)
def test_verdicts(other: float, n_pairs: int, won: bool) -> None:
    assert verdict(other, 1.0) == (won, 4 * n_pairs)


def test_it_goes_the_other_way_first_and_in_turns() -> None:
    trial = ABTrial(2)
    ways = []
    for _ in range(8):
        ways.append(trial.tries_other)
        trial.note(1, 1.0)
    assert ways == [True, True, False, False] * 2


def test_noise_seldom_wins() -> None:
    assert sum(verdict(1.0, 1.0, noise=0.08, seed=seed)[0] for seed in range(400)) < 12
    assert sum(verdict(0.75, 1.0, noise=0.08, seed=seed)[0] for seed in range(400)) > 360


def test_a_machine_that_slows_down_meanwhile_weighs_on_both() -> None:
    trial = ABTrial(1)
    won = None
    for i in range(100):
        won = trial.note(1, (0.8 if trial.tries_other else 1.0) * 1.01**i)
        if won is not None:
            break
    assert won is True


def test_steps_of_another_size_spoil_a_pair() -> None:
    trial = ABTrial(2)
    trial.note(1, 1.0)
    assert trial.note(2, 9.0) is None
    assert trial.tries_other
    for _ in range(3):
        trial.note(1, 1.0)
    assert not trial.tries_other
    assert trial.ratio == 1.0


def test_one_that_is_always_spoilt_ends() -> None:
    trial = ABTrial(2)
    found = [trial.note(1 + i % 2, 1.0) for i in range(4 * N_VOID)]
    assert False in found and True not in found


def test_reading_is_compared_per_token() -> None:
    trial = ABTrial(1)
    trial.note(100, 1.0)
    trial.note(80, 1.0)
    assert trial.ratio == pytest.approx(0.8)


def test_an_interrupted_pair_begins_again() -> None:
    trial = ABTrial(1)
    trial.note(1, 9.0)
    trial.interrupt()
    assert trial.tries_other
    trial.note(1, 1.0)
    trial.note(1, 2.0)
    assert trial.ratio == 0.5


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [(1, 1, True), (8, 7, False), (60, 180, True), (60, 181, False), (16, 17, False)],
)
def test_alike(a: int, b: int, same: bool) -> None:
    assert alike(a, b) is alike(b, a) is same


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 600), st.just(0.0) | st.floats(1e-9, 1e9)), min_size=400))
def test_it_ends_whatever_it_hears(steps: list[tuple[int, float]]) -> None:
    trial = ABTrial(2)
    assert any(trial.note(n, seconds) is not None for n, seconds in steps)
