"""The examples run, on a real model."""

import re
import runpy
from pathlib import Path

import pytest

from tests.support.paths import ROOT

EXAMPLES = ROOT / "examples"


@pytest.mark.model
def test_a_scene_that_the_player_cuts_into(
    smollm2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(EXAMPLES / "scene.py"))["main"](str(smollm2))
    out = capsys.readouterr().out
    assert re.search(r"^Mara: .+", out, re.MULTILINE)
    assert re.search(r"^Bram: .+", out, re.MULTILINE)
    assert "You, to Bram: I saw a light" in out
    assert "They had 6 turns (turns)." in out
    assert out.rstrip().splitlines()[-1].startswith("Mara: ")
