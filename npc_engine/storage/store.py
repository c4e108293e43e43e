"""Save slots: folders of snapshots that are swapped in whole or not at all.

Owns the swap of the folders, their recovery, and the locks. What is in them is `slot_reader`'s to
say. It knows no threads but those that call it.

    saves/
      tavern/                a slot
        mara.npc  +bob.npc   one file for each character (Bob: a capital is + and its small letter)
        mara.journal         what happened to her since, appended bit by bit (see `journal`)
      tavern.bak/            the save before (then tavern.bak2, ...): `backups`
      .tavern.tmp-1f0c/      the next save of that slot, being written
      .tavern.old/           the last save of that slot, before it is tavern.bak
      .lock                  held by whoever writes: `locks`

Rules
 1. The new save is written beside the old one, files, folder and its name fsynced, before any
    rename.
 2. Then slot -> .old, .tmp -> slot, fsync; then .old -> .bak, those before it moving up. A failure
    of the first two is undone; one of the last is made up for by the next save or start.
 3. After an error the slot is what it was before, and nothing of the failed save remains.
 4. Links are not followed; no name leaves the saves folder.
 5. Nothing is changed without the lock, at a start neither. Reading takes none: where the slot is
    missing, .old is the slot.
 6. A backup never changes. Its files are linked, not copied; one that is to grow is copied then.

What a machine that stops leaves, and what the next start or save makes of it:

    slot    .old    .tmp    it stopped                       then
    there   -       there   before the first rename          .tmp goes
    -       there   there   between the first two renames    .old is the slot again, .tmp goes
    there   there   -       before .old was the backup       .old -> .bak (or before it was removed)
    there   -       -       after that; or amid the backups  (`backups`, rule 2)
    -       -       there   in the first save of a slot      .tmp goes

The last .tmp may be whole, and goes all the same: nobody was told that it is saved, and to know it
whole would take one more file, fsynced last, in every slot for ever.
"""

import contextlib
import errno
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from npc_engine.errors import NpcError, SnapshotError
from npc_engine.storage.backups import backup_name, discard, is_backup, rotate
from npc_engine.storage.disk import (
    TOGETHER,
    escape,
    explain,
    is_folder,
    link_or_copy_all,
    new_file,
    rename,
    sync_files,
    sync_folder,
)
from npc_engine.storage.journal.appending import Append, append_files
from npc_engine.storage.locks import FolderLock
from npc_engine.storage.slot_reader import (
    CUT_OFF,
    JOURNAL,
    REPLACED,
    SUFFIX,
    SlotReader,
    entries,
    leftovers,
    refuse_link,
    replaced,
    slot_of,
)
from npc_engine.storage.snapshot import Snapshot

__all__ = ["File", "Grown", "Store"]

log = logging.getLogger("npc_engine.storage.store")

File = bytes | Callable[[], bytes | Sequence[bytes | memoryview]]
"""A file's bytes, or what makes them when they are written (`writer` does so on its own thread)."""

Grown = tuple[str, int, bytes]
"""Whose journal grows, and what comes behind how many of its bytes."""

_NONE: Mapping[str, File] = {}
LOCK_WAIT_S = 2.0  # the engine before may still be closing


