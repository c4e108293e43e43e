"""What is usual: a bound that no step passes that only does more work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.scheduling.step_times import N_KNOWN, SLOW, StepTimes

sizes = st.tuples(st.integers(1, 600), st.integers(0, 1_000_000))


def test_nothing_is_usual_at_first() -> None:
    usual = StepTimes()
    for _ in range(N_KNOWN):
        assert usual.expected(1, 0) == 0.0
        usual.note(1, 0, 0.02)
    assert usual.expected(1, 0) == pytest.approx(0.02)


@given(
    st.lists(sizes, min_size=N_KNOWN, max_size=40),
    sizes,
    st.tuples(st.floats(0, 1), st.floats(1e-6, 1), st.floats(0, 1e-3)),
)
def test_more_work_is_never_slow(
    before: list[tuple[int, int]], step: tuple[int, int], cost: tuple[float, float, float]
) -> None:
    """A step takes a + b * tokens + c * cells, whatever these are."""
    usual = StepTimes()
    for n_tokens, n_cells in before:
        seconds = cost[0] + cost[1] * n_tokens + cost[2] * n_cells
        if usual.expected(n_tokens, n_cells):
            assert seconds <= 1.001 * usual.expected(n_tokens, n_cells)
        usual.note(n_tokens, n_cells, seconds)
    seconds = cost[0] + cost[1] * step[0] + cost[2] * step[1]
    assert seconds <= 1.001 * usual.expected(*step) or not usual.expected(*step)


def test_cells_that_were_never_attended_to_make_no_bound() -> None:
    usual = StepTimes()
    for _ in range(8):
        usual.note(30, 0, 0.02)
    assert usual.expected(30, 0) > 0
    assert usual.expected(30, 1) == 0


def test_a_hiccup_does_not_make_hiccups_usual() -> None:
    usual = StepTimes()
    for _ in range(20):
        usual.note(1, 10, 0.02)
    usual.note(1, 10, 20.0)
    assert usual.expected(1, 10) < 0.02 * SLOW


def test_what_lasts_becomes_usual() -> None:
    usual = StepTimes()
    for seconds in [0.02] * 20 + [0.04] * 60:
        usual.note(1, 10, seconds)
    assert usual.expected(1, 10) == pytest.approx(0.04, rel=0.05)


def test_typical() -> None:
    usual = StepTimes()
    for _ in range(8):
        usual.note(10, 1000, 0.02)
    assert usual.is_typical(10, 1050) and usual.is_typical(11, 1000)
    assert not usual.is_typical(12, 1000) and not usual.is_typical(10, 1200)
