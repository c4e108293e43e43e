"""Export and import are inverse; and no file, however made, does harm."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_engine.errors import SnapshotError, UnknownSlot
from npc_engine.storage import archive as save_archive
from npc_engine.storage.archive import export_slot, import_slot
from npc_engine.storage.disk import read_file
from npc_engine.storage.journal.records import MAX_BYTES, begin
from npc_engine.storage.snapshot import Snapshot, encode
from npc_engine.storage.store import Store
from tests.support.journal_files import BASE, HEADER, STATES, meaning, written

KEY = bytes(range(32))


def make(npc: str, text: str = "") -> bytes:
    return encode({"npc": npc}, {"text": text}, b"kv" * 100, KEY)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = Store(tmp_path / "saves", KEY)
    store.write("tavern", {n: make(n, f"of {n}") for n in ("mara", "Bob", "CON")}, merge=False)
    return tmp_path / "saves"


@pytest.fixture
def file(root: Path, tmp_path: Path) -> Path:
    export_slot(root, "tavern", tmp_path / "tavern.npcsave")
    return tmp_path / "tavern.npcsave"


def tree(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


def test_there_and_back(root: Path, file: Path) -> None:
    store = Store(root, KEY)
    assert import_slot(store, file, "Copy") == ("Copy", ["Bob", "CON", "mara"])
    before, after = tree(root / "tavern"), tree(root / "+copy")
    assert before == after and len(after) == 3
    assert all(isinstance(s, Snapshot) and s.trusted for s in store.read("Copy").values())
    other = Store(root.parent / "other", KEY)
    assert import_slot(other, file, None)[0] == "tavern"


JOURNALED = encode(HEADER, STATES[0], b"kv", KEY)  # `written` goes on from it


@pytest.mark.parametrize("torn", [b"", b"torn"])
def test_of_a_journal_what_is_whole_goes_along(root: Path, tmp_path: Path, torn: bytes) -> None:
    (root / "tavern" / "mara.npc").write_bytes(JOURNALED)
    (root / "tavern" / "mara.journal").write_bytes(written()[0] + torn)
    (root / "tavern" / "+bob.journal").write_bytes(begin("Bob", BASE)[0])  # of another save
    (root / "tavern" / "+c+o+n.journal").write_bytes(b"")
    export_slot(root, "tavern", tmp_path / "x.npcsave")
    with Closed(root) as store:
        assert import_slot(store, tmp_path / "x.npcsave", "new")[1] == ["Bob", "CON", "mara"]
        found = store.read("new")["mara"]
    assert isinstance(found, Snapshot) and meaning(found.state) == meaning(STATES[-1])
    new = tree(root / "new")
    assert sorted(new) == ["+bob.npc", "+c+o+n.npc", "mara.journal", "mara.npc"]
    assert new["mara.journal"] == written()[0]


def test_a_journal_that_cannot_be_read_is_not_left_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "tavern" / "mara.journal").write_bytes(written()[0])

    def read(path: Path, most: int) -> bytes:
        if path.suffix == ".journal":
            raise PermissionError(13, "Permission denied")
        return read_file(path, most)

    monkeypatch.setattr(save_archive, "read_file", read)
    with pytest.raises(SnapshotError, match="Permission denied"):
        export_slot(root, "tavern", tmp_path / "x.npcsave")
    assert [p.name for p in tmp_path.iterdir()] == ["saves"]


def test_it_is_a_plain_zip(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["+bob.npc", "+c+o+n.npc", "mara.npc"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_is_overwritten_unasked(root: Path, file: Path) -> None:
    store, data = Store(root, KEY), file.read_bytes()
    with pytest.raises(SnapshotError, match="there already"):
        export_slot(root, "tavern", file)
    with pytest.raises(SnapshotError, match="a save 'tavern' already"):
        import_slot(store, file, None)
    assert file.read_bytes() == data
    store.write("tavern", {"mara": make("mara", "later")}, merge=False)
    export_slot(root, "tavern", file, replace=True)
    assert file.read_bytes() != data
    file.write_bytes(data)
    import_slot(store, file, None, replace=True)
    assert store.npcs("tavern") == ["Bob", "CON", "mara"]
    assert store.npcs("tavern.bak") == ["mara"]


def test_what_cannot_be_exported(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownSlot):
        export_slot(root, "cave", tmp_path / "x.npcsave")
    with pytest.raises(SnapshotError, match="no folder"):
        export_slot(root, "tavern", tmp_path / "none" / "x.npcsave")
    (root / "tavern" / "mara.npc").write_bytes(make("mara")[:30])
    with pytest.raises(SnapshotError, match=r"tavern/mara\.npc|mara\.npc: "):
        export_slot(root, "tavern", tmp_path / "x.npcsave")
    assert [p.name for p in tmp_path.iterdir()] == ["saves"]


def test_a_slot_that_is_replaced_meanwhile_is_exported_whole(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root, KEY)
    new = {n: make(n, "new") for n in ("mara", "Bob")}
    left = [lambda: store.write("tavern", new, merge=False)]

    def read(path: Path, most: int) -> bytes:
        data = read_file(path, most)
        if left:
            left.pop()()
        return data

    monkeypatch.setattr(save_archive, "read_file", read)
    export_slot(root, "tavern", tmp_path / "x.npcsave")
    with zipfile.ZipFile(tmp_path / "x.npcsave") as archive:
        assert {n: archive.read(n) for n in archive.namelist()} == {
            "mara.npc": new["mara"],
            "+bob.npc": new["Bob"],
        }


# Hostile archives

Make = Callable[[zipfile.ZipFile], Any]
LINK = zipfile.ZipInfo("mara.npc")
LINK.external_attr = 0o120777 << 16
PIPE = zipfile.ZipInfo("mara.npc")
PIPE.external_attr = 0o010600 << 16


def put(name: str, data: bytes | None = None, **keys: Any) -> Make:
    return lambda archive: archive.writestr(name, make("mara") if data is None else data, **keys)


def journal(data: bytes, name: str = "mara.journal", beside: bytes | None = JOURNALED) -> Make:
    """A journal, written before the snapshot that it belongs to."""

    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr(name, data)
        if beside is not None:
            archive.writestr("mara.npc", beside)

    return fill


BAD: dict[str, tuple[Make, str]] = {
    "up": (put("../mara.npc"), "no name of a character"),
    "far up": (put("../../../../tmp/mara.npc"), "no name of a character"),
    "absolute": (put("/mara.npc"), "no name of a character"),
    "folder": (put("tavern/mara.npc"), "no name of a character"),
    "backslash": (put("..\\mara.npc"), "no name of a character"),
    "drive": (put("c:mara.npc"), "no name of a character"),
    "stream": (put("mara.npc:x.npc"), "no name of a character"),
    "device": (put("con.npc"), "no name of a character"),
    "device of a slot": (put("aux.mara.npc"), "no name of a character"),
    "capital": (put("Mara.npc"), "no name of a character"),
    "capital suffix": (put("mara.NPC"), "no name of a character"),
    "look-alike": (put("m\u0430ra.npc"), "no name of a character"),
    "wide dot": (put("mara\uff0enpc"), "no name of a character"),
    "right to left": (put("\u202emara.npc"), "no name of a character"),
    "hidden": (put(".npc"), "no name of a character"),
    "last dot": (put("mara..npc"), "no name of a character"),
    "long": (put("x" * 65 + ".npc"), "no name of a character"),
    "other file": (put("readme.txt"), "no name of a character"),
    "empty folder": (lambda archive: archive.mkdir("mara.npc"), "no name of a character"),
    "link": (lambda archive: archive.writestr(LINK, "/etc/passwd"), "link"),
    "pipe": (lambda archive: archive.writestr(PIPE, make("mara")), "link or a folder"),
    "deflated": (put("mara.npc", compress_type=zipfile.ZIP_DEFLATED), "compressed"),
    "lzma": (put("mara.npc", compress_type=zipfile.ZIP_LZMA), "compressed"),
    "nobody": (lambda archive: None, "0 files"),
    "another's": (put("eve.npc"), "holds 'mara'"),
    "no save": (put("mara.npc", b"hello"), "no NPC Engine save"),
    "cut short": (put("mara.npc", make("mara")[:60]), "damaged|cut short"),
    "empty": (put("mara.npc", b""), "no NPC Engine save"),
    "journal alone": (journal(written()[0], beside=None), "and not its save"),
    "journal of another": (journal(written()[0], "+bob.journal"), "belongs to another save"),
    "journal of before": (journal(written()[0], beside=make("mara")), "belongs to another save"),
    "torn journal": (journal(written()[0][:-1]), "bytes of no record"),
    "journal with more behind": (journal(written()[0] + b"\0"), "ends in 1 bytes of no record"),
    "no journal": (journal(b"hello"), "is no journal"),
    "long journal": (journal(bytes(MAX_BYTES + 1)), f"of {MAX_BYTES + 1} bytes"),
    "journal of a broken save": (journal(written()[0], beside=JOURNALED[:60]), "damaged|cut short"),
    "journal up": (journal(written()[0], "../mara.journal"), "no name of a character"),
    "journal of a capital": (journal(written()[0], "Mara.journal"), "no name of a character"),
}


def refused(root: Path, file: Path, match: str) -> None:
    before, outside = tree(root), sorted(root.parent.iterdir())
    with Closed(root) as store, pytest.raises(SnapshotError, match=match) as raised:
        import_slot(store, file, "new")
    assert raised.value.help
    (root / ".lock").unlink(missing_ok=True)
    before.pop(".lock", None)
    assert tree(root) == before and sorted(root.parent.iterdir()) == outside


class Closed:
    """A store that lets go of its lock at the end of a `with`."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root, KEY)

    def __enter__(self) -> Store:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_refused(kind: str, root: Path, tmp_path: Path) -> None:
    fill, match = BAD[kind]
    with zipfile.ZipFile(tmp_path / "bad.npcsave", "w") as archive:
        archive.writestr("+bob.npc", make("Bob")) if kind != "nobody" else None
        fill(archive)
    refused(root, tmp_path / "bad.npcsave", match)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_character_twice(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.npcsave", "w") as archive:
        archive.writestr("mara.npc", make("mara"))
        archive.writestr("mara.npc", make("mara", "other"))
    refused(root, tmp_path / "bad.npcsave", "twice")


def test_many_members_and_a_large_directory(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.npcsave"
    with zipfile.ZipFile(bad, "w") as archive:
        for i in range(20):
            archive.writestr(f"n{i}.npc", make(f"n{i}"))
    monkeypatch.setattr(save_archive, "MAX_MEMBERS", 19)
    refused(root, bad, "20 files")
    monkeypatch.setattr(save_archive, "MAX_DIRECTORY_BYTES", 900)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # it is not even opened
    refused(root, bad, "directory of")


def test_a_large_directory_in_a_large_zip(root: Path, tmp_path: Path) -> None:
    """The sizes of a zip beyond 4 GiB are in a record of its own; so is the check."""
    at = 100
    lies = ((1 << 40, at, "directory of"), (46, at + 1, "its end is"), (46, at, "its directory is"))
    for n_bytes, place, match in lies:
        end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, n_bytes, 0)
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, place, 1)
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 0xFFFFFFFF & n_bytes, 0xFFFFFFFF, 0)
        (tmp_path / "bad.npcsave").write_bytes(bytes(at) + end64 + locator + end)
        refused(root, tmp_path / "bad.npcsave", match)


