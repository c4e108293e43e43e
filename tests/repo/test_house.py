"""The package as a house: how large its parts may be, and a picture that is current."""

import re
import sys

import pytest

from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))  # scripts, no package

import house

MOST = {  # what a reader can bear
    "lines a function, median": 8,
    "lines a function, p90": 17,
    "lines, longest function": 50,
    "files a folder, most": 14,
    "lines of bench": 5_700,
}


def test_the_picture_is_current() -> None:
    drawn = house.PICTURE.read_text(encoding="utf-8")
    assert house.is_current(drawn), "run make docs-rooms"
    for room in {house.room(module) for module in house.MODULES}:
        assert f">{room}<" in drawn or f">{room}.py<" in drawn


def test_what_makes_a_picture_old() -> None:
    drawn = house.picture()
    first = re.search(r">(\d+) lines", drawn)
    assert first
    assert house.is_current(drawn.replace(first[0], f">{int(first[1]) + 9} lines"))
    assert not house.is_current(drawn.replace(first[0], f">{int(first[1]) + 999} lines"))
    assert not house.is_current(drawn.replace(">saving<", ">sawing<"))
    assert not house.is_current("")


@pytest.mark.parametrize("figure", MOST)
def test_what_a_reader_can_bear(figure: str) -> None:
    longest = {
        name: n for m in house.FILES for name, n in house.function_lines(m).items() if n > 50
    }
    assert house.figures()[figure] <= MOST[figure], longest


def test_the_figures_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert house.main([]) == 0
    assert "lines a function, p90" in capsys.readouterr().out
    assert house.main(["check"]) == 0
