"""Where the copies of parked characters are: in memory up to a budget, beyond it on disk.

Owns the budget and the order in which copies go to disk. Files are written by the one writer's
thread. It knows no slots and no characters, and no copy is so precious that a failure of the disk
would matter: what is lost is read again from its tokens.

Rules
 1. What is parked, and what residents keep beside their slots (`n_kept`), is at most `budget`.
    Beyond that the copy that was parked first goes to disk: that of the least recently used.
 2. A copy stays in memory until it is written. While more than `MOST_WAITING` would wait for a slow
    disk, the next one is given up. (What a load brings at once may be more: it is in memory
    already.)
 3. A copy that cannot be written stays in memory when it fits the budget; else it is given up.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from npc_engine.kvcache.payload import Payload
from npc_engine.storage.scratch_folder import ScratchFolder

__all__ = ["Parking", "auto_budget"]

log = logging.getLogger("npc_engine")

AUTO_SHARE = 0.25  # of the memory that is free when the engine starts
AUTO_MOST = 2 << 30
MOST_WAITING = 256 << 20  # bytes

Job = Callable[[], None]


def auto_budget() -> int:
    """Return how many bytes may be parked in memory: a quarter of what is free, at most 2 GiB."""
    import psutil  # not before it is needed: `import npc_engine` is to be quick

    return min(int(psutil.virtual_memory().available * AUTO_SHARE), AUTO_MOST)


class Parking:
    """Keeps parked copies. `budget`: bytes; `run` does a job on another thread, in order.

    Without `run` jobs are done at once. `under`: where its folder is made, when it needs one.
    """

    def __init__(
        self, budget: int, run: Callable[[Job], None] | None = None, under: Path | None = None
    ) -> None:
        self.budget = budget
        self._most_waiting = MOST_WAITING
        self._run = run or _do
        self._under = under
        self._scratch: ScratchFolder | None = None
        self._in_memory: dict[int, Payload] = {}  # by id, in the order in which they were parked
        self._writing: list[Payload] = []
        self._n_bytes = 0  # of those in memory
        self._is_ailing = self._is_stopped = False

    @property
    def n_writing_bytes(self) -> int:
        """Bytes that wait to be written, and are in memory as long."""
        return sum(copy.n_bytes for copy in self._writing)

    def keep(self, copy: Payload, *, is_loaded: bool = False) -> None:
        """Take in a copy that was parked just now, or has come out of a save."""
        self._in_memory[id(copy)] = copy
        self._n_bytes += copy.size
        copy.on_release = self._forget
        if is_loaded:
            self._most_waiting = max(self._most_waiting, self._n_bytes + self.n_writing_bytes)

    def has_ample_room(self, n_bytes: int) -> bool:
        """Whether so many more would leave half of the budget to what has to be parked."""
        return n_bytes * 2 <= self.ample_room

    @property
    def ample_room(self) -> int:
        """Twice the bytes that would leave half of the budget to what has to be parked."""
        return self.budget - 2 * self._n_bytes

    def trim(self, n_kept: int = 0) -> None:
        """Send copies to disk until the budget holds. `n_kept`: bytes that residents keep."""
        if self._writing:
            self._look_after_writing(n_kept)
        while self._in_memory and self._n_bytes + n_kept > self.budget and not self._is_stopped:
            copy = next(iter(self._in_memory.values()))
            n_waiting = self.n_writing_bytes
            self._forget(copy)
            if n_waiting and n_waiting + copy.size > self._most_waiting:
                self._give_up(copy, "the disk is too slow")
            else:
                self._writing.append(copy)
                self._run(partial(self._write, copy))

    def _look_after_writing(self, n_kept: int) -> None:
        """Let go of what is written; keep or give up what could not be (rule 3)."""
        for copy in [c for c in self._writing if c.error]:
            self._writing.remove(copy)
            error, copy.error = copy.error, None
            if copy.is_released:
                continue
            if self._n_bytes + copy.size + n_kept <= self.budget:
                self.keep(copy)
            else:
                self._give_up(copy, str(error))
        if any(c.n_disk_bytes for c in self._writing):
            self._is_ailing = False
        self._writing = [c for c in self._writing if c.n_bytes and not c.is_released]

    def _give_up(self, copy: Payload, why: str) -> None:
        """Lose a copy; say so once, until the disk works again."""
        copy.lose()
        level = logging.DEBUG if self._is_ailing else logging.WARNING
        self._is_ailing = True
        log.log(
            level,
            "A parked character found no room, and is read again when it is needed: %s. "
            "Give a larger --park-ram, or free some space.",
            why,
        )

    def _forget(self, copy: Payload) -> None:
        if self._in_memory.pop(id(copy), None) is not None:
            self._n_bytes -= copy.size

    def _write(self, copy: Payload) -> None:
        """Write a copy, on the writer's thread."""
        if copy.is_released or self._is_stopped:
            return
        try:
            if self._scratch is None:
                self._scratch = ScratchFolder(self._under)
            if not self._scratch.has_room(copy.size):
                raise OSError(f"the disk of {self._scratch.folder} is nearly full")
            copy.write(self._scratch.new_file())
        except OSError as error:
            copy.error = error
        except Exception as error:  # whatever it is, the engine goes on
            log.exception("writing a parked copy")
            copy.error = OSError(str(error))

    def stop(self) -> None:
        """Write no more: the engine ends, and what is in memory can stay there."""
        self._is_stopped = True

    def close(self) -> None:
        """Remove all files. What was in one is lost."""
        self.stop()
        if self._scratch is not None:
            self._scratch.close()


def _do(job: Job) -> None:
    job()
