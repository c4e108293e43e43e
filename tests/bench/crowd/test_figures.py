"""What the counts of a crowd come to, and what passes."""

from typing import Any

import pytest

from npc_engine.bench.crowd.figures import (
    Idle,
    Parking,
    Round,
    Sharing,
    judge,
    of_fairness,
    of_idle,
    of_parking,
    of_sharing,
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


def sharing_of(auto: int, n_busy: int = 0, n_speakers: int = 1) -> Sharing:
    """Fixed counts reach 100 tokens in a second with one thread, and 40 with two."""
    turns = {"auto": (auto, 1.0), "1": (100, 1.0), "2": (40, 1.0)}
    return Sharing(n_speakers, n_busy, [turns], {"n_threads": 1, "load": 0.5, "kv_bytes": 9})


def test_auto_against_the_best_fixed_count() -> None:
    sharing = sharing_of(auto=190)
    sharing.rounds.append({"auto": (0, 1.0), "1": (60, 1.0), "2": (40, 0.0)})
    found = of_sharing(sharing)
    # All rounds as a whole: what auto lost in the second one counts.
    assert found["tps"] == {"auto": 95.0, "1": 80.0, "2": 80.0}
    assert found["best"] == "1"
    assert found["of_best"] == pytest.approx(95 / 80)
    assert (found["n_speakers"], found["n_busy"], found["n_rounds"]) == (1, 0, 2)
    assert (found["n_threads"], found["n_thread_switches"], found["load"]) == (1, None, 0.5)
    assert "kv_bytes" not in found


def test_the_best_count_need_not_be_the_first() -> None:
    turns = {"auto": (90, 1.0), "1": (100, 2.0), "2": (100, 1.0)}
    assert of_sharing(Sharing(8, 2, [turns]))["best"] == "2"


def test_an_idle_server() -> None:
    assert of_idle(None) is None
    found = of_idle(Idle(50, 40.0, 0.1, 7.0))
    assert found is not None
    assert found["share"] == pytest.approx(0.0025)
    assert (found["cpu_s"], found["before_s"]) == (0.1, 7.0)


def report_of(
    engine: float = 10.0,
    wait: float = 30.0,
    least: int = 90,
    in_ms: float = 5.0,
    quiet: int = 90,
    busy: int = 80,
    idle_cpu_s: float = 0.149,
) -> Any:
    one = round_of(engine, 9.5, first_ms={"engine": [10.0, 15.0, wait], "serial": [1.0]})
    parking = of_parking(Parking(200, 200, 8, 1000, call_in=[in_ms]))
    return {
        "speakers": [of_speakers(8, [one])],
        "fair": of_fairness([least, *15 * [100]]),
        "parking": parking,
        "governor": [
            of_sharing(sharing_of(auto=100, n_busy=0)),
            of_sharing(sharing_of(auto=quiet, n_busy=0, n_speakers=8)),
            of_sharing(sharing_of(auto=busy, n_busy=2)),
        ],
        "idle": of_idle(Idle(50, 30.0, idle_cpu_s, 9.0)),
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
        ({"quiet": 89}, "auto, quiet"),
        ({"busy": 79}, "auto, busy"),
        ({"idle_cpu_s": 0.15}, "50 characters idle"),
    ],
)
def test_what_fails(keys: dict[str, Any], failed: str) -> None:
    assert judge(report_of(**keys))[failed] is False


def test_what_was_not_measured_is_not_judged() -> None:
    verdicts = judge({"speakers": [], "fair": None, "parking": None})
    assert len(verdicts) == 8
    assert set(verdicts.values()) == {None}
    few = judge({"speakers": [of_speakers(4, [round_of(99.0)])], "fair": of_fairness([1, 9])})
    assert set(few.values()) == {None}, "judged at 8 speakers, and fairness at 16"
    quiet = judge({"governor": [of_sharing(sharing_of(auto=100))]})
    assert (quiet["auto, quiet"], quiet["auto, busy"]) == (True, None)
    for short in (Idle(50, 29.0, 0.0, 9.0), Idle(49, 30.0, 0.0, 9.0)):
        assert judge({"idle": of_idle(short)})["50 characters idle"] is None
