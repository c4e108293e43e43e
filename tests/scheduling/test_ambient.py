"""Ambient speech: a share of the time when it is alone, no pause for anybody else."""

from types import SimpleNamespace
from typing import Any

import pytest

from npc_engine.scheduling.ambient import MAX_STEP_S, AmbientShare
from npc_engine.scheduling.batching import Claim, Priority, Run


def claim(priority: Priority, n_pending: int = 1) -> Claim:
    sequence: Any = SimpleNamespace(n_pending=n_pending)
    return Claim("x", sequence, priority, 0, speaking=True)


AMBIENT, NEAR, PLAYER, IDLE = map(
    claim, (Priority.AMBIENT, Priority.NEAR, Priority.PLAYER, Priority.IDLE)
)


def runs(*claims: Claim) -> list[Run]:
    return [Run(c, 1, True) for c in claims]


def after(share: float, *claims: Claim, seconds: float = 0.02) -> AmbientShare:
    """A share after one step of these, which ended at 10."""
    ambient = AmbientShare(share)
    if ambient.is_ambient(runs(*claims)):
        ambient.note(10 - seconds, 10)
    return ambient


@pytest.mark.parametrize(
    ("share", "pause"), [(0.5, 0.02), (0.25, 0.06), (0.05, 0.38), (0.8, 0.005)]
)
def test_a_pause_follows_an_ambient_step(share: float, pause: float) -> None:
    ambient = after(share, AMBIENT, AMBIENT)
    assert ambient.holds([AMBIENT], 10.0)
    assert ambient.patience(10.0) == pytest.approx(pause)
    assert ambient.holds([AMBIENT], 10 + 0.9 * pause)
    assert not ambient.holds([AMBIENT], 10 + pause)
    assert ambient.patience(10 + pause) is None


@pytest.mark.parametrize("other", [NEAR, PLAYER])
def test_a_step_that_serves_others_too_brings_none(other: Claim) -> None:
    assert not after(0.05, AMBIENT, other, IDLE).holds([AMBIENT], 10.0)
    assert not after(0.05, IDLE).holds([AMBIENT], 10.0)


def test_a_step_in_which_others_listen_to_it_is_ambient() -> None:
    assert after(0.05, AMBIENT, IDLE).holds([AMBIENT], 10.0)


@pytest.mark.parametrize("other", [NEAR, PLAYER])
def test_nobody_else_waits(other: Claim) -> None:
    ambient = after(0.05, AMBIENT)
    assert not ambient.holds([AMBIENT, other], 10.0)
    assert ambient.patience(10.0) is None
    assert ambient.holds([AMBIENT], 10.0)  # the pause is not over for that


def test_idle_reading_does_not_fill_the_pause_and_does_not_wait_by_itself() -> None:
    ambient = after(0.5, AMBIENT)
    assert ambient.holds([AMBIENT, IDLE], 10.0)
    assert not ambient.holds([IDLE], 10.0)
    assert not ambient.holds([], 10.0)


def test_who_has_nothing_to_read_is_not_waited_for() -> None:
    assert after(0.5, AMBIENT).holds([AMBIENT, claim(Priority.PLAYER, n_pending=0)], 10.0)


def test_all_of_the_time_is_no_pause() -> None:
    assert not after(1.0, AMBIENT).holds([AMBIENT], 10.0)


def test_a_machine_that_slept_does_not_silence_the_village() -> None:
    ambient = after(0.5, AMBIENT, seconds=3600)
    assert ambient.holds([AMBIENT], 10.0)
    assert ambient.patience(10.0) == pytest.approx(MAX_STEP_S)
