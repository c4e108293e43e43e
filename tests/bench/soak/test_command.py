"""The command: flags, report, plot and exit status. What a soak is, test_soak has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npc_engine.bench.soak import command as bench_soak
from npc_engine.bench.soak.figures import Sample
from npc_engine.bench.soak.process import SoakRun
from npc_engine.cli import commands as cli
from npc_engine.config import Settings


def run_of(n_tokens: int, **more: Any) -> SoakRun:
    samples = [
        Sample(n, n // 3, n / 1000, n / 2000, n / 9000, 100 << 20)
        for n in range(5000, n_tokens + 1, 5000)
    ]
    return SoakRun(samples, facts={"n_cycles": len(samples)}, **more)


@pytest.fixture
def soaked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Settings]:
    """Soaks that take no time; the settings that they got."""
    got: list[Settings] = []

    def soak(settings: Settings, n_tokens: int, show: Callable[[int], None]) -> SoakRun:
        got.append(settings)
        show(n_tokens)
        if "bad" in settings.model:
            return run_of(n_tokens, faults=["Say: internal: it broke"], n_faults=1)
        return run_of(n_tokens, interrupted="cut" in settings.model)

    monkeypatch.setattr(bench_soak, "soak_apart", soak)
    for name in ("good", "other", "bad", "cut"):
        (tmp_path / f"{name}.gguf").touch()
    monkeypatch.chdir(tmp_path)
    return got


def test_each_model_has_its_part_of_the_report(
    soaked: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["--model", "good.gguf", "--model", "other.gguf"]
    status = cli.main(["bench", "soak", *models, "--tokens", "200000", "--out", "far/r.json"])
    assert status == 0
    report = json.loads(Path("far/r.json").read_text("utf-8"))
    assert [run["name"] for run in report["runs"]] == ["good", "other"]
    assert report["runs"][0]["verdicts"] == {"memory": True, "time": True, "errors": True}
    assert report["runs"][0]["n_tokens"] == 200_000
    assert Path("far/r.png").read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out
    assert "good   200,000     33%    100.0  +0.00%     0.500" in table
    assert table.count("passed") == 2
    assert [(s.slots, s.window, s.kv_type) for s in soaked] == [(2, 512, "f16")] * 2


def test_a_fault_fails(soaked: list[Settings], capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["bench", "soak", "--model", "bad.gguf", "--tokens", "5000", "--no-plot"])
    assert (status, len(soaked)) == (1, 1)
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "bad: Say: internal: it broke" in out
    assert not Path("soak.png").exists()


def test_ctrl_c_writes_what_there_is(soaked: list[Settings]) -> None:
    models = ["--model", "cut.gguf", "--model", "good.gguf"]
    assert cli.main(["bench", "soak", *models, "--tokens", "10000"]) == 1
    assert len(soaked) == 1
    report = json.loads(Path("soak.json").read_text("utf-8"))
    assert report["runs"][0]["interrupted"] is True


@pytest.mark.usefixtures("soaked")
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--model", "gone.gguf"], "--model is 'gone.gguf': no such file."),
        (["--model", "good.gguf", "--tokens", "10"], "--tokens is 10. Give at least 1000."),
        (["--model", "good.gguf", "--window", "99"], "--window is 99. Give at least 256."),
        (["--model", "good.gguf", "--threads", "0"], "threads is 0. It must be from 1 to 256."),
    ],
)
def test_bad_values(capsys: pytest.CaptureFixture[str], flags: list[str], says: str) -> None:
    assert cli.main(["bench", "soak", *flags]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.model
def test_a_real_run(tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    flags = ["--model", str(tiny_llama), "--tokens", "1000", "--out", str(out)]
    assert cli.main(["bench", "soak", *flags]) == 0
    (run,) = json.loads(out.read_text("utf-8"))["runs"]
    assert run["faults"] == []
    assert run["n_decoded"] > 0.3 * run["n_tokens"]
    assert run["verdicts"] == {"memory": None, "time": None, "errors": True}
