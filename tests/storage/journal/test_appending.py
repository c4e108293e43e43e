"""Files that grow together: each as safe as if alone, and further names of them notice nothing."""

import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from npc_engine.storage.journal.appending import Append, append_files
from tests.support.crashdisk import Disk
from tests.support.crashfs import CrashFs, Log, Trap, read_log
from tests.support.slot_files import append_file

OLD = b"1" * 700
NEW = b"2" * 900


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> bool:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "f").write_bytes(OLD)
    if request.param:
        os.link(tmp_path / "root" / "f", tmp_path / "root" / "backup")
    return bool(request.param)


def tree(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_a_further_name_keeps_what_it_has(shared: bool, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / ".f.new").write_bytes(b"what a crash has left")
    append_file(root / "f", 700, NEW)
    append_file(root / "f", 1000, b"3")
    found = tree(root)
    assert found.pop("f") == OLD + NEW[:300] + b"3"
    if shared:
        assert found == {"backup": OLD}


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_what_fails_changes_nothing(
    shared: bool, tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_keys: Any) -> None:
        raise OSError(errno.EIO, "bad disk")

    if call == "replace" and not shared:
        return  # nothing is replaced
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="bad disk"):
            append_file(tmp_path / "root" / "f", 700, NEW)
    assert set(tree(tmp_path / "root").values()) == {OLD}
    append_file(tmp_path / "root" / "f", 700, NEW)
    assert tree(tmp_path / "root")["f"] == OLD + NEW


def test_one_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / str(i) for i in range(40)]
    errors = append_files([Append(p, 9 if i == 7 else 0, b"x") for i, p in enumerate(paths)], set())
    assert [i for i, error in enumerate(errors) if error] == [7]
    assert isinstance(errors[7], FileNotFoundError)
    assert tree(tmp_path) == {str(i): b"x" for i in range(40) if i != 7}


def test_a_power_cut_at_any_call(shared: bool, tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "target"
    disk = Disk(root, random.Random(2))
    log = Log(tmp_path / "log")
    with pytest.MonkeyPatch.context() as patch:
        CrashFs(root, log, Trap(random.Random(1), log)).install(patch.setattr)
        append_file(root / "f", 700, NEW)
        log.put("done")
    is_done = False
    for record in read_log(tmp_path / "log"):
        if record.what == "done":
            is_done = True
        else:
            disk.play(record.what, record.args)
        for _ in range(20):
            target.mkdir()
            disk.cut(target)
            found = tree(target)
            shutil.rmtree(target)
            assert found["f"].startswith(OLD)
            assert not is_done or found["f"] == OLD + NEW
            assert not shared or found["backup"] == OLD
    assert is_done
