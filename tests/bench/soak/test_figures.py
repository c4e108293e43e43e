"""Growth, drift and errors, from samples that are made up."""

from collections.abc import Callable

import pytest

from npc_engine.bench.shared.figures import MIB
from npc_engine.bench.soak.figures import Sample, judge, series

CYCLE = 4000


def samples(
    n: int,
    rss: Callable[[int], float] = lambda _tokens: 100.0,
    ms: Callable[[int], float] = lambda _tokens: 0.5,
    yard: Callable[[int], float] = lambda _tokens: 0.1,
) -> list[Sample]:
    """Cycles of 4,000 tokens; `rss` in MiB and `ms` a token by tokens so far; `yard` in s."""
    found, seconds, yard_s = [], 0.0, 0.0
    for tokens in range(CYCLE, n + 1, CYCLE):
        seconds += ms(tokens) * CYCLE / 1000
        yard_s += yard(tokens)
        rss_bytes = int(rss(tokens) * MIB)
        found.append(Sample(tokens, tokens // 4, 2 * seconds, seconds, yard_s, rss_bytes))
    return found


def test_what_stays_the_same_passes() -> None:
    found = judge(samples(1_000_000), 0)
    assert found["verdicts"] == {"memory": True, "time": True, "errors": True}
    assert found["rss_growth"] == 0
    assert found["ms_drift"] == pytest.approx(0)
    assert len(found["tenths"]) == 10
    assert found["tenths"][0]["wall_ms"] == pytest.approx(1.0)
    assert found["tenths"][0]["yard_ms"] == pytest.approx(100.0)
    assert found["tenths"][0]["spoken"] == pytest.approx(0.25)


def test_what_grows_before_50000_tokens_does_not_count() -> None:
    found = judge(samples(1_000_000, rss=lambda tokens: 100 + min(tokens, 50_000) / 5000), 0)
    assert found["verdicts"]["memory"]


@pytest.mark.parametrize(("percent", "passes"), [(0.9, True), (1.2, False)])
def test_a_leak_shows(percent: float, passes: bool) -> None:
    slope = percent / 950_000
    found = judge(samples(1_000_000, rss=lambda tokens: 100 + tokens * slope), 0)
    assert found["verdicts"]["memory"] is passes


def test_one_high_sample_is_no_leak() -> None:
    found = judge(samples(1_000_000, rss=lambda tokens: 200 if tokens == 1_000_000 else 100), 0)
    assert found["verdicts"]["memory"]


@pytest.mark.parametrize(("factor", "passes"), [(1.08, True), (1.15, False), (0.85, False)])
def test_slower_and_slower_shows(factor: float, passes: bool) -> None:
    last = judge(samples(1_000_000, ms=lambda t: 0.5 if t <= 800_000 else 0.5 * factor), 0)
    assert last["verdicts"]["time"] is passes
    assert last["ms_drift"] == pytest.approx(factor - 1, abs=0.001)


def test_a_machine_that_gets_slower_does_not_count() -> None:
    def slow(tokens: int) -> float:
        return 1.0 if tokens <= 500_000 else 1.3

    found = judge(samples(1_000_000, ms=slow, yard=slow), 0)
    assert found["verdicts"]["time"]
    assert found["cpu_drift"] == pytest.approx(0.3)
    assert found["ms_drift"] == pytest.approx(0)


def test_the_first_tenth_may_be_slower() -> None:
    assert judge(samples(1_000_000, ms=lambda t: 5.0 if t <= 90_000 else 0.5), 0)["verdicts"][
        "time"
    ]


@pytest.mark.parametrize("n", [0, CYCLE, 60_000])
def test_a_short_run_tells_of_errors_alone(n: int) -> None:
    assert judge(samples(n), 0)["verdicts"] == {"memory": None, "time": None, "errors": True}
    assert judge(samples(n), 1)["verdicts"]["errors"] is False


def test_a_series_is_short_and_even() -> None:
    found = series(samples(4_000_000))
    assert 90 <= len(found["n_tokens"]) <= 110
    assert {len(column) for column in found.values()} == {len(found["n_tokens"])}
    assert set(found["cpu_ms"]) == {0.5}
    assert series([]) == {"n_tokens": [], "rss_mib": [], "cpu_ms": []}
