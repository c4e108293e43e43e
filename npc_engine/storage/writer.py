"""The thread that writes files, so that no disk holds up a line.

Owns the queue, the thread and the results. It knows neither slots nor formats: of a save a store
does the writing, and every `submit` comes back out of `finished`, as a size or as an error.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from npc_engine.errors import SnapshotError

__all__ = ["Writer", "WriterThread"]

log = logging.getLogger("npc_engine.storage.writer")

Files = Mapping[str, bytes | Callable[[], bytes | Sequence[bytes | memoryview]]]
Result = int | SnapshotError

_NONE: Files = {}


class _Store(Protocol):
    """What is needed of `store.Store`."""

    def write(
        self, slot: str, files: Files, *, merge: bool, backup: bool, journals: Files
    ) -> int: ...


class WriterThread:
    """One daemon thread that does jobs in their order. All methods are for the engine's thread."""

    def __init__(self, name: str = "npc-engine-files") -> None:
        self.is_closed = False
        self._name = name
        self._thread: threading.Thread | None = None  # started by the first job
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def run(self, job: Callable[[], None]) -> None:
        """Queue a job; one that raises is in the log. Once the thread is closed, none is done."""
        if self.is_closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._todo.put(job)

    def close(self, timeout: float) -> bool:
        """Take no more, wait `timeout` seconds for what is queued; say whether all is done."""
        self.is_closed = True
        if self._thread is None:
            return True
        self._todo.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._todo.get()) is not None:
            try:
                job()
            except Exception:  # those behind it are somebody else's
                log.exception("a job of %s failed", self._name)
            del job  # payloads are large, and the next job may be hours away


class Writer:
    """Runs `store.write` on a thread, in the order of the submits.

    All methods are for one thread, the engine's. `n_pending` counts the submits whose result
    `finished` has not returned yet. `thread`: where others have files to write, too.
    """

    def __init__(self, store: _Store, thread: WriterThread | None = None) -> None:
        self.n_pending = 0
        self._store = store
        self._thread = thread or WriterThread()
        self._done: queue.SimpleQueue[tuple[Any, Result]] = queue.SimpleQueue()

    def submit(
        self,
        slot: str,
        files: Files,
        *,
        merge: bool,
        tag: Any,
        backup: bool = True,
        journals: Files = _NONE,
        before: Callable[[], None] = lambda: None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Queue `store.write` of this.

        What `files` and `journals` hold must not change.
        `before` and `then` are called on the thread: before that write, whose error is what it
        raises, and after it where it has succeeded.
        """
        self.n_pending += 1
        if self._thread.is_closed:
            closing = SnapshotError(f"The slot {slot!r} was not saved: the engine is closing.")
            self._done.put((tag, closing))
            return

        def write() -> int:
            return self._store.write(slot, files, merge=merge, backup=backup, journals=journals)

        def job() -> None:
            self._done.put((tag, self._write(slot, write, before, then)))

        self._thread.run(job)

    def finished(self) -> list[tuple[Any, Result]]:
        """Return (tag, bytes written or the error) of each write that ended since; waits never."""
        ended = []
        while not self._done.empty():
            ended.append(self._done.get_nowait())
        self.n_pending -= len(ended)
        return ended

    def close(self, timeout: float) -> bool:
        """Take no more, wait `timeout` seconds for what is queued; say whether all is written."""
        return self._thread.close(timeout)

    def _write(
        self,
        slot: str,
        write: Callable[[], int],
        before: Callable[[], None],
        then: Callable[[], None],
    ) -> Result:
        try:
            before()
            n_bytes = write()
            then()
            return n_bytes
        except SnapshotError as e:
            return e
        except MemoryError:
            return SnapshotError(f"The slot {slot!r} was not saved: no memory is left.")
        except Exception as e:  # each submit has a result, whatever happens
            log.exception("saving the slot %r", slot)
            return SnapshotError(f"The slot {slot!r} was not saved: {e}.", "The log has the rest.")
