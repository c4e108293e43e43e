"""Other quantizations of a model's file: tried once, judged by speed and perplexity together."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from npc_engine.cli.chat import start
from npc_engine.cli.doctor import requantize
from npc_engine.cli.doctor.quantization import Figures, Verdict, judge, name_of, number_of
from npc_engine.cli.doctor.requantize import KIND, try_types, write_fitted
from npc_engine.llama.gguf_header import read_header
from npc_engine.llama.model import quantize
from npc_engine.llama.model_file import fitted
from npc_engine.storage import scratch_folder as scratch
from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "models"))  # scripts, not a package

import fit

OWN = Figures(read_tps=180.0, speak_tps=48.0, nats=3.4)


# The verdict


@pytest.mark.parametrize(
    ("other", "best", "told"),
    [
        (Figures(900.0, 90.0, 3.405), "Q4_0", r"Q4_0 0\.48 times as long .*perplexity \+0\.5%"),
        (Figures(900.0, 90.0, 3.3), "Q4_0", r"perplexity -9\.5%"),
        (Figures(900.0, 90.0, 3.55), None, r"Q4_0 0\.48 times as long .*perplexity \+16\.2%"),
        (Figures(900.0, 47.0), None, r"Q4_0 0\.88 times as long for a turn\."),  # was not read
        (Figures(185.0, 49.0, 3.0), None, r"0\.98 times"),  # better, and hardly faster
        (Figures(900.0, 30.0, 3.4), None, r"1\.37 times"),  # it reads faster and speaks slower
    ],
)
def test_a_type_is_better_when_it_is_clearly_faster_and_no_worse(
    other: Figures, best: str | None, told: str
) -> None:
    verdict = judge("Q4_1", {"Q4_1": OWN, "Q4_0": other})
    assert verdict.best == best
    assert re.search(told, verdict.reason)


def test_of_two_better_ones_the_faster_wins() -> None:
    tried = {"Q4_1": OWN, "Q8_0": Figures(300.0, 60.0, 3.4), "Q4_0": Figures(400.0, 90.0, 3.4)}
    assert judge("Q4_1", tried).best == "Q4_0"


def test_nothing_could_be_made() -> None:
    assert judge("Q4_1", {"Q4_1": OWN}) == Verdict(
        None, "llama.cpp makes no other type of this file."
    )


def test_types_have_numbers() -> None:
    assert [number_of(n) for n in ("Q4_0", "Q8_0", "Q4_K_M")] == [2, 7, 15]
    assert name_of(str(number_of("Q4_K_S"))) == "Q4_K_S"


# The trial


class Speeds:
    """Stands for the clock: how fast each type is, and how busy others are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: dict[str, tuple[float, float]] = {}
        self.nats: dict[str, float] = {}
        self.busy: float | None = 0.0
        self.n_runs = 0
        self.read: list[str] = []
        monkeypatch.setattr(requantize, "_speeds", self._speeds)
        monkeypatch.setattr(requantize, "_nats", self._nats)
        watch = SimpleNamespace(busy=lambda: self.busy)
        monkeypatch.setattr(requantize, "Watch", lambda: watch)
        monkeypatch.setattr(requantize, "others_are_busy", lambda: (self.busy or 0.0) > 0.2)

    def _speeds(self, models: dict[str, object], _n: int) -> dict[str, tuple[float, float]]:
        self.n_runs += 1
        self.names = list(models)
        return {name: self.of.get(name, (100.0, 50.0)) for name in models}

    def _nats(self, model: object, _n: int) -> float:
        name = name_of(model.meta("general.file_type"))  # type: ignore[attr-defined]
        self.read.append(name)
        return self.nats.get(name, 3.0)


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Speeds:
    monkeypatch.setenv("NPC_ENGINE_CACHE_DIR", str(tmp_path / "cache"))
    return Speeds(monkeypatch)


def tried(path: Path, names: Sequence[str] = ("F32", "Q8_0", "Q4_0")) -> Verdict | None:
    return try_types(path, names, 1, extra_bufts=True)


@pytest.mark.model
def test_only_what_is_faster_is_read_with(speeds: Speeds, tiny_llama: Path) -> None:
    speeds.of = {"Q8_0": (200.0, 100.0)}
    verdict = tried(tiny_llama)
    assert verdict
    assert verdict.best == "Q8_0"
    assert speeds.names == ["F32", "Q8_0", "Q4_0"]
    assert speeds.read == ["F32", "Q8_0"]
    assert list(scratch.root().iterdir()) == [], "nothing is left of the files"
    assert tried(tiny_llama) == verdict
    assert speeds.n_runs == 1, "it is kept"


@pytest.mark.model
def test_where_nothing_is_faster_nothing_is_read_with(speeds: Speeds, tiny_llama: Path) -> None:
    verdict = tried(tiny_llama)
    assert verdict
    assert verdict.best is None
    assert speeds.read == []


