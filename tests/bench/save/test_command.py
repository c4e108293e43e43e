"""The command: flags, parts, files and exit status. Times of so small a model are noise."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from npc_engine.bench.save import command as bench_save
from npc_engine.bench.save import parts as bench_save_parts
from npc_engine.bench.save.figures import Measured
from npc_engine.bench.save.parts import Setup
from npc_engine.bench.shared.run import Part
from npc_engine.cli import commands as cli
from npc_engine.errors import BackendError

pytestmark = pytest.mark.model

SHORT = [
    *("--rounds=2", "--depths=256", "--depth=256", "--characters=3", "--speakers=2", "--steps=5"),
]


def bench(model: Path, out: Path, *flags: str) -> int:
    return cli.main(["bench", "save", "--model", str(model), "--out", str(out), *SHORT, *flags])


def test_all_parts(tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "far" / "save.json"
    folder = tmp_path / "disk"
    folder.mkdir()
    assert bench(tiny_llama, out, "--depths=512,256", f"--folder={folder}") == 0
    whole = json.loads(out.read_text("utf-8"))
    assert [row["n_rounds"] for row in whole["characters"]] == [2, 2]
    few, many = whole["characters"]
    assert few["n_tokens"] <= 256 < many["n_tokens"] <= 512
    assert few["n_bytes"] < many["n_bytes"]
    for row in (few, many):
        assert row["n_lean_bytes"] < row["n_bytes"]
        # Keys and values of each layer in f16 at least, whatever else a payload has.
        assert row["bytes_per_token"] >= 2 * 2 * 2 * 16
        assert 0 < row["ms"]["read"] < row["ms"]["restore"]
        assert min(row["ms"].values()) > 0
    crowd = whole["crowd"]
    assert (crowd["n_characters"], crowd["n_speakers"], crowd["n_rounds"]) == (3, 2, 2)
    assert len(crowd["quiet"]) == 10
    assert crowd["during"]
    assert crowd["n_bytes"] > 3 * 200 * 128
    assert set(whole["verdicts"].values()) == {None}
    assert list(folder.iterdir()) == [], "the saves are gone"
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert out.with_suffix(".md").read_text("utf-8").startswith("# Saves: tiny-llama\n")
    assert "restoring 1,000 tokens: not measured" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["mamba", "gemma3-swa", "lfm2-hybrid"])
def test_every_kind_of_memory(tiny_llama: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "save.json"
    assert bench(tiny_llama.with_name(f"tiny-{kind}.gguf"), out, "--rounds=1", "--no-plot") == 0
    whole = json.loads(out.read_text("utf-8"))
    assert whole["characters"][0]["n_bytes"] > whole["characters"][0]["n_lean_bytes"]
    assert whole["crowd"]["n_rounds"] == 1
    assert not out.with_suffix(".png").exists()


def test_q8_0_is_smaller(tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "save.json"
    swa = tiny_llama.with_name("tiny-gemma3-swa.gguf")
    assert bench(swa, out, "--parts=trips", "--rounds=1", "--no-plot") == 0
    f16, q8_0 = json.loads(out.read_text("utf-8"))["characters"]
    assert (f16["kv_type"], q8_0["kv_type"]) == ("f16", "q8_0")
    assert q8_0["bytes_per_token"] < 0.7 * f16["bytes_per_token"]


def test_a_kv_type_that_the_model_cannot_have_is_left_out_unless_asked_for(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "save.json"
    assert bench(tiny_llama, out, "--parts=trips", "--rounds=1", "--no-plot") == 0
    assert [row["kv_type"] for row in json.loads(out.read_text())["characters"]] == ["f16"]
    assert bench(tiny_llama, out, "--kv-types=f16,q8_0") == 2
    assert "cannot be quantized" in capsys.readouterr().err


def test_ctrl_c_keeps_what_there_is(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(setup: Setup, found: Measured) -> Iterator[str]:
        for i, now in enumerate(bench_save_parts.trips(setup, found)):
            yield now
            if i == 1:
                raise KeyboardInterrupt

    part = Part(lambda _s: 2, interrupted)
    monkeypatch.setattr(bench_save, "PARTS", {**bench_save_parts.PARTS, "trips": part})
    out = tmp_path / "save.json"
    assert bench(tiny_llama, out, "--depths=256,512") == 1
    whole = json.loads(out.read_text("utf-8"))
    assert whole["interrupted"] is True
    assert [row["n_rounds"] for row in whole["characters"]] == [1]
    assert whole["crowd"] is None


def test_what_fails_later_keeps_what_there_is(
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(_setup: Setup, _found: Measured) -> Iterator[str]:
        yield "it begins"
        raise BackendError("llama_decode failed.")

    parts = {**bench_save_parts.PARTS, "beside": Part(lambda _s: 1, fails)}
    monkeypatch.setattr(bench_save, "PARTS", parts)
    out = tmp_path / "save.json"
    assert bench(tiny_llama, out) == 1
    whole = json.loads(out.read_text("utf-8"))
    assert (whole["interrupted"], whole["characters"][0]["n_rounds"]) == (True, 2)
    assert "llama_decode failed: the report has what was" in capsys.readouterr().err
    assert bench(tiny_llama, out, "--parts=beside") == 2, "nothing was measured"


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--parts=trips,dance", "--parts has 'dance'. There are: trips, beside."),
        ("--kv-types=f16,f8", "--kv-types has 'f8'. There are: f16,"),
        ("--kv-types=auto", "--kv-types has 'auto'."),
        ("--depths=300,many", "--depths is '300,many'. Give numbers by comma"),
        ("--depths=9", "--depths has 9. Each must be from 256"),
        ("--depths=", "--depths is ''."),
        ("--depth=9", "--depth is 9. It must be from 256"),
        ("--rounds=0", "--rounds is 0."),
        ("--steps=1", "--steps is 1. It must be from 2 to 100."),
        ("--speakers=4", "--speakers is 4, --characters 3."),
        ("--threads=0", "--threads is 0."),
        ("--folder=/nowhere/at/all", "No folder can be made for the saves in '/nowhere/at/all'"),
        ("--depths=2000", "beyond this model's 2048 positions. Give 1792 tokens or less."),
    ],
)
def test_bad_values(
    tiny_llama: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str, says: str
) -> None:
    assert bench(tiny_llama, tmp_path / "save.json", flag) == 2
    assert says in capsys.readouterr().err


def test_no_memory_for_it(
    tiny_llama: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full:
        available = 1 << 20
        total = 1 << 20

    def full() -> Any:
        return Full()

    monkeypatch.setattr(psutil, "virtual_memory", full)
    assert bench(tiny_llama, tmp_path / "save.json", "--parts=beside") == 2
    assert "3 characters of 256 tokens need" in capsys.readouterr().err
