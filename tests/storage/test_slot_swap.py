"""Folders renamed into a slot's place; what fails is undone, what a crash left is mended."""

import errno
from pathlib import Path

import pytest

from npc_engine.storage import slot_swap
from npc_engine.storage.disk import sync_folder
from npc_engine.storage.slot_swap import SlotSwap


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "mara.npc").write_text(text)
    return path


def there(root: Path) -> dict[str, str]:
    return {path.name: (path / "mara.npc").read_text() for path in sorted(root.iterdir())}


def test_a_swap_and_its_backup(tmp_path: Path) -> None:
    swap = SlotSwap(tmp_path, 1, ["autosave"])
    for slot in ("tavern", "autosave"):
        for n in range(3):
            new = folder(tmp_path / f".{slot}.tmp-{n}", f"{n}")
            swap.swap(tmp_path / slot, new)
            swap.back_up(slot)
    assert there(tmp_path) == {"autosave": "2", "tavern": "2", "tavern.bak": "1"}
    swap.swap(tmp_path / "tavern", folder(tmp_path / ".tavern.tmp-3", "3"))
    assert there(tmp_path)[".tavern.old"] == "2"
    swap.discard_old("tavern")
    assert there(tmp_path) == {"autosave": "2", "tavern": "3", "tavern.bak": "1"}


def test_a_swap_that_fails_is_undone_and_doubtful_until_the_disk_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_bad = 0

    def sync(of: Path) -> None:
        nonlocal n_bad
        n_bad -= 1
        if n_bad >= 0:
            raise OSError(errno.EIO, "I/O error")
        sync_folder(of)

    monkeypatch.setattr(slot_swap, "sync_folder", sync)
    swap = SlotSwap(tmp_path, 1, ())
    folder(tmp_path / "tavern", "old")
    new = folder(tmp_path / ".tavern.tmp-0", "new")
    before = there(tmp_path)
    for n_failures, doubtful in ((1, None), (2, new)):
        n_bad = n_failures
        with pytest.raises(OSError, match="I/O"):
            swap.swap(tmp_path / "tavern", new)
        assert there(tmp_path) == before
        assert swap.doubtful == doubtful
    swap.settle()
    assert swap.doubtful is None


def test_what_a_crash_left_is_mended(tmp_path: Path) -> None:
    swap = SlotSwap(tmp_path, 1, ())
    folder(tmp_path / ".cellar.old", "between the two renames")
    folder(tmp_path / ".cellar.tmp-0f", "not told of")
    folder(tmp_path / "tavern", "new")
    folder(tmp_path / ".tavern.old", "before")
    swap.mend()
    assert there(tmp_path) == {
        "cellar": "between the two renames",
        "tavern": "new",
        "tavern.bak": "before",
    }
