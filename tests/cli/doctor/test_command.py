"""`doctor`: what it judges, how it reads, and its exit status."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from npc_engine.cli import commands as cli
from npc_engine.cli.doctor import examination as doctor
from npc_engine.cli.doctor.examination import examine
from npc_engine.cli.doctor.quantization import Verdict
from npc_engine.cli.doctor.text import render
from npc_engine.errors import ModelError
from npc_engine.llama.measurements import day_of
from npc_engine.llama.selftest import Answer

GIB = 1 << 30
COMPUTER = {
    "python": "3.12.1 (CPython)",
    "platform": "Linux 6.1 x86_64",
    "cpu": "Some CPU 3000",
    "n_physical": 4,
    "n_logical": 8,
    "features": ["avx2", "avx512"],
    "busy": 0.1,
    "ram_total": 16 * GIB,
    "ram_free": 9 * GIB,
}
LIBRARY = {
    "llama_cpp_python": "0.3.36",
    "compiler": "clang 16.0.6",
    "flags": "-DGGML_NATIVE=ON",
    "advice": None,
    "openmp": True,
    "repack": True,
    "amx": False,
    "extra_bufts_work": True,
    "self_test": None,
    "features": ["avx2", "avx512"],
}
MODEL = {
    "name": "Small Talk",
    "file": "small.gguf",
    "file_bytes": 98 << 20,
    "n_parts": 1,
    "arch": "llama",
    "n_params": 135_000_000,
    "quantization": "Q4_0",
    "n_ctx_train": 8192,
    "template_notice": None,
    "policy": "full",
    "policy_means": "Full attention: all is kept.",
    "positions": "RoPE without scaling, 8,192 positions",
    "renumbering": "By moving the cached keys.",
    "kv": [
        {"layout": "f16, flash attention off", "ms": 9.81, "bytes_per_token": 23040,
         "chosen": False, "busy": 0.04, "at": 1e9},
        {"layout": "q8_0/f16, flash attention off", "ms": 9.12, "bytes_per_token": 17640,
         "chosen": True, "busy": 0.04, "at": 1e9},
    ],
    "speed": {"n_threads": 3, "prefill_tps": 239.4, "decode_tps": 142.2, "first_token_ms": 169.0},
    "window": 2048,
    "ram": {"1": 127 << 20, "8": 368 << 20},
}  # fmt: skip


def report_of(
    monkeypatch: pytest.MonkeyPatch, verdict: Verdict | None = None, **changes: Any
) -> dict[str, Any]:
    """The report on a machine that is all right but for `changes`, `part__key=value`.

    `verdict`: what comes of it when other quantizations are tried; None where none can be.
    """
    parts: dict[str, Any] = {"computer": COMPUTER, "library": LIBRARY, "model": MODEL}
    parts = copy.deepcopy(parts)
    for name, value in changes.items():
        part, _, key = name.partition("__")
        parts[part][key] = value
    works = parts["library"]["extra_bufts_work"]
    bad = Answer(works=False, cause="its self-test crashed (SIGSEGV)", at=1e9, n_bad=3)
    answer = Answer(works=True) if works else bad
    monkeypatch.setattr(doctor, "computer", lambda: parts["computer"])
    monkeypatch.setattr(doctor, "library", lambda: parts["library"])
    monkeypatch.setattr(doctor, "n_auto_threads", lambda: 3)
    monkeypatch.setattr(doctor, "uses_amx", lambda: parts["library"]["amx"])
    monkeypatch.setattr(doctor, "self_test", lambda _path, fresh: answer)
    monkeypatch.setattr(doctor, "_examine_model", lambda _path, _works: parts["model"])
    monkeypatch.setattr(doctor, "try_types", lambda *_args, **_keys: verdict)
    return examine(Path("small.gguf"))


def test_a_good_machine_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(monkeypatch)
    assert report["healthy"]
    assert {check["mark"] for check in report["checks"]} == {"ok"}
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(
    ("changes", "mark", "words"),
    [
        ({"library__openmp": False}, "!", "without OpenMP.*1 thread"),
        ({"library__extra_bufts_work": False}, "x", "crashed.*make setup.*--retest"),
        ({"library__amx": True}, "ok", "AMX code tested: it works"),
        ({"library__advice": "Try clang."}, "!", "Try clang"),
        ({"library__features": ["avx2"]}, "!", "has avx512, which this build does not use"),
        ({"model__template_notice": "No template."}, "!", "No template"),
        ({"model__quantization": "Q4_1"}, "!", "Q4_0, Q4_K_S or Q4_K_M file"),
        ({"model__ram": {"1": 3 * GIB, "8": 9 * GIB}}, "!", "8 characters take more than half"),
        ({"model__ram": {"1": 9 * GIB, "8": 20 * GIB}}, "x", "use a smaller one"),
        ({"computer__busy": 0.9}, "!", "keep this machine busy"),
    ],
)
def test_what_it_judges(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], mark: str, words: str
) -> None:
    report = report_of(monkeypatch, **changes)
    assert report["healthy"] is (mark != "x")
    text = " ".join(f"{c['mark']} {c['text']}" for c in report["checks"] if c["mark"] == mark)
    assert re.search(f"{mark} .*{words}", text)


def test_advice_follows_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    with_amx = report_of(monkeypatch, library__amx=True, model__quantization="Q4_1")
    assert with_amx["model"]["advice"]["suits"]
    no_vectors = report_of(monkeypatch, library__features=[], model__quantization="Q4_1")
    assert no_vectors["model"]["advice"]["suits"]


def quantization_check(report: dict[str, Any]) -> tuple[str, str]:
    return next((c["mark"], c["text"]) for c in report["checks"] if "Q4_1" in c["text"])


def test_a_type_that_was_tried_and_is_worse_is_no_reproach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict = Verdict(None, "tried here, none is better: Q4_0 0.79 times as long for a turn.")
    report = report_of(monkeypatch, verdict, model__quantization="Q4_1")
    assert quantization_check(report) == ("ok", f"Q4_1: {verdict.reason}")
    assert report["model"]["advice"]["faster"] == []


def test_a_type_that_was_tried_and_is_better(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    verdict = Verdict("Q8_0", "Q8_0 made from this Q4_1 is clearly faster.")
    report = report_of(monkeypatch, verdict, model__quantization="Q4_1")
    mark, text = quantization_check(report)
    assert mark == "!"
    assert text.startswith("A Q8_0 file of this model would be faster here. Q8_0 made from")
    assert "models/fit.py" in text
    (tmp_path / "small.fitted.gguf").touch()
    mark, text = quantization_check(report_of(monkeypatch, verdict, model__quantization="Q4_1"))
    assert mark == "ok"
    assert "'small.fitted.gguf'" in text


def test_features_that_the_system_hides_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(monkeypatch, computer__features=None)
    assert "vector" not in " ".join(c["text"] for c in report["checks"] if c["mark"] == "!")
    assert "not told by this system" in render(report)


def test_the_text_has_every_figure_and_aligned_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(report_of(monkeypatch))
    for words in ("Some CPU 3000", "4 (8 logical)", "16.0 GiB, 9.0 GiB free", "clang 16.0.6",
                  "135 million", "8,192 tokens", "142 tokens/s (3 threads)", "169 ms", "98 MiB",
                  "127 MiB", "368 MiB", "All is well."):  # fmt: skip
        assert words in text
    table = [line for line in text.splitlines() if "flash attention" in line]
    assert [line.index("f16, flash") for line in table] == [2, 7]
    assert [line[:62].rstrip()[-4:] for line in table] == ["22.5", "17.2"]
    assert table[1].endswith("<- used")
    assert all(len(line) <= 100 and line == line.rstrip() for line in text.splitlines())


def test_without_a_model_there_is_no_model_part(monkeypatch: pytest.MonkeyPatch) -> None:
    report_of(monkeypatch)
    report = examine()
    assert report["model"] is None
    assert "KV cache" not in render(report)


def test_a_bad_self_test_has_a_date_and_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"library__amx": True, "library__extra_bufts_work": False}
    text = " ".join(render(report_of(monkeypatch, None, **changes)).split())
    assert f"failed on {day_of(1e9)}, at 3 starts in a row: its self-test crashed (SIGSEGV)" in text
    assert "--retest asks again" in text
    assert f"(tested {day_of(1e9)})" in text


def test_a_good_self_test_has_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = {"works": True, "cause": "", "at": 1e9, "n_bad": 0}
    report_of(monkeypatch, library__amx=True, library__self_test=tested)
    assert f"passed on {day_of(1e9)}" in render(examine())


def test_the_self_test_is_asked_anew_only_where_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report_of(monkeypatch)
    asked: list[bool] = []

    def ask(_path: Path, fresh: bool) -> Answer:
        asked.append(fresh)
        return Answer(works=True)

    monkeypatch.setattr(doctor, "self_test", ask)
    assert cli.main(["doctor", "--model", "small.gguf"]) == 0
    assert cli.main(["doctor", "--model", "small.gguf", "--retest"]) == 0
    assert asked == [False, True]
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--retest"])
    assert "--retest needs --model" in capsys.readouterr().err


def test_a_calibration_beside_busy_programs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(report_of(monkeypatch))
    assert f"(measured {day_of(1e9)}, others took 4% of the cores)" in text
    rows = [{**row, "busy": 0.6} for row in MODEL["kv"]]  # type: ignore[attr-defined]
    report = report_of(monkeypatch, model__kv=rows)
    assert "others took 60% of the cores" in render(report)
    assert any(c["mark"] == "!" and "measures it again" in c["text"] for c in report["checks"])


def test_a_models_words_do_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(report_of(monkeypatch, model__name="\x1b[2J\x07evil\n\r" + "x" * 10_000))
    assert not set(text) - {"\n"} & set(map(chr, range(32)))
    assert len(text) < 6000


@pytest.mark.parametrize(("healthy", "status"), [(True, 0), (False, 1)])
def test_the_exit_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    healthy: bool,
    status: int,
) -> None:
    report = report_of(monkeypatch, library__extra_bufts_work=healthy)
    assert cli.main(["doctor", "--model", "small.gguf", "--json"]) == status
    out, err = capsys.readouterr()
    assert json.loads(out) == report
    assert "Loading and measuring small.gguf" in err
    assert cli.main(["doctor", "--model", "small.gguf"]) == status
    assert capsys.readouterr().out == render(report)


def test_a_bad_model_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report_of(monkeypatch)

    def refuse(_path: Path, _works: bool) -> dict[str, Any]:
        raise ModelError("'x' is no GGUF model.", "Use\na .gguf file.")

    monkeypatch.setattr(doctor, "_examine_model", refuse)
    assert cli.main(["doctor", "--model", "x"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "npc-engine: error: 'x' is no GGUF model. Use a .gguf file."


def test_without_a_stdout_the_status_still_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    report_of(monkeypatch)
    monkeypatch.setattr("sys.stdout", None)
    assert cli.main(["doctor", "--model", "small.gguf"]) == 0


def test_this_very_machine_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) in (0, 1)
    report = json.loads(capsys.readouterr().out)
    assert report["computer"]["ram_total"] > report["computer"]["ram_free"] > 0
    assert report["library"]["llama_cpp_python"]


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other quantizations are not tried: test_requantize does, and it takes its time."""
    monkeypatch.setattr("npc_engine.cli.doctor.requantize.MAX_BYTES", 0)


