"""The way of a line and of a save: few calls leave a room, and hardly any climbs."""

from pathlib import Path

import pytest

from tests.support.walk import WAYS, report

MOST_LEAVING = 0.21  # of all calls of a line
# Replies climb on their way out, and nothing else should.
MOST_UPWARD = {"line": 3, "save": 1}


@pytest.mark.parametrize("way", ["line", "scene", "call-in"])
def test_most_calls_stay_in_their_room(way: str, tmp_path: Path) -> None:
    walk = WAYS[way](tmp_path)
    assert walk.n_leaving <= MOST_LEAVING * walk.n, walk.told()


@pytest.mark.parametrize("way", MOST_UPWARD)
def test_hardly_any_call_climbs(way: str, tmp_path: Path) -> None:
    walk = WAYS[way](tmp_path)
    assert walk.upward.total() <= MOST_UPWARD[way], walk.upward


def test_the_figures_can_be_read() -> None:
    assert [line.split()[0] for line in report().splitlines() if line[0] != " "] == [*WAYS]
