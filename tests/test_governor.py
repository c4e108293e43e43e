"""The governor: chunks that fit a step's time, whatever was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.governor import IDLE_STRETCH, MIN_CHUNK, Governor


def test_before_anything_is_measured_the_chunk_is_careful() -> None:
    assert Governor(50, 512).chunk(False) == 64
    assert Governor(50, 32).chunk(True) == 32


def test_a_chunk_takes_the_time_of_a_step() -> None:
    governor = Governor(50, 512)
    governor.note(100, 0.1)
    assert governor.prefill_tps == pytest.approx(1000)
    assert governor.chunk(anyone_speaks=True) == 50
    assert governor.chunk(anyone_speaks=False) == 50 * IDLE_STRETCH


def test_a_slow_machine_still_reads_and_a_fast_one_keeps_to_the_batch() -> None:
    slow, fast = Governor(50, 512), Governor(50, 512)
    slow.note(64, 10.0)
    fast.note(64, 0.0001)
    assert slow.chunk(True) == MIN_CHUNK
    assert fast.chunk(True) == 512


def test_decode_rows_say_nothing_about_prefill() -> None:
    governor = Governor(50, 512)
    governor.note(MIN_CHUNK - 1, 1.0)
    assert governor.prefill_tps == 0
    assert governor.step_ms_mean == pytest.approx(1000)


def test_decode_speed_is_that_of_steps_without_prefill() -> None:
    governor = Governor(50, 512)
    governor.note(64, 1.0, n_rows=8)
    assert governor.decode_tps == 0
    governor.note(0, 0.1, n_rows=8)
    assert governor.decode_tps == pytest.approx(80)


def test_it_follows_a_machine_that_slows_down() -> None:
    governor = Governor(50, 512)
    for _ in range(20):
        governor.note(100, 0.1)
    for _ in range(20):
        governor.note(50, 0.5)
    assert governor.prefill_tps == pytest.approx(100, rel=0.05)
    assert governor.step_ms_mean == pytest.approx(500, rel=0.05)


def test_a_clock_that_stands_still_is_harmless() -> None:
    governor = Governor(50, 512)
    governor.note(64, 0.0)
    assert governor.chunk(True) == 64


@given(
    st.floats(1, 10_000),
    st.integers(32, 8192),
    st.lists(st.tuples(st.integers(1, 8192), st.just(0.0) | st.floats(1e-9, 1e6))),
    st.booleans(),
)
def test_a_chunk_is_never_nothing_and_never_over_the_batch(
    step_ms: float, n_batch: int, steps: list[tuple[int, float]], speaks: bool
) -> None:
    governor = Governor(step_ms, n_batch)
    for n_tokens, seconds in steps:
        governor.note(n_tokens, seconds)
    assert MIN_CHUNK <= governor.chunk(speaks) <= n_batch
