"""What two looks at an engine come to, and who comes first. Unknown keys and values are unknown."""

from typing import Any

import pytest

from npc_engine.cli.top.sample import Rates, Sample, doing, in_order, memory, number, rates
from tests.support.live import npc


def sample(**stats: Any) -> Sample:
    return Sample("tcp://x:1", "q4", 8, [], stats)


def test_speeds_are_differences_by_the_clock_of_the_engine() -> None:
    before = sample(n_decoded=100, n_prefilled=1000, uptime_s=10.0)
    now = sample(n_decoded=150, n_prefilled=1000, uptime_s=10.5)
    assert rates(before, now) == Rates(100.0, 0.0)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {}),
        ({"n_decoded": 1}, {"n_decoded": 5}),
        ({"n_decoded": 5, "uptime_s": 9.0}, {"n_decoded": 9, "uptime_s": 9.0}),
        ({"n_decoded": 5, "uptime_s": 9.0}, {"n_decoded": 1, "uptime_s": 10.0}),
        ({"n_decoded": 5, "uptime_s": 9.0}, {"n_decoded": 8, "uptime_s": 0.5}),
        ({"n_decoded": "5", "uptime_s": 9.0}, {"n_decoded": 8, "uptime_s": 10.0}),
    ],
)
def test_no_speed_is_known(before: dict[str, Any], now: dict[str, Any]) -> None:
    assert rates(sample(**before), sample(**now)).decode_tps is None


@pytest.mark.parametrize("value", [None, "12", True, [], {}, float("nan"), float("inf")])
def test_what_is_no_number_is_unknown(value: object) -> None:
    assert number({"step_ms": value}, "step_ms") is None
    assert number({}, "step_ms") is None


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({}, "resident"),
        ({"state": "parked"}, "parked"),
        ({"state": "frozen"}, "frozen"),
        ({"speaking": True, "n_pending": 1}, "speaks"),
        ({"speaking": True, "n_pending": 30}, "reads"),
        ({"speaking": True, "state": "parked", "n_pending": 30}, "waits"),
        ({"n_waiting": 1}, "waits"),
        ({"speaking": True, "n_waiting": 1}, "speaks"),
        ({"speaking": True, "n_waiting": None, "n_pending": None}, "speaks"),
        ({"n_waiting": None}, "resident"),
    ],
)
def test_what_a_character_does(keys: dict[str, Any], what: str) -> None:
    assert doing(npc(**keys)) == what


def test_the_busy_and_urgent_come_first() -> None:
    cast = [
        npc("asleep", state="parked"),
        npc("idle"),
        npc("queued", n_waiting=2, priority="near"),
        npc("urgent", n_waiting=2, priority="player"),
        npc("chatting", speaking=True, priority="ambient"),
        npc("new", speaking=True, priority="shouted"),
        npc("answering", speaking=True, priority="player"),
        npc("idler"),
    ]
    names = [one.npc for one in in_order(cast)]
    assert names[:3] == ["answering", "chatting", "new"]
    assert names[3:] == ["urgent", "queued", "idle", "idler", "asleep"]


def test_memory_by_part() -> None:
    stats = {
        "parked_bytes": 7,
        "n_npcs": 3,
        "zoo_bytes": 5,
        "kv_bytes": 2.0,
        "parked_disk_bytes": 0,
        "model_bytes": 1,
        "odd_bytes": "many",
    }
    assert memory(stats) == [("model", 1), ("kv", 2.0), ("parked", 7), ("zoo", 5)]
