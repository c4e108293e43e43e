"""Measurements are kept between runs, and nothing that happens to their file does harm."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from npc_engine.llama import measurements
from npc_engine.llama.measurements import (
    CACHE_VARIABLE,
    N_KEPT,
    cache_folder,
    cpu_name,
    keep,
    recall,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_kept_values_come_back() -> None:
    assert recall("speed", "a") is None
    keep("speed", "a", {"ms": 1.5})
    keep("speed", "b", [1, True])
    keep("other", "a", 7)
    assert recall("speed", "a") == {"ms": 1.5}
    assert recall("speed", "b") == [1, True]
    assert recall("other", "a") == 7


def test_a_newer_value_replaces_the_older() -> None:
    keep("speed", "a", 1)
    keep("speed", "a", 2)
    assert recall("speed", "a") == 2


def test_the_oldest_leave() -> None:
    for i in range(N_KEPT + 5):
        keep("speed", str(i), i)
    assert recall("speed", "4") is None
    assert recall("speed", "5") == 5
    assert recall("speed", str(N_KEPT + 4)) == N_KEPT + 4


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\udcff", '{"a": 1', "[" * 100_000])
def test_a_damaged_file_means_nothing_was_measured(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "speed.json").write_text(text, "utf-8", "surrogateescape")
    assert recall("speed", "a") is None
    keep("speed", "a", 3)
    assert recall("speed", "a") == 3


def test_no_temporary_file_stays(folder: Path) -> None:
    keep("speed", "a", 1)
    assert [f.name for f in folder.iterdir()] == ["speed.json"]


def test_a_folder_that_cannot_be_made_is_no_error(folder: Path) -> None:
    folder.write_text("a file stands where the folder should be")
    keep("speed", "a", 1)
    assert recall("speed", "a") is None


def test_a_file_that_cannot_be_replaced_is_no_error(folder: Path) -> None:
    (folder / "speed.json").mkdir(parents=True)
    keep("speed", "a", 1)
    assert recall("speed", "a") is None
    assert [f.name for f in folder.iterdir()] == ["speed.json"]


def test_a_full_disk_is_no_error_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdopen

    def fails(_text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fdopen(*args: Any, **kwargs: Any) -> Any:
        file = real(*args, **kwargs)
        monkeypatch.setattr(file, "write", fails)
        return file

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", fdopen)
        keep("speed", "a", 1)
    assert list(folder.iterdir()) == []
    keep("speed", "a", 2)
    assert recall("speed", "a") == 2


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr("platformdirs.user_cache_dir", fails)
    keep("speed", "a", 1)
    assert recall("speed", "a") is None


def test_without_the_variable_it_is_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE)
    assert "npc-engine" in cache_folder().parts


def test_the_cpu_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu_name().strip()

    def fails() -> str:
        raise OSError

    monkeypatch.setattr(measurements, "_system_cpu_name", fails)
    assert cpu_name.__wrapped__().strip()