def test_sizes_that_lie(root: Path, file: Path, tmp_path: Path) -> None:
    """Members that overlap hold more than there is; a huge one is not even tried."""
    data = bytearray(file.read_bytes())
    entries = [i for i in range(len(data)) if data[i : i + 4] == b"PK\1\2"]
    assert len(entries) == 3
    for size, match in ((len(data) - 10, "more than once"), (0xFFFFFFF0, "more than once")):
        for at in entries:
            struct.pack_into("<II", data, at + 20, size, size)
        (tmp_path / "bad.npcsave").write_bytes(data)
        refused(root, tmp_path / "bad.npcsave", match)


@pytest.mark.parametrize("slot", ["..", "a/b", "con ", "m\u0430ra", "", "x.bak", "x.bak2", ".x"])
def test_a_slot_that_is_no_name(slot: str, root: Path, file: Path) -> None:
    before = tree(root)
    with pytest.raises(SnapshotError), Closed(root) as store:
        import_slot(store, file, slot)
    assert {k: v for k, v in tree(root).items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_what_is_no_file(root: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npcsave")
    for name in ("pipe.npcsave", ".", "none.npcsave"):
        with pytest.raises(SnapshotError), Closed(root) as store:
            import_slot(store, tmp_path / name, "new")


@settings(max_examples=80)
@given(data=st.data())
def test_any_bytes_are_a_slot_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    good = folder / "good.npcsave"
    if not good.exists():
        Store(folder / "saves", KEY).write("a", {n: make(n) for n in ("a", "b")}, merge=False)
        export_slot(folder / "saves", "a", good)
    pristine = good.read_bytes()
    bad = bytearray(pristine)
    for _ in range(data.draw(st.integers(1, 3))):
        # Mostly in the directory, at the end.
        at = data.draw(st.integers(0, len(bad) - 1) | st.integers(len(bad) - 150, len(bad) - 1))
        bad[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(bad)) | st.just(len(bad)))
    (folder / "bad.npcsave").write_bytes(bad[:cut])
    with Closed(folder / "to") as store:
        try:
            slot, npcs = import_slot(store, folder / "bad.npcsave", "s", replace=True)
        except SnapshotError:
            return
        found = store.read(slot)
        assert set(found) == set(npcs) == {"a", "b"}
        assert all(isinstance(s, Snapshot) for s in found.values())


def test_a_large_zip_comes_back(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one beyond 4 GiB, whose end is in a record of its own."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 500)
    export_slot(root, "tavern", tmp_path / "large.npcsave")
    assert b"PK\6\6" in (tmp_path / "large.npcsave").read_bytes()[-98:]
    with Closed(root) as store:
        assert import_slot(store, tmp_path / "large.npcsave", "new")[1] == ["Bob", "CON", "mara"]


def test_import_is_all_or_nothing_on_a_full_disk(
    root: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, n_calls = os.write, 0

    def full(fd: int, data: Any) -> int:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    with Closed(root) as store, pytest.raises(SnapshotError, match="No space left"):
        import_slot(store, file, "new")
    assert [p.name for p in root.iterdir() if p.is_dir()] == ["tavern"]
