"""`npc-engine saves` on a folder as an engine leaves it."""

import io
import json
import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npc_engine.cli import commands as cli
from npc_engine.storage.snapshot import Snapshot
from npc_engine.storage.store import Store
from tests.support.saved import damage, journaled_talk, saves_of_a_talk

KEY = bytes(32)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return saves_of_a_talk(tmp_path / "saves")


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; gives status, stdout and stderr."""

    def run(what: str, *argv: str) -> tuple[int, str, str]:
        status = cli.main(["saves", what, "--saves", str(root), *argv])
        return status, *capsys.readouterr()

    return run


def slots(root: Path) -> list[str]:
    return Store(root, KEY).slots()


def state(root: Path) -> list[tuple[str, int, int]]:
    """All that is there, for tests that nothing has changed."""
    stats = [(p, p.lstat()) for p in sorted(root.rglob("*"))]
    return [(str(p), stat.st_mtime_ns, stat.st_ino) for p, stat in stats]


# list


def test_list(root: Path, run: Run) -> None:
    before = state(root)
    status, out, err = run("list")
    assert (status, err) == (0, "")
    rows = [row.split() for row in out.splitlines()]
    assert rows[0] == ["slot", "saved", "size", "characters"]
    assert [row[0] for row in rows[2:]] == ["cellar", "tavern", "tavern.bak"]
    assert rows[3][-3:] == ["2:", "Bob,", "mara"]
    assert state(root) == before


def test_list_as_json(root: Path, run: Run) -> None:
    (root / ".cellar.tmp-00").mkdir()
    found = json.loads(run("list", "--json")[1])
    cellar, tavern, backup = found["slots"]
    assert (cellar["slot"], cellar["backup_of"]) == ("cellar", None)
    assert (backup["slot"], backup["backup_of"]) == ("tavern.bak", "tavern")
    assert [c["npc"] for c in tavern["characters"]] == ["Bob", "mara"]
    assert tavern["n_bytes"] == sum(c["n_bytes"] for c in tavern["characters"])
    assert found["leftovers"] == [{"folder": ".cellar.tmp-00", "slot": "cellar", "n_bytes": 0}]
    assert ".cellar.tmp-00: 0 bytes of a save" in run("list")[1]


def test_no_saves(root: Path, run: Run, tmp_path: Path) -> None:
    shutil.rmtree(root)
    for what in ("list", "verify", "prune"):
        status, out, err = run(what)
        assert (status, out) == (2, "")
        assert "There is no folder" in err and "--saves" in err
    assert not root.exists()
    root.mkdir()
    assert run("list")[:2] == (0, "No saves yet.\n")
    assert run("verify")[0] == 0


# verify


def test_verify(root: Path, run: Run) -> None:
    before = state(root)
    status, out, err = run("verify")
    assert (status, err) == (0, "")
    assert out.endswith("5 files, 0 broken.\n")
    assert run("verify", "cellar")[1].endswith("1 file, 0 broken.\n")
    assert state(root) == before


def test_verify_says_what_is_broken(root: Path, run: Run) -> None:
    damage(root / "tavern" / "mara.npc")
    damage(root / "cellar" / "mara.npc", 100)
    (root / "tavern.bak" / "+bob.npc").rename(root / "tavern.bak" / "bob.npc")
    (root / "tavern.bak" / "Copy of mara.npc").write_bytes(b"")
    status, out, _ = run("verify")
    assert status == 1
    broken = [row.split()[0] for row in out.splitlines() if "BROKEN" in row]
    assert broken == ["cellar/mara.npc", "tavern/mara.npc", "tavern.bak/bob.npc"]
    assert "tavern.bak/Copy of mara.npc: not read by the engine." in out
    assert out.endswith("5 files, 3 broken.\n")
    status, out, _ = run("verify", "tavern", "--json")
    assert status == 1
    assert {r["file"].split("/")[-1]: r["whole"] for r in json.loads(out)} == {
        "+bob.npc": True,
        "mara.npc": False,
    }


def test_saves_of_another_installation_are_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPC_ENGINE_DATA_DIR", str(tmp_path / "nothing"))
    status, out, _ = run("verify")
    assert status == 0
    assert out.count("not of this installation") == 5
    assert not (tmp_path / "nothing").exists()  # looking makes no key


def test_a_journal_counts(root: Path, run: Run, tmp_path: Path) -> None:
    journal = journaled_talk(root) / "harbour" / "mara.journal"
    before = state(root)
    (harbour,) = (
        s for s in json.loads(run("list", "--json")[1])["slots"] if s["slot"] == "harbour"
    )
    assert harbour["not_read"] == []
    assert harbour["n_bytes"] == sum(p.stat().st_size for p in journal.parent.iterdir())
    status, out, _ = run("verify", "harbour")
    assert (status, out.splitlines()[-1]) == (0, "2 files, 0 broken.")
    (row,) = (row.split(maxsplit=2) for row in out.splitlines() if "mara.journal" in row)
    assert row[1] == "ok" and row[2].endswith("records, 2 turns since the save")
    (record,) = json.loads(run("verify", "harbour", "--json")[1])
    assert record["whole"] and record["journal"]["n_turns"] == 2
    assert f"{record['journal']['n_records']} records" in row[2]
    assert record["n_bytes"] == harbour["n_bytes"]
    assert state(root) == before


def test_verify_says_what_is_wrong_with_a_journal(root: Path, run: Run) -> None:
    journal = journaled_talk(root) / "harbour" / "mara.journal"
    whole = journal.read_bytes()
    for data, verdict, why in (
        (whole[:-1], "TORN", "bytes of no whole record"),
        (whole + b"\0" * 9, "TORN", "2 turns since the save; then 9 bytes of no whole record"),
        (b"hello", "BROKEN", "left out: it is no journal"),
        (whole[:9], "BROKEN", "left out: "),
    ):
        journal.write_bytes(data)
        status, out, _ = run("verify", "harbour")
        assert (status, out.splitlines()[-1]) == (1, "2 files, 1 broken.")
        rows = {row.split()[0]: row for row in out.splitlines() if "mara" in row}
        assert rows["harbour/mara.npc"].split()[1] == "ok"
        assert rows["harbour/mara.journal"].split()[1] == verdict
        assert why in rows["harbour/mara.journal"]
    journal.write_bytes(whole)
    shutil.copy(root / "tavern" / "mara.npc", journal.parent)  # the journal is of another save now
    out = run("verify", "harbour")[1]
    assert "left out: it belongs to another save" in out
    (journal.parent / "mara.npc").unlink()
    assert "harbour/mara.journal: not read by the engine." in run("verify", "harbour")[1]


def test_verify_an_unknown_slot(run: Run) -> None:
    status, out, err = run("verify", "tavern", "cave")
    assert (status, out) == (2, "")
    assert "'cave'" in err and "cellar, tavern" in err


# prune


def older(folder: Path, days: float) -> None:
    for path in (*folder.iterdir(), folder):
        when = path.stat().st_mtime - days * 86400
        os.utime(path, (when, when))


@pytest.fixture
def many(root: Path) -> Path:
    """Four backups of `tavern`, each ten days older than the one before."""
    for number in (2, 3, 4):
        shutil.copytree(root / "tavern.bak", root / f"tavern.bak{number}")
        older(root / f"tavern.bak{number}", 10 * number)
    return root


@pytest.mark.parametrize(
    ("argv", "left"),
    [
        ([], [1]),
        (["--keep", "3"], [1, 2, 3]),
        (["--keep", "0"], []),
        (["--keep", "9"], [1, 2, 3, 4]),
        (["--older-than", "25"], [1, 2]),
        (["--older-than", "25", "--keep", "3"], [1, 2, 3]),
        (["--older-than", "35", "--keep", "1"], [1, 2, 3]),
        (["--older-than", "0"], []),
    ],
)
def test_prune(many: Path, run: Run, argv: list[str], left: list[int]) -> None:
    before, gone = state(many), [n for n in (1, 2, 3, 4) if n not in left]
    names = [f"tavern.bak{n if n > 1 else ''}" for n in gone]
    status, out, _ = run("prune", "--dry-run", *argv)
    assert status == 0
    assert [row.split(",")[0] for row in out.splitlines()[:-1]] == [
        f"would remove {name}" for name in names
    ]
    assert state(many) == before
    status, out, _ = run("prune", *argv)
    assert status == 0
    assert [row.split(",")[0] for row in out.splitlines()[:-1]] == [
        f"removing {name}" for name in names
    ]
    kept = ["tavern" + (f".bak{n if n > 1 else ''}" if n else "") for n in (0, *left)]
    assert slots(many) == ["cellar", *kept]


class _Gone(io.RawIOBase):
    """A pipe that nobody reads any more."""

    is_read = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.is_read:
            raise BrokenPipeError
        return memoryview(data).nbytes


def test_prune_goes_on_where_nobody_reads(
    many: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(slots(many)) > 2
    gone = _Gone()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(gone), "utf-8"))
        status, _, err = run("prune", "--keep", "0")
        gone.is_read = True  # or Python complains where it is thrown away
        sys.stdout.flush()
    assert (status, err) == (1, "")
    assert slots(many) == ["cellar", "tavern"]


def test_the_newest_backup_of_a_lost_slot_stays(many: Path, run: Run) -> None:
    shutil.rmtree(many / "tavern")
    run("prune", "--keep", "0")
    assert slots(many) == ["cellar", "tavern.bak"]


def test_leftovers_go_and_what_is_whole_stays(root: Path, run: Run) -> None:
    (root / ".new.tmp-0f").mkdir()
    (root / ".new.tmp-0f" / "mara.npc").write_bytes(b"half")
    (root / "cellar").rename(root / ".cellar.old")
    shutil.copytree(root / "tavern", root / ".tavern.old")
    out = run("prune", "--dry-run", "--keep", "9")[1]
    assert out.startswith("would remove .new.tmp-0f, 4 bytes\n")
    assert (root / ".cellar.old").exists() and (root / ".tavern.old").exists()
    run("prune", "--keep", "9")
    assert slots(root) == ["cellar", "tavern", "tavern.bak", "tavern.bak2"]
    assert [p.name for p in root.iterdir() if p.name.startswith(".")] == [".lock"]


@pytest.mark.parametrize(
    "argv",
    [["--keep", "-1"], ["--keep", "x"], ["--keep", "100"], ["--older-than", "-1"]]
    + [["--older-than", value] for value in ("nan", "inf", "soon", "1e9")],
)
def test_wrong_counts(run: Run, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("prune", *argv)
    assert ended.value.code == 2
    assert repr(argv[1]) in capsys.readouterr().err


# Beside an engine


@pytest.mark.slow
def test_looking_while_an_engine_saves(
    root: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    data = (root / "cellar" / "mara.npc").read_bytes()
    store = Store(root, KEY)
    asked, saved = queue.SimpleQueue[bool](), threading.Semaphore(0)

    def save() -> None:
        while asked.get():
            store.write("tavern", {"mara": data}, merge=True)
            saved.release()

    def look_beside_a_save(*argv: str) -> tuple[int, str, str]:
        # One for each look: an engine saves no oftener, however slow the reader is.
        asked.put(True)
        found = run(*argv)
        assert saved.acquire(timeout=60)
        return found

    engine = threading.Thread(target=save)
    engine.start()
    try:
        for i in range(15):
            assert look_beside_a_save("verify", "tavern")[0] == 0
            _, out, _ = look_beside_a_save("list", "--json")
            assert {"cellar", "tavern"} <= {slot["slot"] for slot in json.loads(out)["slots"]}
            file = tmp_path / f"{i}.npcsave"
            assert look_beside_a_save("export", "tavern", str(file))[0] == 0
    finally:
        asked.put(False)
        engine.join(20)


def test_beside_an_engine(
    root: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npc_engine.storage.store.LOCK_WAIT_S", 0.0)
    file = tmp_path / "tavern.npcsave"
    engine = Store(root, KEY)
    engine.write("other", {}, merge=False)
    before = state(root)
    assert run("list")[0] == run("verify")[0] == run("prune", "--dry-run")[0] == 0
    assert run("export", "tavern", str(file))[0] == 0
    assert state(root) == before
    for argv in (["prune", "--keep", "0"], ["import", str(file), "--as", "new"]):
        status, out, err = run(*argv)
        assert (status, out) == (2, "")
        assert "Another program writes in the saves folder 'saves'" in err
    assert state(root) == before
    engine.close()
    assert run("import", str(file), "--as", "new")[0] == 0


# export and import


def test_export_and_import(root: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "friend.npcsave"
    assert run("export", "tavern", str(file))[1].startswith(f"tavern is in {file}, ")
    assert run("export", "tavern", str(file))[0] == 2
    assert run("export", "tavern", str(file), "--replace")[0] == 0
    assert run("import", str(file))[1] == "friend holds Bob, mara.\n"
    status, _, err = run("import", str(file), "--as", "tavern")
    assert status == 2 and "'tavern' already" in err and "--replace" in err
    assert run("import", str(file), "--as", "tavern", "--replace")[0] == 0
    assert slots(root) == ["cellar", "friend", "tavern", "tavern.bak", "tavern.bak2"]
    assert run("verify")[0] == 0
    status, _, err = run("import", str(root / "tavern" / "mara.npc"), "--as", "x")
    assert status == 2 and "no .npcsave file" in err


def test_a_journal_goes_along(root: Path, run: Run, tmp_path: Path) -> None:
    harbour = journaled_talk(root) / "harbour"
    file = tmp_path / "friend.npcsave"
    assert run("export", "harbour", str(file))[0] == 0
    assert run("import", str(file))[1] == "friend holds mara.\n"
    for name in ("mara.npc", "mara.journal"):
        assert (root / "friend" / name).read_bytes() == (harbour / name).read_bytes()
    found = Store(root, KEY).read("friend")["mara"]
    assert isinstance(found, Snapshot) and "from its journal" in str(found.journal)


def test_import_makes_the_folder(root: Path, run: Run, tmp_path: Path) -> None:
    run("export", "tavern", str(tmp_path / "a.npcsave"))
    shutil.rmtree(root)
    assert run("import", str(tmp_path / "a.npcsave"))[0] == 0
    assert slots(root) == ["a"]


@pytest.mark.parametrize("what", [[], ["list"], ["verify"], ["prune"], ["export"], ["import"]])
def test_help_teaches(what: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["saves", *what, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert ("examples:\n  npc-engine saves" in out) if not what else ("--saves DIR" in out)
