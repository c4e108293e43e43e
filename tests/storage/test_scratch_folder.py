"""A folder for this engine alone, gone at its end however that comes; no other's is touched."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from npc_engine.kvcache.payload import Payload
from npc_engine.storage import scratch_folder as scratch
from npc_engine.storage.scratch_folder import LOCK, PREFIX, ScratchFolder, remove_leftovers

TIMEOUT_S = 30.0
CHILD = """
import sys, time
from pathlib import Path
from npc_engine.storage.scratch_folder import ScratchFolder
s = ScratchFolder(Path(sys.argv[1]))
s.new_file().write_bytes(b"kv")
print(s.folder, flush=True)
if sys.argv[2] == "wait":
    sys.stdin.read()
"""


def child(under: Path, then: str) -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(under), then],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=TIMEOUT_S)


def test_a_folder_is_private_and_goes_with_all_it_holds(tmp_path: Path) -> None:
    mine, other = ScratchFolder(tmp_path), ScratchFolder(tmp_path)
    assert mine.folder != other.folder
    assert os.name == "nt" or stat.S_IMODE(mine.folder.stat().st_mode) == 0o700
    paths = [mine.new_file() for _ in range(3)]
    assert len(set(paths)) == 3 and {p.parent for p in paths} == {mine.folder}
    for path in paths[:2]:
        path.write_bytes(b"kv")
    mine.close()
    mine.close()
    assert list(tmp_path.iterdir()) == [other.folder]
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_by_a_crash_is_removed_and_what_runs_is_not(tmp_path: Path) -> None:
    mine = ScratchFolder(tmp_path)
    mine.new_file().write_bytes(b"kv")
    running, its = child(tmp_path, "wait")
    crashed, left = child(tmp_path, "wait")
    assert its.is_dir() and left.is_dir()
    try:
        assert remove_leftovers(tmp_path) == 0
        crashed.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        end(crashed)
        assert left.is_dir()
        assert remove_leftovers(tmp_path) == 1
        assert not left.exists()
        assert (its / "1").is_file() and (mine.folder / "1").is_file()
    finally:
        end(running)
    assert not its.exists(), "it removes its own at its end"
    mine.close()


def test_a_program_that_forgets_to_close_it_leaves_nothing(tmp_path: Path) -> None:
    process, folder = child(tmp_path, "end")
    end(process)
    assert process.returncode == 0
    assert not folder.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_takes_nothing_with_it(tmp_path: Path) -> None:
    mine = ScratchFolder(tmp_path)
    payload = Payload(b"kv")
    payload.write(mine.new_file())
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom npc_engine.kvcache.payload import Payload\n"
        "from npc_engine.storage.scratch_folder import ScratchFolder\n"
        "s = ScratchFolder(Path(sys.argv[1]))\n"
        "p = Payload(b'kv')\np.write(s.new_file())\nchild = os.fork()\n"
        "if child:\n    os.waitpid(child, 0)\n    assert p.read() == (b'kv',)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], timeout=TIMEOUT_S, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert payload.read() == (b"kv",)
    mine.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "1").write_bytes(b"x")
    (precious / LOCK).write_bytes(b"")
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    (tmp_path / f"{PREFIX}file").write_bytes(b"")
    assert remove_leftovers(tmp_path) == 0
    assert (precious / "1").is_file()
    assert (tmp_path / f"{PREFIX}file").is_file()
    assert remove_leftovers(tmp_path / "nowhere") == 0


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no users")
def test_another_users_folder_is_left_alone(tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / f"{PREFIX}other"
    folder.mkdir()
    uid = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: uid + 1)
    assert remove_leftovers(tmp_path) == 0
    assert folder.is_dir()


def test_one_that_was_removed_in_part_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / f"{PREFIX}old"
    folder.mkdir()
    (folder / "7").write_bytes(b"kv")
    assert remove_leftovers(tmp_path) == 1
    assert not folder.exists()


def test_one_that_was_just_made_may_be_taken_away_and_is_made_again(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """The next start of another engine comes between the folder and its lock."""
    make = tempfile.mkdtemp
    n = 0

    def made(**keys: Any) -> str:
        nonlocal n
        n += 1
        folder = str(make(**keys))
        if n < 3:
            assert remove_leftovers(tmp_path) == 0
            assert not Path(folder).exists()
        return folder

    monkeypatch.setattr("tempfile.mkdtemp", made)
    mine = ScratchFolder(tmp_path)
    assert n == 3
    assert (mine.folder / LOCK).is_file()
    mine.close()
    monkeypatch.setattr("tempfile.mkdtemp", lambda **keys: str(tmp_path / "never"))
    with pytest.raises(OSError, match="cannot be locked"):
        ScratchFolder(tmp_path)


def test_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # of conftest's own root
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert scratch.root() == tmp_path
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert os.access(scratch.root(), os.W_OK)


def test_a_reserve_stays_free(tmp_path: Path) -> None:
    mine = ScratchFolder(tmp_path)
    assert not mine.has_room(1 << 60)
    mine.close()
