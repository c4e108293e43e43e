"""Save slots: folders of snapshots that are swapped in whole or not at all.

Owns the writing of a slot's next folder, and the locks; the swap is `slot_swap`'s. What is in the
folders is `slot_listing`'s to say. It knows no threads but those that call it.

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
 2. After an error the slot is what it was before, and nothing of the failed save remains.
 3. Links are not followed; no name leaves the saves folder.
 4. Nothing is changed without the lock, at a start neither. Reading takes none: where the slot is
    missing, .old is the slot.
 5. A backup never changes. Its files are linked, not copied; one that is to grow is copied then.
"""

import contextlib
import errno
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from npc_engine.errors import NpcError, SnapshotError
from npc_engine.storage.backups import is_backup
from npc_engine.storage.disk import (
    TOGETHER,
    escape,
    explain,
    is_folder,
    link_or_copy_all,
    new_file,
    sync_files,
    sync_folder,
)
from npc_engine.storage.journal.appending import Append, append_files
from npc_engine.storage.locks import FolderLock
from npc_engine.storage.slot_listing import (
    JOURNAL,
    SUFFIX,
    character_files,
    entries,
    slot_names,
    unfinished,
)
from npc_engine.storage.slot_reader import read_character
from npc_engine.storage.slot_swap import SlotSwap
from npc_engine.storage.snapshot import Snapshot

__all__ = ["File", "Grown", "Store"]

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
        self._key = key
        self._swap = SlotSwap(root, keep, unkept)
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
            return slot_names(self.root)

    def npcs(self, slot: str) -> list[str]:
        """Return the names of the characters in a slot, sorted; raises as `read` does."""
        with self._lock:
            return sorted(character_files(self.root, slot))

    def peek(self, slot: str) -> set[str]:
        """Return who is in a slot, as far as can be said without waiting for a read or a swap."""
        try:
            return set(character_files(self.root, slot))
        except NpcError:  # whoever reads it says so
            return set()

    def sizes(self, slot: str) -> dict[str, int]:
        """Return name -> bytes of the characters in a slot; raises as `read` does."""
        with self._lock:
            there = character_files(self.root, slot)
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
            there = character_files(self.root, slot)
            wanted = sorted(there) if npcs is None else npcs
            return {npc: read_character(slot, npc, there, self._key) for npc in wanted}

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
        Raises SnapshotError (rule 2).
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
            self._swap.settle()
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
        try:
            self._make_root()
            self._writes.acquire(LOCK_WAIT_S)
            with self._lock:
                self._swap.put_back()
                self._swap.refuse_links(slot)
            new.mkdir(mode=0o700)
            n_bytes = _fill(new, files)
            if others is not None and is_folder(others):
                _keep_others(others, new, files)
            sync_folder(new)
            # Its name, too: were that lost, and the swap's renames, but not what takes them back,
            # it would be the slot itself that is renamed to what the next start removes.
            sync_folder(self.root)
            with self._lock:
                self._swap.swap(target, new)
        except OSError as e:
            raise explain(e, f"The slot {slot!r} was not saved") from e
        finally:
            if self._swap.doubtful != new:  # else the next start removes it
                shutil.rmtree(new, ignore_errors=True)
        with self._lock:
            if backup:
                self._swap.back_up(slot)
            else:
                self._swap.discard_old(slot)
        return n_bytes

    def _make_root(self) -> None:
        for folder in (*reversed(self.root.parents), self.root):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                self._made.append(folder)
        while self._made:
            sync_folder(self._made[-1].parent)
            self._made.pop()

    def _recover(self) -> None:
        """Put back and clean up what a crash left; whatever cannot be mended now stays."""
        with contextlib.suppress(OSError, SnapshotError):  # the lock: it is not a crash's then
            if not unfinished(self.root):
                return
            self._writes.acquire()
            self._swap.mend()
        self._writes.release()


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
    """Take over the files of those who are not written: no byte of them is copied (rule 5)."""
    theirs = {
        Path(name).with_suffix(suffix).name for name in written for suffix in (SUFFIX, JOURNAL)
    }
    others = (path for path in entries(source) if path.name not in theirs)
    link_or_copy_all(
        (path, target / path.name)
        for path in others
        if not path.name.startswith(".") and path.is_file() and not path.is_symlink()
    )
