"""Chunks: a step keeps to its time, whatever was measured, and from the first step on."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.scheduling.chunk_size import FIRST_CHUNK, IDLE_STRETCH, MIN_CHUNK, ChunkSize
from tests.support.machines import Machine

STEP_S = 0.05


def read(
    chunks: ChunkSize, machine: Machine, n_rows: int, n_threads: int, n_steps: int
) -> list[float]:
    """Steps with rows and as much prefill as they may have; returns their exact seconds."""
    out = []
    for _ in range(n_steps):
        n = chunks.chunk(True, n_rows, n_threads)
        chunks.note(n, n_rows, machine.step(n_threads, n + n_rows), n_threads)
        out.append(machine.exact(n_threads, n + n_rows))
    return out


def speak(
    chunks: ChunkSize, machine: Machine, n_rows: int, n_threads: int, n_steps: int = 5
) -> None:
    for _ in range(n_steps):
        chunks.note(0, n_rows, machine.step(n_threads, n_rows), n_threads)


def fewest(machine: Machine, n_rows: int, n_threads: int) -> float:
    """The seconds of a step that cannot be shorter."""
    return machine.exact(n_threads, n_rows + MIN_CHUNK)


def test_before_anything_is_measured_the_chunk_is_small() -> None:
    assert ChunkSize(50, 512).chunk(False) == FIRST_CHUNK
    assert ChunkSize(50, 512).chunk(True) == MIN_CHUNK
    assert ChunkSize(50, 8).chunk(False) == 8


def test_a_chunk_takes_the_time_of_a_step() -> None:
    chunks = ChunkSize(50, 512)
    chunks.note(100, 0, 0.1)
    assert chunks.chunk(True) == 50
    assert chunks.chunk(False) == 50 * IDLE_STRETCH


def test_rows_take_their_time_first() -> None:
    chunks = ChunkSize(50, 512)
    chunks.note(100, 0, 0.1)
    for _ in range(9):
        chunks.note(0, 8, 0.03)
    assert chunks.chunk(True, n_rows=8) == 20
    assert chunks.chunk(True, n_rows=4) == 20  # nobody knows what fewer take
    assert chunks.chunk(True, n_rows=16) == MIN_CHUNK  # at worst twice as much
    assert chunks.chunk(True, n_rows=0) == 50  # they pause while a player's line is read


def test_rows_on_fewer_threads_take_longer_at_worst_by_as_much() -> None:
    chunks = ChunkSize(50, 512)
    for n_threads in (1, 2):
        chunks.note(100, 0, 0.1, n_threads)
    chunks.note(0, 2, 0.020, 2)
    assert chunks.chunk(True, 2, 2) == 30
    assert chunks.chunk(True, 2, 1) == 10
    chunks.note(0, 2, 0.020, 1)
    assert chunks.chunk(True, 2, 2) == 30  # more threads may gain nothing


@pytest.mark.parametrize("token_ms", [0.3, 2, 10], ids=["fast", "usual", "slow"])
@pytest.mark.parametrize("n_rows", [0, 1, 8])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_steps_keep_to_their_time(token_ms: float, n_rows: int, n_threads: int) -> None:
    """From the first on, which knows nothing."""
    machine = Machine(token_s=token_ms / 1000, weights_s=0.005 + token_ms / 500, hiccups=0)
    chunks = ChunkSize(1000 * STEP_S, 512)
    if n_rows:
        speak(chunks, machine, n_rows, n_threads)
    seconds = read(chunks, machine, n_rows, n_threads, 60)
    longest = max(STEP_S, fewest(machine, n_rows, n_threads))
    assert max(seconds) < 1.25 * longest
    assert sum(seconds) / 60 > 0.8 * min(STEP_S, machine.exact(n_threads, n_rows + 512))


def test_a_slow_machine_with_nothing_known_begins_with_a_short_step() -> None:
    machine = Machine(token_s=0.033, weights_s=0.05)  # 1.5 billion weights on one old core
    assert machine.exact(1, ChunkSize(50, 512).chunk(True) + 1) < 0.25
    chunks = ChunkSize(50, 512)
    n = chunks.chunk(False)
    chunks.note(n, 0, machine.exact(1, n))
    assert machine.exact(1, chunks.chunk(True)) < 0.2


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (8, 1), (7, 3)])
def test_another_count_of_threads_makes_no_step_too_long(before: int, after: int) -> None:
    machine = Machine(8, hiccups=0, noise=0.02)
    chunks = ChunkSize(1000 * STEP_S, 512)
    speak(chunks, machine, 4, before)
    read(chunks, machine, 4, before, 30)
    seconds = read(chunks, machine, 4, after, 30)
    longest = max(STEP_S, fewest(machine, 4, after))
    assert max(seconds) < 1.25 * longest
    assert seconds[-1] > 0.6 * STEP_S  # and it learns what the new count can do


def test_a_game_that_gets_busy_makes_a_few_steps_long_and_no_more() -> None:
    machine = Machine(2, hiccups=0)
    chunks = ChunkSize(1000 * STEP_S, 512)
    speak(chunks, machine, 2, 2)
    read(chunks, machine, 2, 2, 30)
    machine.load = 2
    seconds = read(chunks, machine, 2, 2, 40)
    longest = max(STEP_S, fewest(machine, 2, 2))
    assert sum(s > 1.3 * longest for s in seconds) <= 4


def test_fewer_rows_are_soon_known() -> None:
    machine = Machine(2, hiccups=0, noise=0)
    chunks = ChunkSize(1000 * STEP_S, 512)
    speak(chunks, machine, 8, 1)
    beside_8 = chunks.chunk(True, 8, 1)
    speak(chunks, machine, 1, 1, 1)
    read(chunks, machine, 1, 1, 10)
    assert chunks.chunk(True, 1, 1) > beside_8


def test_it_follows_a_machine_that_slows_down_faster_than_one_that_speeds_up() -> None:
    chunks = ChunkSize(50, 512)
    chunks.note(100, 0, 0.1)
    chunks.note(100, 0, 0.2)
    assert chunks.chunk(True) < 32
    for _ in range(30):
        chunks.note(100, 0, 0.05)
    assert chunks.chunk(True) == pytest.approx(100, abs=2)


def test_a_clock_that_stands_still_is_harmless() -> None:
    chunks = ChunkSize(50, 512)
    found = []
    for _ in range(6):
        found.append(chunks.chunk(True))
        chunks.note(found[-1], 1, 0.0)
    assert found == [4, 16, 64, 256, 512, 512]


def test_when_nobody_speaks_it_grows_quickly() -> None:
    machine = Machine(token_s=0.0001, weights_s=0.005)
    chunks = ChunkSize(50, 512)
    found = []
    for _ in range(5):
        found.append(chunks.chunk(False))
        chunks.note(found[-1], 0, machine.exact(1, found[-1]))
    assert found[0] == FIRST_CHUNK and found[-1] > 300
    assert all(a < b or b > 300 for a, b in pairwise(found))


steps = st.lists(
    st.tuples(
        st.integers(0, 600),
        st.integers(0, 64),
        st.just(0.0) | st.floats(1e-9, 1e6),
        st.integers(1, 64),
    )
)


@given(st.floats(1, 10_000), st.integers(32, 8192), steps, st.booleans(), st.integers(0, 64))
def test_a_chunk_is_never_nothing_and_never_over_the_batch(
    step_ms: float,
    n_batch: int,
    steps: list[tuple[int, int, float, int]],
    speaks: bool,
    n_rows: int,
) -> None:
    chunks = ChunkSize(step_ms, n_batch)
    for n_prefill, n_decoded, seconds, n_threads in steps:
        if n_prefill + n_decoded:
            chunks.note(n_prefill, n_decoded, seconds, n_threads)
    assert MIN_CHUNK <= chunks.chunk(speaks, n_rows, 3) <= n_batch


def test_heavy_rows_have_every_sixth_step_while_a_line_is_read() -> None:
    chunks = ChunkSize(50, 512)
    chunks.note(0, 8, 0.040)
    assert [chunks.rows_wait(8) for _ in range(12)] == [*[True] * 5, False] * 2


def test_light_rows_wait_for_nobody() -> None:
    chunks = ChunkSize(50, 512)
    assert not chunks.rows_wait(8), "what is not known yet"
    chunks.note(0, 2, 0.010)
    assert not any(chunks.rows_wait(2) for _ in range(8))
    assert chunks.rows_wait(8), "so many of them are heavy"


# Reading again


def test_what_reading_takes_is_unknown_before_anything_is_read() -> None:
    chunks = ChunkSize(50, 512)
    chunks.note(0, 4, 0.04)
    assert chunks.reading_s(100) is None


def test_what_reading_takes_is_mostly_what_large_chunks_took() -> None:
    chunks = ChunkSize(50, 512)
    chunks.note(512, 0, 0.512)
    for _ in range(3):
        chunks.note(4, 0, 0.02)  # 5 ms a token: so few cost more each
    assert 0.1 < (chunks.reading_s(100) or 0) < 0.18
    chunks.note(512, 0, 0.512)
    assert chunks.reading_s(100) == pytest.approx(0.1, rel=0.1)


def test_rows_beside_do_not_count_as_reading() -> None:
    chunks = ChunkSize(50, 512)
    for _ in range(5):
        chunks.note(0, 8, 0.03)
    chunks.note(100, 8, 0.13)
    assert chunks.reading_s(100) == pytest.approx(0.1)
