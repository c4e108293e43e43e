"""One key for each installation, whole, private, and never a reason to fail."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from npc_engine.storage import signing_key as installation
from npc_engine.storage.signing_key import (
    DATA_VARIABLE,
    KEY_BYTES,
    KEY_FILE,
    data_folder,
    installation_key,
)


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    key = installation_key(folder)
    assert len(key) == KEY_BYTES
    assert installation_key(folder) == key
    assert installation_key(tmp_path / "c") != key
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]
    if os.name == "posix":
        assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_its_place_is_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATA_VARIABLE)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name, **kwargs: tmp_path / name)
    assert installation_key() == (tmp_path / "npc-engine" / KEY_FILE).read_bytes()


def test_the_environment_may_name_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "own"))
    assert data_folder() == tmp_path / "own"
    assert installation_key() == (tmp_path / "own" / KEY_FILE).read_bytes()


def test_a_user_without_a_home(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(DATA_VARIABLE)
    monkeypatch.setattr("platformdirs.user_data_dir", fail)
    assert len(installation_key()) == KEY_BYTES
    assert "home directory" in caplog.text


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_damaged_file_is_left_alone(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    assert len(installation_key(tmp_path)) == KEY_BYTES
    assert installation_key(tmp_path) != installation_key(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == content
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize("call", ["open", "write", "fsync", "mkdir"])
def test_a_disk_that_fails(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        assert len(installation_key(tmp_path / "a")) == KEY_BYTES
    assert "No space left" in caplog.text
    assert not list(tmp_path.rglob("*.key*"))
    assert installation_key(tmp_path / "a") == installation_key(tmp_path / "a")


def test_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", fail)
    assert installation_key(tmp_path) == installation_key(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_two_threads_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find no key and make one; the first to name it wins, and both use that."""
    meet = threading.Barrier(2, timeout=10)
    real = installation._publish

    def publish(new: Path, path: Path) -> None:
        meet.wait()
        real(new, path)

    monkeypatch.setattr(installation, "_publish", publish)
    keys: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: keys.append(installation_key(tmp_path))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(keys) == 2 and keys[0] == keys[1] == (tmp_path / KEY_FILE).read_bytes()


def test_processes_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from npc_engine.storage.signing_key import installation_key;"
        "sys.stdin.readline(); print(installation_key(Path(sys.argv[1])).hex())"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    outputs = {racer.communicate(timeout=30)[0] for racer in racers}
    assert len(outputs) == 1
    assert len(outputs.pop().strip()) == 2 * KEY_BYTES
