"""The scheduler's rules one by one, and what holds for any claims."""

import itertools
from collections.abc import Sequence as Seq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.kvcache.sequence import Sequence
from npc_engine.scheduling.batching import (
    PATIENCE,
    Claim,
    Priority,
    Run,
    is_read_for,
    n_rows,
    schedule,
)
from tests.support.fake_llama import FakeLlama

PLAYER, NEAR, AMBIENT, IDLE = Priority


def claim(
    priority: Priority, n_pending: int, order: int = 0, *, speaking: bool = False, skipped: int = 0
) -> Claim:
    sequence = Sequence(Ledger(10_000, 10_000), FakeLlama())
    sequence.append(Segment(Kind.SAID, [0] * n_pending))
    name = f"{priority.name}-{order}"
    return Claim(name, sequence, priority, order, speaking=speaking, n_skipped=skipped)


def take(runs: Seq[Run]) -> None:
    """The batch has been decoded."""
    for run in runs:
        run.claim.sequence.ledger.commit(run.n_tokens)


def found(runs: Seq[Run]) -> list[tuple[Claim, int]]:
    return [(run.claim, run.n_tokens) for run in runs]


# -- the rules ---------------------------------------------------------------------------------


def test_rule_1_decode_rows_go_first() -> None:
    prefill = claim(PLAYER, 100, 0, speaking=False)
    row, other = claim(NEAR, 1, 2, speaking=True), claim(NEAR, 1, 1, speaking=True)
    runs = schedule([prefill, row, other], 64, 10)
    assert found(runs) == [(other, 1), (row, 1), (prefill, 10)]
    assert [run.last for run in runs] == [True, True, False]


def test_rule_1_a_speaker_whose_cache_was_lost_is_read_as_prefill() -> None:
    lost, row = claim(PLAYER, 100, 0, speaking=True), claim(PLAYER, 1, 1, speaking=True)
    assert found(schedule([lost, row], 64, 10)) == [(row, 1), (lost, 10)]


def test_rule_2_prefill_goes_by_priority_then_by_arrival() -> None:
    near, late, early = claim(NEAR, 5, 0), claim(PLAYER, 8, 2), claim(PLAYER, 4, 1)
    assert found(schedule([near, late, early], 64, 10)) == [(early, 4), (late, 6)]
    assert found(schedule([near, late, early], 64, 99)) == [(early, 4), (late, 8), (near, 5)]


def test_rule_2_the_last_run_of_a_claim_says_so() -> None:
    whole, part = claim(PLAYER, 6, 0), claim(PLAYER, 6, 1)
    assert [run.last for run in schedule([whole, part], 64, 10)] == [True, False]


def test_rule_2_something_is_read_however_small_the_chunk() -> None:
    for chunk in (0, -5):
        assert [run.n_tokens for run in schedule([claim(NEAR, 9)], 64, chunk)] == [1]


def test_rows_are_known_before_the_batch_is() -> None:
    ambient, near = claim(AMBIENT, 1, 0, speaking=True), claim(NEAR, 1, 1, speaking=True)
    player, silent = claim(PLAYER, 20, 2), claim(NEAR, 0, 3, speaking=True)
    idle = claim(IDLE, 1, 4, speaking=True)
    for claims in ([], [ambient], [ambient, near, silent], [ambient, near, player], [idle]):
        rows = [run for run in schedule(claims, 64, 10) if run.claim.is_row and run.claim.urgent]
        assert n_rows(claims) == len(rows)
    assert n_rows([ambient, near]) == 2
    assert n_rows([ambient, near, player]) == 1  # ambient speech pauses


def test_rule_3_ambient_speech_pauses_while_a_players_line_is_read() -> None:
    ambient, near = claim(AMBIENT, 1, 0, speaking=True), claim(NEAR, 1, 1, speaking=True)
    player = claim(PLAYER, 20, 2)
    assert found(schedule([ambient, near, player], 64, 10)) == [(near, 1), (player, 10)]
    player.speaking = True
    take(schedule([player], 64, 19))
    assert found(schedule([ambient, near, player], 64, 10)) == [
        (player, 1),
        (near, 1),
        (ambient, 1),
    ]


def test_rule_4_whoever_was_left_out_long_enough_counts_as_more_urgent() -> None:
    ambient, player = claim(AMBIENT, 9, 0, skipped=2 * PATIENCE), claim(PLAYER, 9, 1)
    assert found(schedule([ambient, player], 64, 10)) == [(ambient, 9), (player, 1)]


