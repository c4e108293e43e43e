"""What is listed of a saves folder, also while an engine writes there."""

import os
import shutil
from pathlib import Path

import pytest

from npc_engine.errors import SnapshotError, UnknownSlot
from npc_engine.storage import slot_listing
from npc_engine.storage.slot_listing import (
    character_files,
    files_of,
    find_slot,
    leftovers,
    look,
    slot_names,
    slot_of,
    steady,
    unfinished,
)
from tests.support.saved import saves_of_a_talk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return saves_of_a_talk(tmp_path / "saves")


def test_slots_with_their_backups(root: Path) -> None:
    found = {slot.name: slot for slot in look(root)}
    assert list(found) == ["cellar", "tavern", "tavern.bak"]
    assert found["tavern.bak"].origin == ("tavern", 1)
    assert [c.npc for c in found["tavern"].characters] == ["Bob", "mara"]
    files = list((root / "tavern").iterdir())
    assert found["tavern"].n_bytes == sum(f.stat().st_size for f in files) > 1000
    assert found["tavern"].saved >= found["tavern.bak"].saved > 1.7e9
    assert leftovers(root) == []


def test_what_is_no_slot(root: Path) -> None:
    before = [slot.name for slot in look(root)]
    (root / "Not Ours").mkdir()
    (root / "notes.txt").write_text("")
    if os.name == "posix":
        (root / "linked").symlink_to(root / "tavern")
    assert [slot.name for slot in look(root)] == before
    with pytest.raises(UnknownSlot, match="'linked'") as raised:
        find_slot(root, "linked")
    assert "cellar, tavern, tavern.bak" in raised.value.help
    with pytest.raises(SnapshotError, match="no folder"):
        look(root / "none")


def test_files_of_a_character(root: Path) -> None:
    journal = root / "tavern" / "mara.journal"
    journal.write_bytes(b"12345")
    (root / "tavern" / "eve.journal").write_bytes(b"")  # of nobody
    (root / "tavern" / "Copy of mara.npc").write_bytes(b"")
    mara = find_slot(root, "tavern").characters[1]
    assert mara.files == (root / "tavern" / "mara.npc", journal)
    assert mara.files == files_of(root / "tavern", "mara.npc")
    assert mara.n_bytes == sum(f.stat().st_size for f in mara.files)
    assert find_slot(root, "tavern").strangers == ("Copy of mara.npc", "eve.journal")


def test_what_a_crash_left(root: Path) -> None:
    (root / "cellar").rename(root / ".cellar.old")
    shutil.copytree(root / "tavern", root / ".tavern.old")
    shutil.copytree(root / "tavern", root / ".tavern.tmp-0f")
    assert [slot.name for slot in look(root)] == ["cellar", "tavern", "tavern.bak"]
    found = leftovers(root)
    assert [(left.label, left.slot, left.is_whole) for left in found] == [
        (".tavern.old", "tavern", True),
        (".tavern.tmp-0f", "tavern", False),
    ]
    assert found[0].n_bytes == find_slot(root, "tavern").n_bytes


def test_an_engine_and_who_looks_without_one_see_the_same(root: Path) -> None:
    (root / "cellar").rename(root / ".cellar.old")
    shutil.copytree(root / "tavern", root / ".tavern.tmp-0f")
    slots = look(root)
    assert slot_names(root) == sorted(slot.name for slot in slots)
    for slot in slots:
        files = character_files(root, slot.name)
        assert files == {c.npc: c.files[0] for c in slot.characters}
    assert [slot_of(path) for path in sorted(unfinished(root))] == ["cellar", "tavern"]
    with pytest.raises(UnknownSlot, match="'cave'"):
        character_files(root, "cave")
    assert (slot_names(root / "none"), unfinished(root / "none")) == ([], [])


def test_what_is_renamed_meanwhile_is_looked_up_again() -> None:
    n_calls = 0

    def vanishing() -> str:
        nonlocal n_calls
        n_calls += 1
        if n_calls < 4:
            raise FileNotFoundError("gone")
        return "there"

    assert steady(vanishing, "It fails") == "there"
    n_calls = -100
    with pytest.raises(SnapshotError, match="It fails: gone"):
        steady(vanishing, "It fails")
    with pytest.raises(SnapshotError, match="Permission"):
        steady(lambda: os.fspath(_denied()), "It fails")


def _denied() -> str:
    raise PermissionError(13, "Permission denied")


def test_a_slot_of_many_is_found_in_one_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tavern").mkdir()
    (tmp_path / "tavern" / "mara.npc").touch()
    listed: list[Path] = []

    def entries(folder: Path) -> list[Path]:
        listed.append(folder)
        return list(folder.iterdir())

    monkeypatch.setattr(slot_listing, "entries", entries)
    assert character_files(tmp_path, "tavern").keys() == {"mara"}
    assert listed == [tmp_path]
