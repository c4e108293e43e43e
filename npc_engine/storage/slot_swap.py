"""A slot's next folder in the place of the last: renames that a machine may stop amid.

Owns their order, what undoes them, and what is made of the folders that a crash left. What is in
the folders, and who may write, is `store`'s to say.

Rules
 1. slot -> .old, .tmp -> slot, fsync; then .old -> .bak, those before it moving up.
 2. A failure of the first two is undone; one of the last is made up for by the next save or start.

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
import logging
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from npc_engine.storage.backups import backup_name, discard, rotate
from npc_engine.storage.disk import escape, explain, is_folder, rename, sync_folder
from npc_engine.storage.slot_listing import (
    refuse_link,
    replaced,
    slot_of,
    unfinished,
    was_replaced,
)

__all__ = ["SlotSwap"]

log = logging.getLogger("npc_engine.storage.slot_swap")


class SlotSwap:
    """The renames in a saves folder, for whoever holds its lock.

    `keep`: how many backups of a slot there are, at most; those of `unkept` have none. `doubtful`:
    the folder of a save that was undone, which a power cut may bring back.
    """

    def __init__(self, root: Path, keep: int, unkept: Collection[str]) -> None:
        self.doubtful: Path | None = None
        self._root = root
        self._keep = keep
        self._unkept = unkept

    def refuse_links(self, slot: str) -> None:
        """Raise SnapshotError where a slot or a backup of it is no folder; OSError."""
        names = (backup_name(slot, n) for n in range(1, self._n_kept(slot) + 1))
        for name in (slot, *filter(None, names)):
            refuse_link(self._root / escape(name))

    def swap(self, target: Path, new: Path) -> None:
        """Rename `new` to the slot's folder `target`; the save before it is .old then.

        Raises OSError; all is as it was then (rule 2).
        """
        old = replaced(target)
        if is_folder(old):  # of an earlier save; the slot is there, else it was put back
            rotate(self._root, slot_of(target), old, self._n_kept(slot_of(target)))
        had = is_folder(target)
        if had:
            rename(target, old)
        try:
            rename(new, target)
            sync_folder(self._root)
            self.doubtful = None
        except OSError:
            with contextlib.suppress(OSError):
                rename(target, new)
            if had:
                with contextlib.suppress(OSError):
                    rename(old, target)
            # Undone on the disk, too, before the new save's files go: else what is left of them may
            # stand under the slot's name after a power cut.
            self.doubtful = new
            with contextlib.suppress(OSError):
                self.settle()
            raise

    def settle(self) -> None:
        """Wait until it is on the disk that a swap was undone, where one was. Raises OSError."""
        if self.doubtful is not None:
            sync_folder(self._root)
            self.doubtful = None

    def back_up(self, slot: str) -> None:
        """Make what was the slot its newest backup. What fails is not the new save's fault."""
        old = replaced(self._root / escape(slot))
        try:
            if is_folder(old):
                rotate(self._root, slot, old, self._n_kept(slot))
        except OSError as e:
            log.warning("%s", explain(e, f"The save before of {slot!r} is no backup yet"))

    def discard_old(self, slot: str) -> None:
        """Remove what was the slot. What cannot be removed becomes a backup after all."""
        old = replaced(self._root / escape(slot))
        with contextlib.suppress(OSError):
            if is_folder(old):
                discard(old)

    def put_back(self) -> None:
        """Move each .old whose slot is missing back to its place; raises OSError."""
        for old in filter(was_replaced, unfinished(self._root)):
            target = self._root / escape(slot_of(old))
            if not os.path.lexists(target):
                log.warning("The save %r was not replaced; the one before it is back.", target.name)
                rename(old, target)

    def mend(self) -> None:
        """Make of what a crash left what the table above says. Raises OSError."""
        self.put_back()
        for old in filter(was_replaced, unfinished(self._root)):
            self.back_up(slot_of(old))
        for folder in unfinished(self._root):
            if not was_replaced(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _n_kept(self, slot: str) -> int:
        return 0 if slot in self._unkept else self._keep