def test_rule_4_also_limits_the_pause_of_ambient_speech() -> None:
    ambient, player = claim(AMBIENT, 1, 0, speaking=True), claim(PLAYER, 10_000, 1)
    served = [ambient in [r.claim for r in schedule([ambient, player], 64, 4)] for _ in range(40)]
    assert served.index(True) == PATIENCE
    assert served.count(True) == 40 // (PATIENCE + 1)


def test_rule_4_being_served_starts_the_count_anew() -> None:
    first, second = claim(PLAYER, 10, 0, skipped=5), claim(PLAYER, 10, 1, skipped=5)
    schedule([first, second], 64, 10)
    assert (first.n_skipped, second.n_skipped) == (0, 6)


def test_rule_4_whoever_is_read_for_does_not_age() -> None:
    reader, waiting = claim(AMBIENT, 1000, 0), claim(AMBIENT, 1000, 1, skipped=5)
    waiting.sequence.stop = 0
    for _ in range(3 * PATIENCE):
        take(schedule([reader, waiting], 64, 10))
    assert waiting.n_skipped == 5
    assert found(schedule([waiting, claim(PLAYER, 9, 2)], 64, 10))[0][0].priority is PLAYER


def test_rule_5_idle_reading_waits_until_nobody_wants_anything() -> None:
    idle = claim(IDLE, 10, 0, skipped=10 * PATIENCE)
    for busy in (claim(AMBIENT, 1, 1, speaking=True), claim(AMBIENT, 5, 1)):
        assert [run.claim for run in schedule([idle, busy], 64, 32)] == [busy]
    assert found(schedule([idle], 64, 8)) == [(idle, 8)]


def test_rule_5_idle_reading_begins_with_the_likeliest_next_speaker() -> None:
    first, second = claim(IDLE, 1), claim(IDLE, 1)  # in order of spawn
    spoken, spoken_last = claim(IDLE, 1, 3), claim(IDLE, 1, 8)
    expected, expected_last = claim(IDLE, 1, 1), claim(IDLE, 1, 0)
    expected.expected, expected_last.expected = 5, 6
    everybody = [first, spoken, expected, second, expected_last, spoken_last]
    assert [run.claim for run in schedule(everybody, 64, 32)] == [
        expected_last,
        expected,
        spoken_last,
        spoken,
        first,
        second,
    ]


def test_rule_5_idle_time_gives_nobody_a_lead_over_the_player() -> None:
    """Who waited idly for long and is then spoken to ambiently is not urgent at once."""
    lazy = claim(IDLE, 50, 0)
    talker = claim(PLAYER, 1, 1, speaking=True)
    for _ in range(5 * PATIENCE):
        schedule([lazy, talker], 64, 32)
    lazy.priority = AMBIENT
    assert found(schedule([lazy, claim(PLAYER, 20, 2)], 64, 10))[0][0].priority is PLAYER


def test_nothing_pending_is_nothing_to_do() -> None:
    assert schedule([], 64, 10) == []
    assert schedule([claim(PLAYER, 0)], 64, 10) == []


def test_rule_5_who_listens_reads_beside_speech_but_the_players() -> None:
    row, listener, idle = claim(AMBIENT, 1, 0, speaking=True), claim(IDLE, 9, 1), claim(IDLE, 9, 2)
    listener.listening = True
    near = claim(NEAR, 6, 3)
    assert found(schedule([row, listener, idle], 64, 5)) == [(row, 1), (listener, 5)]
    assert found(schedule([row, near, listener, idle], 64, 8)) == [
        (row, 1), (near, 6), (listener, 2),
    ]  # fmt: skip
    assert listener.n_skipped == 0
    player = claim(PLAYER, 1, 4, speaking=True)
    assert found(schedule([row, player, listener], 64, 5)) == [(player, 1), (row, 1)]
    assert found(schedule([listener, idle], 64, 99)) == [(idle, 9), (listener, 9)]  # spoken to last


def test_rule_5_who_is_about_to_be_spoken_to_reads_beside_speech_but_the_players() -> None:
    row, attended = claim(AMBIENT, 1, 0, speaking=True), claim(IDLE, 9, 0)
    idle = claim(IDLE, 9, 0)
    attended.expected = 1
    assert found(schedule([row, idle, attended], 64, 5)) == [(row, 1), (attended, 5)]
    player = claim(PLAYER, 1, 2, speaking=True)
    assert found(schedule([row, player, attended], 64, 5)) == [(player, 1), (row, 1)]


