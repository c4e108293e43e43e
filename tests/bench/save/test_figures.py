"""What the times of saves come to, and what passes."""

from collections.abc import Sequence

import pytest

from npc_engine.bench.save.figures import (
    LINE_TOKENS,
    Beside,
    Character,
    Crowd,
    Measured,
    Trip,
    judge,
    of_all,
)


def trip(restore: float = 20.0, reread: float = 4000.0) -> Trip:
    return Trip(8.0, 15.0, 30.0, 14.0, restore, reread)


def one(*trips: Trip, n_tokens: int = 954) -> Character:
    return Character("f16", "f16, flash attention off", n_tokens, 22_000, 460, list(trips))


def crowd(quiet: Sequence[float], during: Sequence[float], n: int = 20) -> Crowd:
    return Crowd(n, 4, 954, "f16", [Beside(quiet, during, 6000.0, 440)])


def verdicts(found: Measured) -> list[bool | None]:
    return list(judge(of_all(found)).values())


def test_medians_of_the_rounds() -> None:
    found = of_all(Measured([one(trip(), trip(40.0, 4400.0), trip(500.0, 4500.0))]))
    (row,) = found["characters"]
    assert row["n_rounds"] == 3
    assert row["ms"]["restore"] == 40.0
    assert row["ms"]["reread"] == 4400.0
    assert row["of_reread"] == pytest.approx(110.0)  # of each round by itself
    assert row["bytes_per_token"] == pytest.approx(21_540 / 954)
    assert found["crowd"] is None


def test_what_was_not_measured_is_left_out() -> None:
    assert of_all(Measured([one()], Crowd(20, 4, 954, "f16"))) == {"characters": [], "crowd": None}
    assert verdicts(Measured()) == [None, None]
    assert not Measured([one()], Crowd(20, 4, 954, "f16")).has_any
    assert Measured([one(trip())]).has_any
    assert Measured([], crowd([1.0], [1.0])).has_any


@pytest.mark.parametrize(
    ("reread", "n_tokens", "passes"),
    [(400.0, 954, True), (399.0, 1000, False), (1.0, 300, None), (1.0, 1101, None)],
)
def test_a_thousand_tokens_are_judged(reread: float, n_tokens: int, passes: bool | None) -> None:
    assert verdicts(Measured([one(trip(20.0, reread), n_tokens=n_tokens)]))[0] is passes


def test_the_worst_kv_type_is_judged() -> None:
    assert verdicts(Measured([one(trip()), one(trip(20.0, 100.0))]))[0] is False


@pytest.mark.parametrize(
    ("during", "added"),
    [
        ([40.0] * 60, 0.0),
        ([40.0] * 60 + [80.0], 1.0),
        ([50.0, 40.0] * 30, 2.5),
        ([50.0, *[40.0] * (LINE_TOKENS - 1)] * 3, 0.25),
        ([60.0] * 3, LINE_TOKENS / 2),  # fewer than a line has: as if it went on
    ],
)
def test_what_a_save_adds_to_a_line(during: list[float], added: float) -> None:
    found = Measured([], crowd([40.0] * 60, during))
    assert of_all(found)["crowd"]["added_steps"] == pytest.approx(added)
    assert verdicts(found)[1] is (added <= 1)


def test_what_the_machine_did_without_a_save_is_not_the_saves_fault() -> None:
    found = Measured([], crowd([*[40.0] * 59, 100.0], [*[40.0] * 59, 120.0]))
    assert of_all(found)["crowd"]["added_steps"] == pytest.approx(0.5)


def test_another_crowd_is_not_judged() -> None:
    assert verdicts(Measured([], crowd([40.0] * 30, [90.0] * 30, n=8)))[1] is None
