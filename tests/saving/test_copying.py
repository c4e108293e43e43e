"""Saves as they are copied: what comes back when, and which have a KV cache in them."""

from collections import deque

import pytest

from npc_engine.errors import UnknownNpc
from npc_engine.protocol import Save
from npc_engine.saving.copying import MOST_READING_S, Copying, Job, keeps_kv
from tests.support.rig import MakeRig


@pytest.mark.parametrize("reading_s", [None, 0.0, 99.0])
def test_a_plain_wish_is_followed(reading_s: float | None) -> None:
    assert keeps_kv("yes", reading_s)
    assert not keeps_kv("no", reading_s)


@pytest.mark.parametrize(
    ("reading_s", "keeps"),
    [(None, True), (0.0, False), (MOST_READING_S - 0.001, False), (MOST_READING_S, True)],
)
def test_auto_goes_by_the_time_that_reading_takes(reading_s: float | None, keeps: bool) -> None:
    assert keeps_kv("auto", reading_s) is keeps


@pytest.fixture
def copying(make_rig: MakeRig) -> Copying:
    rig = make_rig(save_kv="no")
    for name in "ab":
        rig.spawn(name)
    return rig.engine._saving._copying


def job(names: str, slot: str = "s") -> Job:
    return Job("save", Save(id="1", slot=slot, npcs=list(names)), deque(names), began=0.0)


def test_a_job_comes_back_with_its_last_character(copying: Copying) -> None:
    one = job("ab")
    copying.queue(one)
    assert copying.step(is_line=False) == []
    assert (list(one.files), list(one.names), one.phase) == (["a"], ["b"], "copying")
    assert copying.step(is_line=False) == [(one, None)]
    assert (list(one.states), one.phase, bool(copying)) == (["a", "b"], "writing", False)


def test_one_that_is_copied_waits_for_those_before_it(copying: Copying) -> None:
    first, second = job("ab"), job("a", "t")
    copying.queue(first)
    copying.queue(second)
    assert copying.copy_now("a") == []
    assert not second.names
    assert copying.all_at_once() == [(first, None), (second, None)]


def test_one_that_fails_comes_back_with_why(copying: Copying) -> None:
    one = job("xa")
    copying.queue(one)
    ((failed, error),) = copying.step(is_line=False)
    assert failed is one
    assert isinstance(error, UnknownNpc)
    assert (one.phase, bool(copying)) == ("over", False)


def test_one_that_fails_holds_up_none_that_is_copied(copying: Copying) -> None:
    first, second = job("xa"), job("a", "t")
    copying.queue(first)
    copying.queue(second)
    copying.copy_now("a")
    assert not second.names
    failed, copied = copying.step(is_line=False)
    assert failed[0] is first
    assert copied == (second, None)
    assert (second.phase, bool(copying)) == ("writing", False)


def test_within_a_line_there_are_pauses(copying: Copying) -> None:
    one = job("ab")
    copying.queue(one)
    copying._next = copying._clock() + 1  # as behind a copy that took a while
    assert copying.step(is_line=True) == []
    assert list(one.names) == ["a", "b"]
    assert copying.step(is_line=False) == []
    assert list(one.names) == ["b"]
    assert copying.all_at_once() == [(one, None)]