@pytest.mark.model
@pytest.mark.usefixtures("untried")
def test_the_real_model(smollm2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--model", str(smollm2), "--json"]) in (0, 1)
    model = json.loads(capsys.readouterr().out)["model"]
    assert (model["arch"], model["quantization"], model["policy"]) == ("llama", "Q4_1", "full")
    assert model["template_notice"] is None
    assert sum(row["chosen"] for row in model["kv"]) == 1
    assert all(model["speed"][key] > 0 for key in model["speed"])
    assert model["ram"]["8"] > model["ram"]["1"] > 98e6


@pytest.mark.model
@pytest.mark.usefixtures("untried")
def test_every_kind_of_model(tiny_model: Path) -> None:
    report = examine(tiny_model)
    assert report["model"]["policy_means"].lower().startswith(report["model"]["policy"][:3]) or (
        report["model"]["policy"] == "swa"
    )
    ram = report["model"]["ram"]
    assert ram["8"] > ram["1"] > report["model"]["file_bytes"] / 2
    assert render(report)


@pytest.mark.parametrize("content", [None, b"", b"PK\3\4 a zip", b"GGUF\3\0\0\0 cut short"])
def test_files_that_are_no_model(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["doctor", "--model", str(path)]) == 2
    assert "m.gguf" in capsys.readouterr().err.splitlines()[-1]
