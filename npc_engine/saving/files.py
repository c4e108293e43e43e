"""The disk, as all of saving has it: one key, one store, one writing thread, one set of journals.

Owns that nothing is touched on the disk before the first save or load. It knows no character.
"""

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

from npc_engine.storage.journal.files import Journals
from npc_engine.storage.signing_key import installation_key
from npc_engine.storage.store import Store
from npc_engine.storage.writer import Result, Writer, WriterThread

__all__ = ["Files"]

FILE_S = 0.005  # what a close grants the disk for each file that is still to be written


class Files:
    """The saves folder `root`, once somebody asks for it. `thread` writes; `keep`: see `Store`."""

    def __init__(
        self, root: Path, thread: WriterThread, keep: int, unkept: Collection[str] = ()
    ) -> None:
        self.thread = thread
        self.given_key: bytes | None = None  # in the place of the installation's
        self._root = root
        self._keep = keep
        self._unkept = unkept

    @cached_property
    def key(self) -> bytes:
        """What signs a save. Raises NpcError where there can be none."""
        return self.given_key or installation_key()

    @cached_property
    def store(self) -> Store:
        """The slots."""
        return Store(self._root, self.key, self._keep, unkept=self._unkept)

    @cached_property
    def writer(self) -> Writer:
        """Where saves go."""
        return Writer(self.store, self.thread)

    @cached_property
    def journals(self) -> Journals:
        """Where journals grow."""
        return Journals(self.store)

    @property
    def is_open(self) -> bool:
        """Whether anything has been written."""
        return "writer" in vars(self)

    @property
    def is_writing(self) -> bool:
        """Whether there are saves of which `finished` has not told yet."""
        return self.is_open and self.writer.n_pending > 0

    def finished(self) -> list[tuple[Any, Result]]:
        """Return what `Writer.finished` does."""
        return self.writer.finished() if self.is_open else []

    def close(self, timeout: float, n_files: int) -> None:
        """Finish what is being written, in `timeout` and FILE_S for each of so many files."""
        if self.is_open and self.writer.close(timeout + FILE_S * n_files):
            self.store.close()
