"""Names that no file system confuses, and files that are whole or not there."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.errors import SnapshotError
from npc_engine.storage import disk as durable
from npc_engine.storage.disk import (
    escape,
    explain,
    link_or_copy_all,
    read_file,
    rename,
    sync_folder,
    unescape,
    write_file,
)
from tests.support.slot_files import append_file

names = st.from_regex(r"\A[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\Z") | st.sampled_from(
    [
        "con",
        "CON",
        "Con",
        "aux.npc",
        "nul.",
        "com1",
        "COM9.x",
        "lpt0",
        "prn",
        "console",
        "a.",
        "a..",
    ]
)
# The second way of saying that a name is a device, from the list of names that Windows keeps.
DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in range(10)
}


@given(names)
def test_a_name_is_safe_on_any_file_system(name: str) -> None:
    text = escape(name)
    assert unescape(text) == name
    assert text == text.casefold()
    assert text.split(".")[0] not in DEVICES
    assert not text.startswith(".") and not text.endswith((".", " "))
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.+")
    assert len(f".{text}.tmp-0123456789abcdef".encode()) < 255


@given(names, names)
def test_no_two_names_meet(a: str, b: str) -> None:
    assert (escape(a).casefold() == escape(b).casefold()) == (a == b)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mara", "mara"),
        ("Mara", "+mara"),
        ("MARA", "+m+a+r+a"),
        ("aux", "+_aux"),
        ("Aux", "+aux"),
        ("con.1", "+_con.1"),
        ("concord", "concord"),
        ("v1.", "v1+0"),
    ],
)
def test_escapes_are_for_ever(name: str, text: str) -> None:
    assert (escape(name), unescape(text)) == (text, name)


BAD = ["", ".", "..", ".a", "a/b", "a\\b", "a\0", "a\n", "a b", "a+", "x" * 65, "m\u0430ra", "C:a"]


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(SnapshotError) as raised:
        escape(name)
    assert raised.value.help
    assert unescape(name) is None


@given(st.text(max_size=8) | st.from_regex(r"\A[+_.a-zA-Z0]{1,6}\Z"))
def test_only_an_escape_is_unescaped(text: str) -> None:
    name = unescape(text)
    assert name is None or escape(name) == text


def test_a_file_is_new_and_private(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, b"abc" * 500, memoryview(b"abc" * 499), b"", b"abc")
    assert read_file(path, 3000) == b"abc" * 1000
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_file(path, b"")


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    write_file(tmp_path / "a", bytes(range(100)))
    assert (tmp_path / "a").read_bytes() == bytes(range(100))


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(11))
    with pytest.raises(SnapshotError, match="11 bytes"):
        read_file(tmp_path / "a", 10)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    for trap in ("link", "pipe", "."):
        with pytest.raises((SnapshotError, OSError)):
            read_file(tmp_path / trap, 100)


@pytest.mark.parametrize("has_links", [True, False])
def test_link_or_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    write_file(tmp_path / "a", b"abc")
    if not has_links:
        monkeypatch.setattr(os, "link", failing(OSError(errno.EPERM, "no links here")))
    link_or_copy_all([(tmp_path / "a", tmp_path / "b")])
    (tmp_path / "a").unlink()
    assert read_file(tmp_path / "b", 3) == b"abc"


def failing(error: OSError) -> Any:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    return fail


def test_a_rename_waits_for_the_virus_scanner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, n_calls = os.rename, 0

    def busy_twice(source: Any, target: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls < 3:
            raise PermissionError(errno.EACCES, "in use")
        real(source, target)

    write_file(tmp_path / "a", b"")
    monkeypatch.setattr(os, "rename", busy_twice)
    monkeypatch.setattr(durable, "_PAUSES", (0, 0))
    rename(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").exists()


@pytest.mark.skipif(os.name == "nt", reason="folders are not synced there")
def test_a_disk_that_cannot_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(OSError(errno.EINVAL, "cannot")))
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", failing(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        sync_folder(tmp_path)


@pytest.mark.parametrize(
    ("error", "help_has"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (PermissionError(errno.EACCES, "Permission denied"), "permissions"),
        (OSError(errno.EROFS, "Read-only file system"), "another folder"),
        (OSError(errno.EIO, "Input/output error"), "Check the disk"),
        (OSError("odd"), "Check the disk"),
    ],
)
def test_errors_say_what_to_do(error: OSError, help_has: str) -> None:
    found = explain(error, "The slot 'a' was not saved")
    assert found.message.startswith("The slot 'a' was not saved: ")
    assert help_has in found.help


# Appending


def test_append_makes_and_continues_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    append_file(path, 0, b"one")
    append_file(path, 3, b"two")
    assert path.read_bytes() == b"onetwo"
    append_file(path, 4, b"!")  # what stood there was not whole
    assert path.read_bytes() == b"onet!"
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("n_written", [0, 1, 3])
def test_a_failed_append_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"whole")
    real, left = os.write, [n_written]

    def write(fd: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "full")
        left[0] -= 1
        return real(fd, data[:1])

    monkeypatch.setattr("os.write", write)
    with pytest.raises(OSError, match="full"):
        append_file(path, 5, b"more")
    assert path.read_bytes() == b"whole"


def test_append_needs_what_it_goes_on_from(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with pytest.raises(FileNotFoundError):
        append_file(path, 1, b"x")
    assert not path.exists()
    path.write_bytes(b"12")
    with pytest.raises(FileNotFoundError):
        append_file(path, 3, b"x")
    assert path.read_bytes() == b"12"
