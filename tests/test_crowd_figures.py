"""What the counts of a crowd come to, and what passes."""

from typing import Any

import pytest

from npc_engine.crowd_figures import (
    Parking,
    Round,
    judge,
    of_fairness,
    of_parking,
    of_speakers,
)


def round_of(engine: float, bare: float = 9.5, **more: Any) -> Round:
    values: dict[str, Any] = {
        "step_ms": {"engine": engine, "bare": bare, "defaults": 25.0},
        "python_ms": 0.2,
        "first_ms": {"engine": [10.0, 20.0, 30.0], "serial": [10.0, 400.0, 800.0]},
        "tps": {"engine": 90.0, "serial": 40.0},
    }
    return Round(**(values | more))


def test_medians_of_the_rounds() -> None:
    found = of_speakers(8, [round_of(10.0), round_of(12.0, 12.0), round_of(90.0, 9.0)])
    assert found["n_rounds"] == 3
    assert found["step_ms"] == {"engine": 12.0, "bare": 9.5, "defaults": 25.0}
    assert found["decode_tps"]["engine"] == pytest.approx(8000 / 12)
    # Of each round by itself: the third was disturbed, and does not count for more than one.
    assert found["of"]["bare"] == pytest.approx(0.95)
    assert found["of"]["defaults"] == pytest.approx(25 / 12)
    assert found["overhead_ms"] == pytest.approx(0.5)
    assert found["first_ms"]["engine"] == {"best": 10.0, "median": 20.0, "worst": 30.0}
    assert found["first_ms"]["serial"]["worst"] == 800.0
    assert found["wait"] == pytest.approx(1.5)
    assert found["served_tps"] == {"engine": 90.0, "serial": 40.0}


def test_a_way_that_could_not_be_measured_is_left_out() -> None:
    only = {"engine": 10.0, "bare": 9.9}
    found = of_speakers(8, [round_of(10.0, step_ms=only), round_of(10.0)])
    assert set(found["decode_tps"]) == {"engine", "bare"}
    assert "defaults" not in found["of"]
    assert judge({"speakers": [found]})["8 speakers against defaults"] is None


@pytest.mark.parametrize(
    ("tokens", "share"), [([100, 90, 95], 0.9), ([7], 1.0), ([0, 5], 0.0), ([], None), ([0], None)]
)
def test_fairness(tokens: list[int], share: float | None) -> None:
    found = of_fairness(tokens)
    assert (found and found["share"]) == (None if share is None else pytest.approx(share))


def test_parking() -> None:
    assert of_parking(None) is None
    assert of_parking(Parking(200, 200, 8, 1000)) is None
    many = Parking(
        *(200, 200, 8, 1000),
        park=[8.0, 9.0],
        call_in=[float(i) for i in range(1, 101)],
        reread=[5000.0, 5050.0, 9000.0],
        ram={"parked_bytes": 5},
    )
    found = of_parking(many)
    assert found is not None
    assert found["ms"]["call_in"] == {"n": 100, "median": 50.5, "p95": 96.0, "max": 100.0}
    assert found["ms"]["swap"] is None
    assert found["of_reread"] == pytest.approx(100.0)
    assert found["ram"] == {"parked_bytes": 5}


def report_of(engine: float = 10.0, wait: float = 30.0, least: int = 90, in_ms: float = 5.0) -> Any:
    one = round_of(engine, 9.5, first_ms={"engine": [10.0, 15.0, wait], "serial": [1.0]})
    parking = of_parking(Parking(200, 200, 8, 1000, call_in=[in_ms]))
    return {
        "speakers": [of_speakers(8, [one])],
        "fair": of_fairness([least, *15 * [100]]),
        "parking": parking,
    }


def test_what_passes() -> None:
    assert set(judge(report_of()).values()) == {True}


@pytest.mark.parametrize(
    ("keys", "failed"),
    [
        ({"engine": 10.1}, "8 speakers against bare"),
        ({"engine": 12.6}, "8 speakers against defaults"),
        ({"wait": 31.0}, "8 speakers' first tokens"),
        ({"least": 89}, "16 speakers fair"),
        ({"in_ms": 20.0}, "call-in"),
    ],
)
def test_what_fails(keys: dict[str, Any], failed: str) -> None:
    assert judge(report_of(**keys))[failed] is False


def test_what_was_not_measured_is_not_judged() -> None:
    verdicts = judge({"speakers": [], "fair": None, "parking": None})
    assert len(verdicts) == 5
    assert set(verdicts.values()) == {None}
    few = judge({"speakers": [of_speakers(4, [round_of(99.0)])], "fair": of_fairness([1, 9])})
    assert set(few.values()) == {None}, "judged at 8 speakers, and fairness at 16"
