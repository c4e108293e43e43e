"""Whose journal comes first."""

import math
from dataclasses import dataclass

from npc_engine.saving.journal.pace import JournalPace
from npc_engine.saving.journal.queue import JournalQueues


@dataclass(eq=False)
class Due(JournalPace):
    """One that is due at a time of the test's."""

    at: float = 0.0
    ended: bool = False

    @property
    def has_ended_turn(self) -> bool:
        return self.ended

    def due(self, now: float) -> float:
        return self.at


def due(slot: str, at: float, ended: bool = False) -> Due:
    return Due(slot, None, 0, 0, 0, at=at, ended=ended)  # type: ignore[arg-type]


def test_who_has_ended_a_turn_comes_before_all_who_have_waited_longer() -> None:
    queues = JournalQueues()
    long, turn, short = due("s", 1), due("t", 3, ended=True), due("t", 2)
    for one in (long, turn, short):
        queues.put(one, 0)
    assert list(queues.due(3)) == [turn, long, short]
    assert queues.next_due() is None


def test_who_is_not_due_yet_waits() -> None:
    queues = JournalQueues()
    now, later = due("s", 1), due("s", 2)
    queues.put(later, 0)
    queues.put(now, 0)
    assert list(queues.due(1)) == [now]
    assert queues.next_due() == 2
    assert list(queues.due(math.inf)) == [later]


def test_what_is_noted_last_of_one_counts() -> None:
    queues = JournalQueues()
    one = due("s", 1)
    queues.put(one, 0)
    one.at = 5
    queues.put(one, 0)
    assert list(queues.due(4)) == []
    assert queues.next_due() == 5


def test_a_slot_that_somebody_waits_to_read_is_put_off() -> None:
    queues = JournalQueues()
    here, there = due("s", 1), due("t", 1)
    queues.put(here, 0)
    queues.put(there, 0)
    assert list(queues.due(1, ["s"])) == [there]
    assert queues.next_due(["s"]) is None
    assert list(queues.due(1)) == [here]


def test_those_who_are_not_taken_out_stay() -> None:
    queues = JournalQueues()
    some = [due("s", i) for i in range(3)]
    for one in some:
        queues.put(one, 0)
    assert next(queues.due(9)) is some[0]
    assert list(queues.due(9)) == some[1:]
