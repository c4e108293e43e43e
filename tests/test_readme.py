"""The README's Python runs, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from npc_engine.sidecar import Sidecar

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 5
    missing = [x for x in links if not x.startswith("http") and not (ROOT / x).exists()]
    assert missing == []


@pytest.mark.model
def test_the_ten_lines_over_a_socket(
    smollm2: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = next(block for block in BLOCKS if "Client()" in block)
    monkeypatch.chdir(ROOT)
    with Sidecar(smollm2, "--saves", str(tmp_path), "--slots", "1", "--max-tokens", "24") as engine:
        monkeypatch.setattr("npc_engine.client.Client", lambda: engine.client())
        exec(code, {})
    assert capsys.readouterr().out.strip()
    assert [f.name for f in (tmp_path / "slot1").iterdir()] == ["mara.npc"]


@pytest.mark.model
def test_the_lines_in_process(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = next(block for block in BLOCKS if "Engine.open" in block)
    monkeypatch.chdir(smollm2.parent.parent)
    exec(code, {})
    assert capsys.readouterr().out.strip()
