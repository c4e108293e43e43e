"""Nothing is touched on the disk before the first save or load."""

from pathlib import Path

import pytest

from npc_engine.errors import SnapshotError
from npc_engine.saving import files as of_saving
from npc_engine.saving.files import Files
from npc_engine.storage.writer import WriterThread


def test_nothing_is_touched_before_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_saving, "installation_key", lambda: 1 / 0)
    root = tmp_path / "saves"
    files = Files(root, WriterThread(), keep=1)
    assert not (files.is_open or files.is_writing or files.finished())
    files.close(0.0, 3)
    assert not root.exists()


def test_all_parts_are_of_one_store(tmp_path: Path) -> None:
    files = Files(tmp_path, WriterThread(), keep=1)
    files.given_key = b"k" * 32
    assert files.key == files.given_key
    assert files.store is files.store
    assert not files.is_open, "it is only read"
    assert files.writer is files.writer
    assert files.journals is files.journals
    assert files.is_open


def test_a_key_that_cannot_be_had_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> bytes:
        raise SnapshotError("There is no key.")

    files = Files(tmp_path, WriterThread(), keep=1)
    monkeypatch.setattr(of_saving, "installation_key", none)
    with pytest.raises(SnapshotError):
        _ = files.store
    monkeypatch.setattr(of_saving, "installation_key", lambda: b"k" * 32)
    assert files.store is files.store
