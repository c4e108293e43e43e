"""A slot as one file, `.npcsave`, to be sent around; and such a file as a slot again.

Owns the archive: a plain zip, its members stored as they are. It knows of a member's bytes what
`snapshot.decode` and `journal.examine` say. Players trade these files, so one may be made to do
harm.

Rules
 1. No name in an archive becomes a path: a member is called as `disk.escape` would name it, or
    the archive is refused. There are no folders and no links.
 2. Members are stored, not deflated: what comes out is never larger than what is there. The
    directory, the number of members and each size are checked before anything is read.
 3. Each member is decoded, and is of the character that it is named for, before any is placed.
 4. A journal goes with the snapshot that it belongs to, and is whole: an export leaves out what a
    load would, an import refuses it.
 5. Both ways are all or nothing.
"""

import os
import secrets
import stat
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from npc_engine.errors import SnapshotError
from npc_engine.storage.disk import escape, explain, read_file, sync_folder, unescape
from npc_engine.storage.journal.records import MAX_BYTES as MAX_JOURNAL_BYTES
from npc_engine.storage.journal.records import examine
from npc_engine.storage.slot_listing import JOURNAL, SUFFIX, Slot, read_slot
from npc_engine.storage.snapshot import MAX_FILE_BYTES, Snapshot, decode
from npc_engine.storage.store import Store

__all__ = ["export_slot", "import_slot"]

MAX_MEMBERS = 4096
MAX_DIRECTORY_BYTES = 1 << 20
MAX_BYTES = {SUFFIX: MAX_FILE_BYTES, JOURNAL: MAX_JOURNAL_BYTES}  # what may be in an archive

_END_64 = struct.Struct("<4sQ2H2I4Q")  # how a zip ends: these two where it is large, and the last
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_DATES = (315619200, 4354732800)  # from 1980 on, for some 120 years: a zip knows no others
_BAD = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error, OverflowError)
_REMAKE = "Export it again where it comes from."


def export_slot(root: Path, name: str, file: Path, replace: bool = False) -> int:
    """Write a slot as one new file, all or nothing; return its bytes.

    Raises UnknownSlot, and SnapshotError where a character cannot be loaded or `file` is there.
    """
    if os.path.lexists(file) and not replace:
        raise SnapshotError(f"{str(file)!r} is there already.", "Name another file, or --replace.")
    if not file.parent.is_dir():
        raise SnapshotError(f"There is no folder {str(file.parent)!r}.", "Make it first.")
    beside = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        read_slot(root, name, lambda slot: _pack(slot, beside))
        n_bytes = beside.stat().st_size
        beside.replace(file)
        sync_folder(file.parent)
    except OSError as e:
        raise explain(e, f"{str(file)!r} was not written") from e
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return n_bytes


def import_slot(
    store: Store, file: Path, name: str | None, replace: bool = False
) -> tuple[str, list[str]]:
    """Make a file a slot (default: of the file's name); return the slot and its characters.

    Raises SnapshotError for a file that is no such archive, and where the slot is there already.
    """
    slot = file.stem if name is None else name
    escape(slot)
    if slot in store.slots() and not replace:
        raise SnapshotError(
            f"There is a save {slot!r} already.", "Give --as another name, or --replace."
        )
    with _opened(file) as archive:
        members = _members(archive, file)
        files: dict[str, Callable[[], bytes]] = {
            info.filename: partial(_read, archive, info) for info in members
        }
        store.place(slot, files)
    return slot, sorted(filter(None, (_npc(info.filename, SUFFIX) for info in members)))


def _npc(file_name: str, suffix: str) -> str | None:
    """Return whose file this is by its name, None where it is none."""
    return unescape(file_name.removesuffix(suffix)) if file_name.endswith(suffix) else None


def _snapshot(file_name: str, data: bytes) -> Snapshot:
    """Return what is in a character's file (rule 3), but no payload; else raise SnapshotError."""
    try:
        snapshot = decode(data, b"")
        found = snapshot.header["npc"]
        if found != _npc(file_name, SUFFIX):
            name = escape(found) + SUFFIX
            raise SnapshotError(f"It holds {found!r}.", f"It should be called {name}.")
    except SnapshotError as e:
        raise SnapshotError(f"{file_name}: {e.message}", e.help) from None
    return snapshot


def _check_journal(file_name: str, snapshot: Snapshot, data: bytes) -> None:
    """Raise SnapshotError where this is not all of it a journal of that snapshot (rule 4)."""
    found = examine(snapshot, data)
    if found.problem is not None:
        raise SnapshotError(f"{file_name} is no journal of its save: {found.problem}.", _REMAKE)
    if found.n_torn:
        raise SnapshotError(f"{file_name} ends in {found.n_torn} bytes of no record.", _REMAKE)


def _pack(slot: Slot, path: Path) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(fd, "w+b") as f:
        with zipfile.ZipFile(f, "w", zipfile.ZIP_STORED) as archive:
            for character in slot.characters:
                _pack_one(archive, *character.files)
        f.flush()
        os.fsync(f.fileno())


