"""A probe: says yes to what is faster, no to the rest, and soon."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.scheduling.ab_trial import N_EARLY, N_PAIRS, N_VOID, ABTrial, alike


def verdict(
    other: float, current: float, n_block: int = 2, noise: float = 0.0, seed: int = 0
) -> tuple[bool, int]:
    """The verdict on steps of so many seconds, and after how many of them."""
    probe = ABTrial(n_block)
    rng = random.Random(seed)
    for n in range(1, 1000):
        seconds = other if probe.tries_other else current
        won = probe.note(1, seconds * rng.lognormvariate(0, noise))
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
    probe = ABTrial(2)
    ways = []
    for _ in range(8):
        ways.append(probe.tries_other)
        probe.note(1, 1.0)
    assert ways == [True, True, False, False] * 2


def test_noise_seldom_wins() -> None:
    assert sum(verdict(1.0, 1.0, noise=0.08, seed=seed)[0] for seed in range(400)) < 12
    assert sum(verdict(0.75, 1.0, noise=0.08, seed=seed)[0] for seed in range(400)) > 360


def test_a_machine_that_slows_down_meanwhile_weighs_on_both() -> None:
    probe = ABTrial(1)
    won = None
    for i in range(100):
        won = probe.note(1, (0.8 if probe.tries_other else 1.0) * 1.01**i)
        if won is not None:
            break
    assert won is True


def test_steps_of_another_size_spoil_a_pair() -> None:
    probe = ABTrial(2)
    probe.note(1, 1.0)
    assert probe.note(2, 9.0) is None
    assert probe.tries_other
    for _ in range(3):
        probe.note(1, 1.0)
    assert not probe.tries_other
    assert probe.ratio == 1.0


def test_one_that_is_always_spoilt_ends() -> None:
    probe = ABTrial(2)
    found = [probe.note(1 + i % 2, 1.0) for i in range(4 * N_VOID)]
    assert False in found and True not in found


def test_reading_is_compared_per_token() -> None:
    probe = ABTrial(1)
    probe.note(100, 1.0)
    probe.note(80, 1.0)
    assert probe.ratio == pytest.approx(0.8)


def test_an_interrupted_pair_begins_again() -> None:
    probe = ABTrial(1)
    probe.note(1, 9.0)
    probe.interrupt()
    assert probe.tries_other
    probe.note(1, 1.0)
    probe.note(1, 2.0)
    assert probe.ratio == 0.5


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [(1, 1, True), (8, 7, False), (60, 180, True), (60, 181, False), (16, 17, False)],
)
def test_alike(a: int, b: int, same: bool) -> None:
    assert alike(a, b) is alike(b, a) is same


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 600), st.just(0.0) | st.floats(1e-9, 1e9)), min_size=400))
def test_it_ends_whatever_it_hears(steps: list[tuple[int, float]]) -> None:
    probe = ABTrial(2)
    assert any(probe.note(n, seconds) is not None for n, seconds in steps)
