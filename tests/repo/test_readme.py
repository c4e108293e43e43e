"""The README's Python runs, and its links lead somewhere."""

import re
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from npc_engine.client.verbs import Verbs
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 5
    missing = [x for x in links if not x.startswith("http") and not (ROOT / x).exists()]
    assert missing == []


@pytest.mark.model
def test_the_ten_lines_with_a_sidecar(
    smollm2: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = next(block for block in BLOCKS if "Sidecar(model)" in block)
    for folder in ("examples", "models"):
        (tmp_path / folder).symlink_to(smollm2.parent.parent / folder)
    monkeypatch.chdir(tmp_path)  # it saves where it stands
    exec(code, {})
    assert capsys.readouterr().out.strip()
    assert [f.name for f in (tmp_path / "saves" / "slot1").iterdir()] == ["mara.npc"]


@pytest.mark.model
def test_the_lines_in_process(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = next(block for block in BLOCKS if "Engine.open" in block)
    monkeypatch.chdir(smollm2.parent.parent)
    exec(code, {})
    assert capsys.readouterr().out.strip()


def test_the_python_page_names_what_there_is() -> None:
    """Its code runs over an engine that is none; its verbs are all the verbs, and no more."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, {name: MagicMock() for name in ("engine", "play_animation", "speak")})
    verbs = {n for n in vars(Verbs) if not n.startswith("_")}
    assert set(re.findall(r"`(\w+)\([^`]*\)`", page.split("## A reply")[0])) >= verbs
