"""A payload is what it was, wherever it went; or it is lost, and says so instead of lying."""

import gc
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.kvcache.payload import Payload

PARTS = (b"cells" * 1000, b"", b"a state")


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4))
def test_what_is_read_is_what_was_given(tmp_path_factory: Any, parts: list[bytes]) -> None:
    payload = Payload(*parts)
    size = sum(map(len, parts))
    assert payload.read() == tuple(parts)
    assert (payload.size, payload.n_bytes, payload.n_disk_bytes) == (size, size, 0)
    payload.write(tmp_path_factory.mktemp("payload") / "1")
    assert payload.read() == tuple(parts)
    assert (payload.size, payload.n_bytes, payload.n_disk_bytes) == (size, 0, size)


def test_its_file_is_private_and_lives_as_long_as_it(tmp_path: Path) -> None:
    path = tmp_path / "1"
    payload: Payload | None = Payload(*PARTS)
    assert payload is not None
    payload.write(path)
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600
    payload.release()
    assert payload.read() == PARTS, "a save may still want it"
    payload = None
    gc.collect()
    assert not path.exists()


@pytest.mark.parametrize("damage", ["byte", "short", "long", "empty", "gone", "folder"])
def test_a_damaged_file_is_noticed(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "1"
    payload = Payload(*PARTS)
    payload.write(path)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        whole = b"".join(PARTS)
        changed = {"byte": bytes(data), "short": whole[:-1], "long": whole + b"x"}
        path.write_bytes(changed.get(damage, b""))
    with caplog.at_level(logging.WARNING):
        assert payload.read() is None
        assert payload.read() is None
    assert caplog.text.count("read again") == 1
    assert payload.n_disk_bytes == 0


def test_one_that_cannot_be_written_stays(tmp_path: Path, monkeypatch: Any) -> None:
    payload = Payload(*PARTS)
    (tmp_path / "taken").write_bytes(b"somebody's")
    with pytest.raises(FileExistsError):
        payload.write(tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == b"somebody's"

    def fail(fd: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", fail)
    with pytest.raises(OSError, match="No space"):
        payload.write(tmp_path / "1")
    assert not (tmp_path / "1").exists()
    assert (payload.read(), payload.n_disk_bytes) == (PARTS, 0)


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        Payload(b"x").write(tmp_path / "1")
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_lost_is_lost() -> None:
    payload = Payload(*PARTS)
    payload.lose()
    assert (payload.read(), payload.n_bytes, payload.n_disk_bytes) == (None, 0, 0)
