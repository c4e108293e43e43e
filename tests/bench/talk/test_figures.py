"""Summaries and verdicts, from turns that are made up."""

import pytest

from npc_engine.bench.talk.figures import Side, Turn, judge, summary


def turn(number: int, overflow: bool, ttft_ms: float = 100.0, n_read: int = 30) -> Turn:
    return Turn(number, overflow, 21, n_read, 24, ttft_ms, 5 * ttft_ms, number << 20, n_idle=3)


def side(*overflow: Turn) -> Side:
    return Side([turn(i, False) for i in range(10)] + list(overflow))


def test_numbers_of_both_kinds_of_turns() -> None:
    found = summary(side(turn(10, True, 120.0), turn(11, True, 110.0), turn(12, True, 150.0)))
    assert found["ordinary"]["n"] == 10
    assert found["overflow"]["ttft_ms"] == {"median": 120.0, "p95": 150.0, "max": 150.0}
    assert found["overflow"]["n_extra"]["max"] == 9
    assert found["ttft_ratio"] == pytest.approx(1.2)
    assert (found["n_turns"], found["n_idle"]) == (13, 39)
    assert (found["rss_first"], found["rss_last"]) == (9 << 20, 12 << 20)


@pytest.mark.parametrize(("ttft_ms", "passes"), [(129.0, True), (131.0, False)])
def test_the_time_to_first_token(ttft_ms: float, passes: bool) -> None:
    assert judge(summary(side(turn(10, True, ttft_ms))))["ttft"] is passes


@pytest.mark.parametrize(("n_read", "passes"), [(31, True), (32, False)])
def test_no_overflow_turn_reads_more_than_its_message(n_read: int, passes: bool) -> None:
    turns = [turn(10, True), turn(11, True, n_read=n_read), turn(12, True)]
    assert judge(summary(side(*turns)))["read"] is passes


def test_an_error_fails() -> None:
    found = summary(Side([turn(0, False)], ["it broke", "it broke"]))
    assert (found["n_errors"], found["errors"]) == (2, ["it broke"])
    assert judge(found) == {"ttft": None, "read": None, "errors": False}


def test_nothing_at_all() -> None:
    found = summary(Side())
    assert found["ordinary"] is found["overflow"] is found["ttft_ratio"] is None
    assert judge(found) == {"ttft": None, "read": None, "errors": True}


def test_turns_since_the_first_overflow() -> None:
    assert side().n_since_overflow == 0
    assert side(turn(10, True), turn(11, False), turn(12, True)).n_since_overflow == 3
