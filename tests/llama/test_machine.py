"""Facts about this computer and this library build."""

import json
import sys
from pathlib import Path

import pytest

from npc_engine import loading
from npc_engine.config import Settings
from npc_engine.llama import machine
from npc_engine.llama.machine import BUILD_RECORD, computer, library
from npc_engine.llama.model import LIBRARY_VERSION

INFO = "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 1 | AVX512_VNNI = 0 | OPENMP = 1 | REPACK = 1 | "


def test_more_threads_than_cores_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 4)
    assert loading._n_threads(Settings(threads=4)) == 4
    assert caplog.messages == []
    assert loading._n_threads(Settings(threads=5)) == 5
    (row,) = caplog.messages
    assert "--threads 5: this machine has 4 cores" in row


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(machine, "system_info", lambda: INFO)
    return tmp_path


def test_the_facts_are_plain_json() -> None:
    facts = {"computer": computer(), "library": library()}
    assert json.loads(json.dumps(facts)) == facts
    assert facts["computer"]["n_logical"] >= 1


def test_features_are_whole_words(prefix: Path) -> None:
    facts = library()
    assert facts["features"] == ["avx2", "avx512"]
    assert (facts["openmp"], facts["repack"]) == (True, True)
    assert facts["compiler"] is None


def test_the_build_record_is_read(prefix: Path) -> None:
    record = {"llama_cpp_python": LIBRARY_VERSION, "compiler": "zig 0.14", "advice": "Use g++."}
    (prefix / BUILD_RECORD).write_text(json.dumps(record))
    facts = library()
    assert (facts["compiler"], facts["flags"], facts["advice"]) == ("zig 0.14", None, "Use g++.")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"llama_cpp_python": "0.0.1", "compiler": "of another build"}']
)
def test_a_record_that_does_not_fit_is_ignored(prefix: Path, text: str) -> None:
    (prefix / BUILD_RECORD).write_text(text)
    assert library()["compiler"] is None


def test_a_system_without_proc_hides_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object, **_kwargs: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert computer()["features"] is None