@pytest.mark.model
def test_what_was_tried_on_a_busy_machine_is_tried_again(speeds: Speeds, tiny_llama: Path) -> None:
    speeds.busy, speeds.of = 0.7, {"Q8_0": (200.0, 100.0)}
    tried(tiny_llama)
    speeds.of = {}
    assert tried(tiny_llama).best == "Q8_0"  # type: ignore[union-attr]
    speeds.busy = 0.0
    assert tried(tiny_llama).best is None  # type: ignore[union-attr]
    speeds.busy, n = 0.7, speeds.n_runs
    tried(tiny_llama)
    assert speeds.n_runs == n == 2


@pytest.mark.model
def test_a_type_that_llama_cpp_cannot_make_is_left_out(
    speeds: Speeds, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requantize, "quantize", lambda a, b, t: t != 2 and quantize(a, b, t))
    tried(tiny_llama)
    assert speeds.names == ["F32", "Q8_0"]


@pytest.mark.model
def test_a_full_disk_is_no_answer_that_is_kept(
    speeds: Speeds, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(scratch.ScratchFolder, "has_room", lambda self, n_bytes: False)
        assert tried(tiny_llama) is None
    assert tried(tiny_llama)
    assert speeds.names == ["F32", "Q8_0", "Q4_0"]


@pytest.mark.model
@pytest.mark.parametrize("limit", ["MAX_BYTES", "RESERVE_BYTES"])
def test_what_would_take_too_much_is_not_tried(
    speeds: Speeds, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(requantize, limit, 0 if limit == "MAX_BYTES" else 1 << 60)
    assert tried(tiny_llama) is None
    assert speeds.n_runs == 0


def test_a_file_that_is_no_model_is_not_tried(speeds: Speeds, tmp_path: Path) -> None:
    assert tried(tmp_path / "none.gguf") is None


@pytest.mark.model
def test_real_figures(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NPC_ENGINE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(requantize, "is_clearly_faster", lambda other, own: True)
    monkeypatch.setattr(requantize, "N_TEXT", 128)
    assert tried(tiny_llama, ["Q8_0"])
    (kept,) = [v["figures"] for v in json.loads((tmp_path / f"{KIND}.json").read_text()).values()]
    assert set(kept) == {"F32", "Q8_0"}
    assert all(f["read_tps"] > 0 and f["speak_tps"] > 0 for f in kept.values())
    assert kept["Q8_0"]["nats"] == pytest.approx(kept["F32"]["nats"], rel=0.01)


# The file that is made


@pytest.mark.model
def test_the_file_is_written_whole_and_removed_when_it_is_no_better(
    tiny_llama: Path, tmp_path: Path
) -> None:
    path = tmp_path / "small.gguf"
    path.symlink_to(tiny_llama)
    write_fitted(path, "Q8_0")
    header = read_header(fitted(path))
    assert header
    assert header.number("general.file_type") == number_of("Q8_0")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.fitted.gguf", "small.gguf"]
    write_fitted(path, None)
    write_fitted(path, None)
    assert [p.name for p in tmp_path.iterdir()] == ["small.gguf"]


def test_a_file_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_source: Path, target: Path, _type: int) -> bool:
        target.write_bytes(b"GGUF")
        return False

    monkeypatch.setattr(requantize, "quantize", half)
    with pytest.raises(OSError, match=r"small.gguf cannot be made Q8_0"):
        write_fitted(tmp_path / "small.gguf", "Q8_0")
    assert list(tmp_path.iterdir()) == []


def test_the_demo_takes_what_was_made_for_this_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "DEMO_MODEL", tmp_path / "small.gguf")
    (tmp_path / "small.gguf").touch()
    assert start._demo_model() == str(tmp_path / "small.gguf")
    fitted(tmp_path / "small.gguf").touch()
    assert start._demo_model() == str(tmp_path / "small.fitted.gguf")


@pytest.mark.parametrize(
    ("advice", "written"),
    [
        ({"faster": ["Q8_0"], "tried": True, "reason": "Faster."}, "Q8_0"),
        ({"faster": [], "tried": True, "reason": "None is."}, None),
        ({"faster": ["Q4_0"], "tried": False, "reason": "A rule."}, None),
    ],
)
def test_a_model_is_fitted_by_what_doctor_found(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    advice: dict[str, object],
    written: str | None,
) -> None:
    found: list[str | None] = []
    report = {"model": {"quantization": "Q4_1", "advice": advice}}
    monkeypatch.setattr(fit, "examine", lambda _path, _say: report)
    monkeypatch.setattr(fit, "write_fitted", lambda _path, best: found.append(best))
    assert fit.main(["small.gguf"]) == 0
    assert found == [written]
    assert f"small.gguf, Q4_1: {advice['reason']}" in capsys.readouterr().out


def test_a_model_that_is_none_cannot_be_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit.main([str(tmp_path / "none.gguf")]) == 1
    assert "cannot be opened" in capsys.readouterr().err
