"""The command: flags, order of turns, files and exit status."""

import json
from pathlib import Path

import pytest

from npc_engine.bench.talk import command as bench_talk
from npc_engine.bench.talk.engine_side import EngineSide
from npc_engine.bench.talk.figures import Turn
from npc_engine.cli import commands as cli
from npc_engine.errors import Internal

pytestmark = pytest.mark.model


def bench(model: Path, out: Path, *flags: str) -> int:
    return cli.main(["bench", "talk", "--model", str(model), "--out", str(out), *flags])


def test_a_talk_beside_the_baseline(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "far" / "talk.json"
    # The times of so small a model are noise: the status may be 1.
    flags = ["--windows", "256,384", "--turns", "12", "--rival-turns", "3", "--max-tokens", "8"]
    assert bench(tiny_llama, out, *flags) in (0, 1)
    found = json.loads(out.read_text("utf-8"))
    assert found["command"].endswith("--model tiny-llama.gguf " + " ".join(flags))
    assert [one["window"] for one in found["windows"]] == [256, 384]
    for one in found["windows"]:
        assert one["ours"]["n_turns"] == 12
        assert one["verdicts"]["read"] is True
        assert one["verdicts"]["errors"] is True
        flagged = one["turns"]["rival"]["overflow"].split()
        assert len(flagged) - flagged.index("1") == 3
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert out.with_suffix(".md").read_text("utf-8").startswith("# A talk of 12 turns: tiny-llama")
    assert "window 384: " in capsys.readouterr().out


def test_without_a_baseline_and_without_a_plot(tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "talk.json"
    bench(tiny_llama, out, "--windows=256", "--turns=2", "--rival-turns=0", "--no-plot")
    found = json.loads(out.read_text("utf-8"))
    assert found["windows"][0]["rival"]["n_turns"] == 0
    assert not out.with_suffix(".png").exists()


def test_ctrl_c_writes_what_there_is(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say = EngineSide.say

    def interrupted(self: EngineSide, text: str) -> Turn:
        if self._n_turns == 3:
            raise KeyboardInterrupt
        return say(self, text)

    monkeypatch.setattr(EngineSide, "say", interrupted)
    out = tmp_path / "talk.json"
    assert bench(tiny_llama, out, "--windows=256,512", "--rival-turns=0") == 1
    (window,) = json.loads(out.read_text("utf-8"))["windows"]
    assert window["interrupted"] is True
    assert window["ours"]["n_turns"] == 3


def test_an_error_of_ours_fails(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_self: EngineSide, _text: str) -> Turn:
        raise Internal("It broke.", "Look into the log.")

    monkeypatch.setattr(EngineSide, "say", fails)
    out = tmp_path / "talk.json"
    flags = ["--windows=256", "--turns=2", "--rival-turns=0", "--no-plot"]
    assert bench(tiny_llama, out, *flags) == 1
    (window,) = json.loads(out.read_text("utf-8"))["windows"]
    assert window["ours"]["errors"] == ["It broke. Look into the log."]


def test_a_baseline_that_only_fails_is_left_alone(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, *_args: object) -> None: ...

        def say(self, _text: str) -> str:
            return "it broke"

        def close(self) -> None: ...

    monkeypatch.setattr(bench_talk, "BaselineProcess", Broken)
    out = tmp_path / "talk.json"
    bench(tiny_llama, out, "--windows=256", "--turns=15", "--no-plot", "--max-tokens=2")
    (window,) = json.loads(out.read_text("utf-8"))["windows"]
    assert (window["rival"]["n_turns"], window["rival"]["n_errors"]) == (0, 10)
    assert window["ours"]["n_turns"] == 15


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--windows=512,many", "--windows is '512,many'. Give numbers of tokens by comma"),
        ("--windows=64", "--windows has 64. For this model each must be from 256 to 2,048"),
        ("--windows=4096", "--windows has 4096."),
        ("--turns=0", "--turns is 0. It must be from 1 to 100,000."),
        ("--threads=0", "--threads is 0."),
        ("--rival-turns=-1", "--rival-turns is -1. It must be from 0"),
    ],
)
def test_bad_values(
    tiny_llama: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str, says: str
) -> None:
    assert bench(tiny_llama, tmp_path / "talk.json", flag) == 2
    assert says in capsys.readouterr().err