def _pack_one(archive: zipfile.ZipFile, file: Path, *journals: Path) -> None:
    data = read_file(file, MAX_FILE_BYTES)
    snapshot = _snapshot(file.name, data)
    archive.writestr(_info(file), data)
    for journal in journals:
        whole = examine(snapshot, read_file(journal, MAX_JOURNAL_BYTES)).whole
        if whole:
            archive.writestr(_info(journal), whole)


def _info(file: Path) -> zipfile.ZipInfo:
    first, last = _DATES
    when = time.gmtime(min(max(file.stat().st_mtime, first), last))
    info = zipfile.ZipInfo(file.name, when[:6])
    info.external_attr = (stat.S_IFREG | 0o600) << 16
    return info


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    if file.exists() and not file.is_file():
        raise SnapshotError(f"{str(file)!r} is no file.", "Give a .npcsave file.")
    with ExitStack() as stack:
        try:
            f = stack.enter_context(file.open("rb"))
            with _blaming(file.name):
                n_members = _check_directory(f, file.name)
                archive = stack.enter_context(zipfile.ZipFile(f))
                if len(archive.infolist()) != n_members:
                    raise zipfile.BadZipFile(f"it has not the {n_members} files that it says")
        except OSError as e:
            raise explain(e, f"{str(file)!r} cannot be read") from e
        yield archive


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Make what zipfile says of a bad archive a SnapshotError."""
    try:
        yield
    except _BAD as e:
        raise SnapshotError(f"{name!r} is damaged: {e!s:.200}.", _REMAKE) from None


def _check_directory(f: IO[bytes], name: str) -> int:
    """Return how many members an archive says it has; its directory is small, and at the end.

    zipfile would build any, and mends what it can, so that a part would come of a damaged file.
    """
    size = f.seek(0, os.SEEK_END)
    long, short = _END_64.size + _LOCATOR.size + _END.size, _LOCATOR.size + _END.size
    f.seek(max(0, size - long))
    tail = f.read(long)
    magic, *_, n_members, n_bytes, at, n_comment = _END.unpack(tail[-_END.size :].rjust(_END.size))
    if magic != b"PK\5\6" or n_comment:
        raise SnapshotError(f"{name!r} is no .npcsave file, or it is cut short.", _REMAKE)
    end = size - _END.size
    if tail[-short:].startswith(b"PK\6\7") and len(tail) == long:
        end = size - long
        _, _, at_64, _ = _LOCATOR.unpack(tail[_END_64.size : -_END.size])
        *_, n_members, n_bytes, at = _END_64.unpack(tail[: _END_64.size])
        if at_64 != end:
            raise zipfile.BadZipFile("its end is elsewhere")
    if n_bytes > MAX_DIRECTORY_BYTES:
        raise SnapshotError(f"{name!r} has a directory of {n_bytes} bytes.", _REMAKE)
    if at + n_bytes != end:
        raise zipfile.BadZipFile("its directory is elsewhere")
    return int(n_members)


def _members(archive: zipfile.ZipFile, file: Path) -> list[zipfile.ZipInfo]:
    """Return the members, each checked by rules 1 and 2."""
    infos, name = archive.infolist(), file.name
    if not 0 < len(infos) <= MAX_MEMBERS:
        raise SnapshotError(f"{name!r} holds {len(infos)} files.", f"1 to {MAX_MEMBERS} are read.")
    if len({info.filename for info in infos}) < len(infos):
        raise SnapshotError(f"{name!r} holds a character twice.", _REMAKE)
    for info in infos:
        what = f"{name!r} holds {info.filename!r:.100}"
        suffix = Path(info.filename).suffix
        if suffix not in MAX_BYTES or _npc(info.filename, suffix) is None:
            raise SnapshotError(
                f"{what}, which is no name of a character's file.",
                "It was made by another program, or by a newer version.",
            )
        _check_member(info, what, MAX_BYTES[suffix])
    names = {info.filename for info in infos}
    for journal in sorted(name for name in names if name.endswith(JOURNAL)):
        if _snapshot_of(journal) not in names:
            raise SnapshotError(f"{name!r} holds {journal}, and not its save.", _REMAKE)
    if sum(info.file_size for info in infos) > file.stat().st_size:
        raise SnapshotError(f"{name!r} holds the same bytes more than once.", _REMAKE)
    return infos


def _snapshot_of(journal: str) -> str:
    return journal.removesuffix(JOURNAL) + SUFFIX


def _check_member(info: zipfile.ZipInfo, what: str, max_bytes: int) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise SnapshotError(f"{what} as a link or a folder.", _REMAKE)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise SnapshotError(f"{what} compressed.", _REMAKE)
    if info.file_size > max_bytes:
        raise SnapshotError(f"{what} of {info.file_size} bytes.", f"{max_bytes} are read.")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    data = _bytes(archive, info.filename)
    if info.filename.endswith(SUFFIX):
        _snapshot(info.filename, data)
    else:
        snapshot = _snapshot_of(info.filename)
        _check_journal(info.filename, _snapshot(snapshot, _bytes(archive, snapshot)), data)
    return data


def _bytes(archive: zipfile.ZipFile, file_name: str) -> bytes:
    with _blaming(file_name):
        return archive.read(file_name)
