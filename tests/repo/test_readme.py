"""The README's Python runs, and its links lead somewhere."""

import re
from pathlib import Path
from typing import get_args, get_type_hints
from unittest.mock import MagicMock

import pytest

import npc_engine
from npc_engine.client.in_process import Engine
from npc_engine.client.verbs import Verbs
from tests.support.pages import PYTHON, python_page
from tests.support.paths import ROOT
from tests.support.rig import Rig, TimedLlama, scripted

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(PYTHON, README)


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


# docs/python.md


def verbs() -> set[str]:
    return {name for name in vars(Verbs) if not name.startswith("_")}


def test_the_python_page_names_what_there_is() -> None:
    """The verbs of its table are all the verbs, and no more than there are examples of."""
    table = python_page().split("## A reply")[0]
    assert set(re.findall(r"`(\w+)\([^`]*\)`", table)) >= verbs()
    code = "".join(re.findall(PYTHON, python_page()))
    assert set(re.findall(r"\bengine\.(\w+)\(", code)) == verbs()


def test_the_code_of_the_python_page_runs(tmp_path: Path) -> None:
    """Over a model that is none: one block after the other, as they stand."""
    spoken: list[str] = []
    shown = MagicMock()
    mind = scripted("*nods* All is well. Be on your way.")
    rig = Rig(tmp_path, fake=TimedLlama(mind=mind), window=2000)
    engine = Engine(rig.engine)
    for npc in ("mara", "bram"):
        engine.spawn(npc, {"name": npc.title(), "description": "Is at the inn."})
    names = {"engine": engine, "speak": spoken.append, "play_animation": shown, "print": shown}
    for block in re.findall(PYTHON, python_page()):
        exec(block, names)
    rig.close()
    assert spoken[:2] == ["All is well.", "Be on your way."]
    shown.assert_any_call("nods")


def test_what_a_verb_returns_is_public() -> None:
    returned = {get_type_hints(getattr(Verbs, verb))["return"] for verb in verbs()}
    ours = {
        kind
        for hint in returned
        for kind in (hint, *get_args(hint))
        if getattr(kind, "__module__", "").startswith("npc_engine")
    }
    assert len(ours) > 8
    assert [kind for kind in ours if getattr(npc_engine, kind.__name__, None) is not kind] == []
