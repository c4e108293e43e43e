"""The command: flags, parts, files and exit status. Times of so small a model are noise."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from npc_engine import loading
from npc_engine.bench.crowd import command as bench_crowd
from npc_engine.bench.crowd import idle as crowd_idle
from npc_engine.bench.crowd import parts as crowd_parts
from npc_engine.bench.crowd.crowd import Crowd
from npc_engine.bench.crowd.figures import Measured
from npc_engine.bench.crowd.setup import Setup
from npc_engine.bench.shared.run import Part
from npc_engine.cli import commands as cli
from npc_engine.cpu import n_usable_cores
from npc_engine.errors import BackendError
from npc_engine.llama.model import Layout, Model
from tests.support.games import games

pytestmark = pytest.mark.model

SHORT = [
    *("--rounds=2", "--tokens=4", "--depth=256", "--park-depth=256", "--fair-seconds=0.2"),
    *("--turn-seconds=0.1", "--idle-seconds=0.5"),
]


def bench(model: Path, out: Path, *flags: str) -> int:
    return cli.main(["bench", "crowd", "--model", str(model), "--out", str(out), *flags])


def test_all_parts(
    tiny_llama: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd_idle, "LOOK_S", 0.1)
    out = tmp_path / "far" / "crowd.json"
    flags = ["--speakers=1,3", "--characters=5", "--slots=2", "--swaps=4", *SHORT]
    assert bench(tiny_llama, out, *flags) in (0, 1)
    whole = json.loads(out.read_text("utf-8"))
    assert [row["n_speakers"] for row in whole["speakers"]] == [1, 3]
    for row in whole["speakers"]:
        assert row["n_rounds"] == 2
        assert set(row["step_ms"]) == {"engine", "bare", "defaults"}
        assert 0 < row["python_ms"] < row["step_ms"]["engine"]
        for wait in row["first_ms"].values():
            assert 0 < wait["best"] <= wait["median"] <= wait["worst"]
    assert whole["fair"]["n_speakers"] == 16 and whole["fair"]["least"] > 0
    parking = whole["parking"]
    assert (parking["n_characters"], parking["n_slots"]) == (5, 2)
    assert parking["ms"]["call_in"]["n"] == parking["ms"]["park"]["n"] == 4
    assert parking["ms"]["reread"]["n"] == 3
    assert parking["of_reread"] > 1
    assert parking["ram"]["rss_bytes"] > parking["ram"]["parked_bytes"] > 0
    rows = whole["governor"]
    assert [(row["n_speakers"], row["n_busy"]) for row in rows] == [(1, 0), (8, 0), (1, 2), (8, 2)]
    for row in rows:
        fixed = [str(n + 1) for n in range(n_usable_cores())]
        assert list(row["tps"]) == ["auto", *fixed] and min(row["tps"].values()) > 0
        assert row["n_rounds"] == 2 and row["best"] in fixed
    assert whole["idle"]["n_characters"] == 50 and whole["idle"]["seconds"] >= 0.5
    assert whole["idle"]["before_s"] > 0.1, "it has loaded a model, so that much is counted"
    assert whole["idle"]["share"] < 0.1, "a tick of the system's clock is 2 % of half a second"
    assert not games()
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert out.with_suffix(".md").read_text("utf-8").startswith("# A crowd: tiny-llama\n")
    told = capsys.readouterr()
    assert "call-in: passed" in told.out
    assert "100 %  done" in told.err, "it yields as often as it says"


@pytest.mark.parametrize("kind", ["mamba", "gemma3-swa", "lfm2-hybrid"])
def test_every_kind_of_memory(tiny_llama: Path, tmp_path: Path, kind: str) -> None:
    model = tiny_llama.with_name(f"tiny-{kind}.gguf")
    flags = ["--speakers=2", "--characters=4", "--slots=2", "--swaps=2", "--no-plot", *SHORT]
    flags += ["--parts=speakers,fair,parking,governor"]
    out = tmp_path / "crowd.json"
    assert bench(model, out, *flags) in (0, 1)
    whole = json.loads(out.read_text("utf-8"))
    assert whole["speakers"][0]["n_rounds"] == 2
    assert whole["parking"]["ms"]["call_in"]["n"] == 2
    assert len(whole["governor"]) == 4
    assert not out.with_suffix(".png").exists()


def test_one_part_alone(tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "crowd.json"
    assert bench(tiny_llama, out, "--parts=speakers", "--speakers=2", *SHORT) == 0
    whole = json.loads(out.read_text("utf-8"))
    assert (whole["fair"], whole["parking"], whole["governor"]) == (None, None, [])
    assert set(whole["verdicts"].values()) == {None}


@pytest.mark.parametrize(("n_threads", "counts"), [(None, [1, 2]), (2, [2])])
def test_auto_chooses_and_a_fixed_count_stays(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, n_threads: int | None, counts: list[int]
) -> None:
    monkeypatch.setattr(loading, "n_usable_cores", lambda: 2)
    monkeypatch.setattr(loading, "system_info", lambda: "OPENMP = 1")
    model = Model(tiny_llama)
    with closing(model), closing(Crowd(model, Layout("f16", "f16"), 1, 256, n_threads)) as crowd:
        assert crowd.engine.scheduler._threads._ladder == counts


def test_ctrl_c_keeps_what_there_is(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(setup: Setup, found: Measured) -> Iterator[str]:
        for i, now in enumerate(crowd_parts.speakers(setup, found)):
            yield now
            if i == 2:
                raise KeyboardInterrupt

    part = Part(lambda _s: 4, interrupted)
    monkeypatch.setattr(bench_crowd, "PARTS", {**crowd_parts.PARTS, "speakers": part})
    out = tmp_path / "crowd.json"
    assert bench(tiny_llama, out, "--speakers=1,2", *SHORT) == 1
    whole = json.loads(out.read_text("utf-8"))
    assert whole["interrupted"] is True
    assert [row["n_rounds"] for row in whole["speakers"]] == [1, 1]
    assert whole["parking"] is None


def test_ctrl_c_in_the_first_round_is_no_round(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Crowd, "speak", interrupted)
    out = tmp_path / "crowd.json"
    assert bench(tiny_llama, out, "--parts=speakers", "--speakers=2", *SHORT) == 1
    whole = json.loads(out.read_text("utf-8"))
    assert (whole["interrupted"], whole["speakers"]) == (True, [])


def test_what_fails_later_keeps_what_there_is(
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(_setup: Setup, _found: Measured) -> Iterator[str]:
        yield "it begins"
        raise BackendError("llama_decode failed.")

    parts = {**crowd_parts.PARTS, "fair": Part(lambda _s: 1, fails)}
    monkeypatch.setattr(bench_crowd, "PARTS", parts)
    out = tmp_path / "crowd.json"
    assert bench(tiny_llama, out, "--parts=speakers,fair", "--speakers=2", *SHORT) == 1
    whole = json.loads(out.read_text("utf-8"))
    assert (whole["interrupted"], whole["speakers"][0]["n_rounds"]) == (True, 2)
    assert "llama_decode failed: the report has what was" in capsys.readouterr().err
    assert bench(tiny_llama, out, "--parts=fair", *SHORT) == 2, "nothing was measured"


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--parts=speakers,dance", "There are: speakers, fair, parking, governor, idle."),
        ("--speakers=1,many", "--speakers is '1,many'. Give numbers by comma"),
        ("--speakers=0", "--speakers has 0. Each must be from 1 to 64."),
        ("--speakers=", "--speakers is ''."),
        ("--depth=9", "--depth is 9. It must be from 256"),
        ("--tokens=1", "--tokens is 1. It must be from 2 to 128."),
        ("--rounds=0", "--rounds is 0."),
        ("--fair-seconds=nan", "--fair-seconds is nan."),
        ("--turn-seconds=0", "--turn-seconds is 0. It must be above 0"),
        ("--idle-seconds=3601", "--idle-seconds is 3601. It must be above 0, and at most 3600."),
        ("--busy=-1", "--busy is -1. It must be from 0 to 256."),
        ("--slots=65", "--slots is 65."),
        ("--threads=0", "--threads is 0."),
        ("--depth=2000", "beyond this model's 2048 positions. Give 1792 tokens or less."),
    ],
)
def test_bad_values(
    tiny_llama: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str, says: str
) -> None:
    assert bench(tiny_llama, tmp_path / "crowd.json", flag) == 2
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
    assert bench(tiny_llama, tmp_path / "crowd.json") == 2
    assert "16 slots x 1156 tokens need" in capsys.readouterr().err
