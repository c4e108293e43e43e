"""A delta makes the new state of the old one, whatever the two are; and no bytes can do harm."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.storage.delta import diff, image, patch

SEGMENT = st.fixed_dictionaries({"tokens": st.lists(st.integers(0, 3), max_size=2)})
KEYS = st.sampled_from(["turn", "card", "events", "heard"])
VALUES = st.one_of(st.integers(0, 9), st.text(max_size=3), st.lists(st.integers(0, 9), max_size=2))
STATE = st.tuples(st.dictionaries(KEYS, VALUES), st.lists(SEGMENT, max_size=8)).map(
    lambda parts: {**parts[0], "segments": parts[1]}
)


def turns(*numbers: int) -> dict[str, Any]:
    return {"turn": max(numbers), "segments": [{"tokens": [n], "turn": n} for n in numbers]}


def wired(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    delta: dict[str, Any] = msgspec.msgpack.decode(
        msgspec.msgpack.encode(diff(image(old), image(new)))
    )
    return delta


@given(STATE, STATE)
def test_a_delta_makes_the_new_state_of_the_old_one(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    delta = wired(old, new)
    assert (delta == {}) == (old == new)
    patch(old, delta)
    assert old == new


def test_what_stays_is_not_in_it() -> None:
    old, new = turns(0, 1, 2, 3, 4), turns(0, 3, 4, 5)
    delta = wired(old, new)
    assert delta == {
        "set": {"turn": 5},
        "splices": [[1, 2, []], [5, 0, [{"tokens": [5], "turn": 5}]]],
    }
    assert patch(old, delta) == 11  # segments that it may have moved
    assert old == new


def test_what_is_left_out_makes_no_difference() -> None:
    old = {"holes": [1], "segments": [{"start": 4, "tokens": [1]}]}
    new = {"holes": [2], "segments": [{"start": 5, "tokens": [1]}]}
    images = [image(state, ("holes",), ("start",)) for state in (old, new)]
    assert diff(*images) == {}
    assert diff(image(old), image(new)) != {}


@pytest.mark.parametrize(
    "delta",
    [
        {"set": []},
        {"set": {"segments": []}},
        {"gone": ["segments"]},
        {"gone": [["turn"]]},
        {"gone": "turn"},
        {"splices": {}},
        {"splices": [1]},
        {"splices": [[0, 1]]},
        {"splices": [[0, 1, {}]]},
        {"splices": [[0, True, []]]},
        {"splices": [[-1, 1, []]]},
        {"splices": [[0, -1, []]]},
        {"splices": [[2, 2, []]]},
        {"splices": [[0, 2, []], [1, 1, []]]},
        {"splices": [[1, 1, []], [0, 1, []]]},
        {"splices": [[1 << 63, 1, []]]},
        {"set": {"turn": 9}, "splices": [[9, 0, []]]},
    ],
)
def test_what_is_no_delta_changes_nothing(delta: dict[str, Any]) -> None:
    state = turns(1, 2, 3)
    with pytest.raises(ValueError, match=r"."):
        patch(state, delta)
    assert state == turns(1, 2, 3)


@pytest.mark.parametrize("state", [{}, {"segments": None}, {"segments": {}}])
def test_a_state_without_segments_takes_none(state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="list"):
        patch(state, {})