class Store:
    """The save slots under one folder; one program at a time may write there.

    `write` may run on one thread while `slots`, `npcs` and `read` are called on another. From the
    first `write` to `close` no other Store can write in that folder.
    """

    def __init__(
        self, root: Path, key: bytes, keep: int = 1, *, unkept: Collection[str] = ()
    ) -> None:
        """Use the folder `root`, made at the first save. Repairs what a crash left there.

        `keep`: how many backups of a slot there are after a save of it, at most. `unkept`: slots
        that are written so often that backups would be as new as they are; they get none.
        """
        self.root = root
        self._reader = SlotReader(root, key)
        self._keep = keep
        self._unkept = unkept
        self._is_undone = True
        self._is_swap_safe = True  # else a power cut may bring back a save that was undone
        self._lock = threading.Lock()  # held while a slot is read, and while one is swapped
        self._writes = FolderLock(root)
        self._unnamed: set[Path] = set()  # folders in which a journal's name may not be safe
        self._made: list[Path] = []  # folders that were made, and whose names may not be
        self._recover()

    def hold(self) -> None:
        """Keep others from writing in the folder, until `close`. Raises SnapshotError."""
        try:
            self._writes.acquire()
        except OSError as e:
            raise explain(e, f"The saves folder {self.root.name!r} cannot be written") from e

    def close(self) -> None:
        """Let others write in the folder. A further `write` takes it again."""
        self._writes.release()

    def slots(self) -> list[str]:
        """Return the names of the slots, sorted; raises SnapshotError."""
        with self._lock:
            return self._reader.slots()

    def npcs(self, slot: str) -> list[str]:
        """Return the names of the characters in a slot, sorted; raises as `read` does."""
        with self._lock:
            return sorted(self._reader.characters(slot))

    def peek(self, slot: str) -> set[str]:
        """Return who is in a slot, as far as can be said without waiting for a read or a swap."""
        try:
            return set(self._reader.characters(slot))
        except NpcError:  # whoever reads it says so
            return set()

    def sizes(self, slot: str) -> dict[str, int]:
        """Return name -> bytes of the characters in a slot; raises as `read` does."""
        with self._lock:
            there = self._reader.characters(slot)
            try:
                return {npc: path.lstat().st_size for npc, path in there.items()}
            except OSError as e:
                raise explain(e, f"The slot {slot!r} cannot be listed") from e

    def read(
        self, slot: str, npcs: Sequence[str] | None = None
    ) -> dict[str, Snapshot | SnapshotError]:
        """Return the named characters of a slot (default: all), or for each what is wrong with it.

        Raises UnknownSlot where there is no such slot, SnapshotError where it cannot be listed.
        """
        with self._lock:
            there = self._reader.characters(slot)
            wanted = sorted(there) if npcs is None else npcs
            return {npc: self._reader.read(slot, npc, there) for npc in wanted}

    def write(
        self,
        slot: str,
        files: Mapping[str, File],
        *,
        merge: bool,
        backup: bool = True,
        journals: Mapping[str, File] = _NONE,
    ) -> int:
        """Save characters (name -> file) as a slot, all or nothing; return the bytes written.

        With `merge`, the other characters of the slot are kept. Without `backup` its backups stay
        as they are, and the save before goes. `journals`: what of them is newer than their files.
        Raises SnapshotError (rule 3).
        """
        named = {escape(npc) + SUFFIX: file for npc, file in files.items()}
        named |= {escape(npc) + JOURNAL: file for npc, file in journals.items()}
        return self._write(slot, named, self.root / escape(slot) if merge else None, backup)

    def place(self, slot: str, files: Mapping[str, File]) -> int:
        """Replace a slot by files of these names, which the caller has checked; as `write`."""
        return self._write(slot, files, None)

    def copy(self, slot: str, to: str) -> None:
        """Make another slot what this one is; nothing where there is none. Raises SnapshotError."""
        source = self.root / escape(slot)
        try:
            there = is_folder(source)
        except OSError as e:
            raise explain(e, f"The slot {slot!r} was not copied") from e
        if there:
            self._write(to, {}, source)

    def append(self, slot: str, grown: Sequence[Grown]) -> list[OSError | None]:
        """Write behind the journals of characters, safe on the disk; say what each has failed with.

        Only where `write` is called, too. FileNotFoundError where there is no such slot, or less of
        a journal.
        """
        folder = self.root / escape(slot)
        try:
            if not is_folder(folder):
                raise FileNotFoundError(errno.ENOENT, f"there is no slot {slot!r}")
            if not self._is_swap_safe:
                sync_folder(self.root)
                self._is_swap_safe = True
        except OSError as e:
            return [e for _ in grown]
        journals = [(folder / (escape(npc) + JOURNAL), at, data) for npc, at, data in grown]
        return append_files([Append(*journal) for journal in journals], self._unnamed)

    def _write(
        self, slot: str, files: Mapping[str, File], others: Path | None, backup: bool = True
    ) -> int:
        """Write a slot of these files, and of the rest of the folder `others`."""
        target = self.root / escape(slot)
        if is_backup(slot):
            raise SnapshotError(
                f"{slot!r} is a name for a backup; nothing is saved into one.",
                "Use a name that does not end in .bak or .bak and a number.",
            )
        new = self.root / f".{target.name}.tmp-{secrets.token_hex(8)}"
        self._is_undone = True
        try:
            self._make_root()
            self._writes.acquire(LOCK_WAIT_S)
            with self._lock:
                self._put_back()
                self._refuse_links(slot)
            new.mkdir(mode=0o700)
            n_bytes = _fill(new, files)
            if others is not None and is_folder(others):
                _keep_others(others, new, files)
            sync_folder(new)
            # Its name, too: were that lost, and the swap's renames, but not what takes them back,
            # it would be the slot itself that is renamed to what the next start removes.
            sync_folder(self.root)
            with self._lock:
                self._swap(target, new)
        except OSError as e:
            raise explain(e, f"The slot {slot!r} was not saved") from e
        finally:
            if self._is_undone:  # else the next start removes it
                shutil.rmtree(new, ignore_errors=True)
        with self._lock:
            if backup:
                self._back_up(slot)
            else:
                self._discard_old(slot)
        return n_bytes

    def _n_kept(self, slot: str) -> int:
        return 0 if slot in self._unkept else self._keep

    def _make_root(self) -> None:
        for folder in (*reversed(self.root.parents), self.root):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                self._made.append(folder)
        while self._made:
            sync_folder(self._made[-1].parent)
            self._made.pop()

    def _refuse_links(self, slot: str) -> None:
        names = (backup_name(slot, n) for n in range(1, self._n_kept(slot) + 1))
        for name in (slot, *filter(None, names)):
            refuse_link(self.root / escape(name))

    def _swap(self, target: Path, new: Path) -> None:
        """Rename `new` to `target` (rule 2); the save before it is .old then."""
        old = replaced(target)
        if is_folder(old):  # of an earlier save; the slot is there, else it was put back
            rotate(self.root, slot_of(target), old, self._n_kept(slot_of(target)))
        had = is_folder(target)
        if had:
            rename(target, old)
        try:
            rename(new, target)
            sync_folder(self.root)
            self._is_swap_safe = True
        except OSError:
            with contextlib.suppress(OSError):
                rename(target, new)
            if had:
                with contextlib.suppress(OSError):
                    rename(old, target)
            # Undone on the disk, too, before the new save's files go: else what is left of them may
            # stand under the slot's name after a power cut.
            self._is_undone = self._is_swap_safe = False
            with contextlib.suppress(OSError):
                sync_folder(self.root)
                self._is_undone = self._is_swap_safe = True
            raise

    def _back_up(self, slot: str) -> None:
        """Make what was the slot its newest backup. What fails is not the new save's fault."""
        old = replaced(self.root / escape(slot))
        try:
            if is_folder(old):
                rotate(self.root, slot, old, self._n_kept(slot))
        except OSError as e:
            log.warning("%s", explain(e, f"The save before of {slot!r} is no backup yet"))

    def _discard_old(self, slot: str) -> None:
        """Remove what was the slot. What cannot be removed becomes a backup after all."""
        old = replaced(self.root / escape(slot))
        with contextlib.suppress(OSError):
            if is_folder(old):
                discard(old)

    def _recover(self) -> None:
        """Put back and clean up what a crash left; whatever cannot be mended now stays."""
        with contextlib.suppress(OSError, SnapshotError):  # the lock: it is not a crash's then
            if not any(leftovers(self.root, REPLACED)) and not any(leftovers(self.root, CUT_OFF)):
                return
            self._writes.acquire()
            self._put_back()
            for folder in leftovers(self.root, REPLACED):
                self._back_up(slot_of(folder))
            for folder in leftovers(self.root, CUT_OFF):
                shutil.rmtree(folder, ignore_errors=True)
        self._writes.release()

    def _put_back(self) -> None:
        """Move each .old whose slot is missing back to its place; raises OSError."""
        for old in leftovers(self.root, REPLACED):
            target = self.root / old.name[1:].removesuffix(".old")
            if not os.path.lexists(target):
                log.warning("The save %r was not replaced; the one before it is back.", target.name)
                rename(old, target)


def _fill(folder: Path, files: Mapping[str, File]) -> int:
    all_ = list(files.items())
    parts = (all_[first : first + TOGETHER] for first in range(0, len(all_), TOGETHER))
    return sum(_write_together(folder, part) for part in parts)


def _write_together(folder: Path, files: Iterable[tuple[str, File]]) -> int:
    n_bytes = 0
    fds: list[int] = []
    try:
        for name, file in files:
            data = file() if callable(file) else file
            parts = [data] if isinstance(data, bytes) else data
            fds.append(new_file(folder / name, parts))
            n_bytes += sum(map(len, parts))
    finally:
        sync_files(fds)
    return n_bytes


def _keep_others(source: Path, target: Path, written: Collection[str]) -> None:
    """Take over the files of those who are not written: no byte of them is copied (rule 6)."""
    theirs = {
        Path(name).with_suffix(suffix).name for name in written for suffix in (SUFFIX, JOURNAL)
    }
    others = (path for path in entries(source) if path.name not in theirs)
    link_or_copy_all(
        (path, target / path.name)
        for path in others
        if not path.name.startswith(".") and path.is_file() and not path.is_symlink()
    )