def test_rule_6_rows_wait_for_a_line_that_is_no_less_urgent() -> None:
    player, near = claim(PLAYER, 1, 0, speaking=True), claim(NEAR, 1, 1, speaking=True)
    read = claim(NEAR, 9, 2)
    assert found(schedule([player, near, read], 64, 5)) == [(player, 1), (near, 1), (read, 5)]
    assert found(schedule([player, near, read], 64, 5, True)) == [(player, 1), (read, 5)]
    assert (n_rows([player, near, read]), n_rows([player, near, read], True)) == (2, 1)
    assert is_read_for([player, near, read])
    assert not is_read_for([player, read])  # a player's row waits for nobody less urgent
    assert not is_read_for([player, near, claim(IDLE, 9, 3)])
    lost = claim(NEAR, 9, 4, speaking=True)  # its cache was: that is no line that begins
    assert not is_read_for([near, lost])


# -- any claims --------------------------------------------------------------------------------

claims = st.lists(
    st.builds(
        claim,
        st.sampled_from(Priority),
        st.sampled_from([0, 1, 1, 1, 2, 7, 30, 200]),
        st.integers(0, 9),
        speaking=st.booleans(),
        skipped=st.integers(0, 5 * PATIENCE),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(claims, st.integers(1, 128), st.integers(0, 200))
def test_any_batch_keeps_the_rules(claims: list[Claim], n_batch: int, chunk: int) -> None:
    before = {id(c): c.n_skipped for c in claims}
    n_pending = {id(c): c.sequence.n_pending for c in claims}
    was_row = {id(c): c.is_row for c in claims}
    runs = schedule(claims, n_batch, chunk)
    served = [run.claim for run in runs]

    assert len({id(c) for c in served}) == len(served), "a sequence twice in a batch"
    assert sum(run.n_tokens for run in runs) <= n_batch
    prefill = [run for run in runs if not was_row[id(run.claim)]]
    assert sum(run.n_tokens for run in prefill) <= max(chunk, 1)
    assert runs == [run for run in runs if was_row[id(run.claim)]] + prefill
    for run in runs:
        assert 0 < run.n_tokens <= n_pending[id(run.claim)]
        assert run.last == (run.n_tokens == n_pending[id(run.claim)])
    if any(n_pending[id(c)] for c in claims):
        assert runs, "there was something to do"
    if any(c.urgent and n_pending[id(c)] for c in claims):
        assert all(c.urgent for c in served)
    for c in claims:
        if n_pending[id(c)] and c.urgent:
            skipped = not any(c is s for s in served)
            assert c.n_skipped == (before[id(c)] + 1 if skipped else 0)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    victim=st.sampled_from([PLAYER, NEAR, AMBIENT]),
    n_pending=st.integers(1, 100),
    chunk=st.integers(4, 40),
    rush=st.integers(1, 3),
    n_talkers=st.integers(0, 8),
)
def test_nobody_starves(
    victim: Priority, n_pending: int, chunk: int, rush: int, n_talkers: int
) -> None:
    """However many players come after it, each with as much as a step can read."""
    orders = itertools.count()
    talkers = [claim(PLAYER, 1, next(orders), speaking=True) for _ in range(n_talkers)]
    poor = claim(victim, n_pending, next(orders))
    rich: list[Claim] = []
    n_turns = -(-n_pending // chunk)
    for _ in range(n_turns * (2 * PATIENCE + 1)):
        rich += [claim(PLAYER, chunk, next(orders)) for _ in range(rush)]
        runs = schedule([*talkers, *rich, poor], 64, chunk)
        assert sum(run.claim in talkers for run in runs) == n_talkers, "speech never stutters"
        take(runs)
        for talker in talkers:
            talker.sequence.ledger.append_token(0)
        rich = [c for c in rich if c.sequence.n_pending]
    assert poor.sequence.n_pending == 0


@pytest.mark.parametrize("priority", [PLAYER, NEAR, AMBIENT])
def test_a_crowd_of_equals_is_served_in_order_of_arrival(priority: Priority) -> None:
    crowd = [claim(priority, 10, order) for order in range(8)]
    finished: list[int] = []
    while len(finished) < len(crowd):
        take(schedule(reversed(crowd), 64, 10))
        finished += [c.order for c in crowd if not c.sequence.n_pending and c.order not in finished]
    assert finished == list(range(8))
