"""How a measurement runs: its model, its parts one after the other, progress, and an early end.

Owns what an interruption or an error leaves: whatever was measured before it. It knows no flags
and no report. A bar of progress needs rich: the extra `[bench]`.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import psutil

from npc_engine.errors import ModelError, NpcError
from npc_engine.llama.model import Model
from npc_engine.llama.selftest import self_test

__all__ = [
    *("RESERVE_BYTES", "Part", "check_memory", "measure", "opened", "progress", "quiet", "say"),
    "say_cut_off",
]

RESERVE_BYTES = 1 << 30


class Found(Protocol):
    """What was measured so far, and whether that is all."""

    interrupted: bool

    @property
    def has_any(self) -> bool:
        """Whether there is anything worth a report."""


SetupT = TypeVar("SetupT")
FoundT = TypeVar("FoundT", bound=Found)


@dataclass(frozen=True)
class Part(Generic[SetupT, FoundT]):
    """`n_units`: how often it yields what it does. `measure` raises NpcError.

    It writes what it finds as it finds it, so that an interrupted run keeps it.
    """

    n_units: Callable[[SetupT], int]
    measure: Callable[[SetupT, FoundT], Iterator[str]]


def measure(
    what: str, parts: Sequence[Part[SetupT, FoundT]], setup: SetupT, found: FoundT
) -> FoundT:
    """Measure the parts into `found`, and return it; what ends it early is told.

    Raises NpcError where nothing was found before it.
    """
    n_done = 0
    try:
        with progress(sum(part.n_units(setup) for part in parts), what) as show:
            for part in parts:
                for now in part.measure(setup, found):
                    show(n_done, now)
                    n_done += 1
            show(n_done, "done")
    except KeyboardInterrupt:
        found.interrupted = True
        say_cut_off("Interrupted")
    except NpcError as error:
        if not found.has_any:
            raise
        found.interrupted = True
        say_cut_off(str(error))
    return found


def say_cut_off(why: str) -> None:
    """Say on stderr why a run has ended early."""
    say(f"{why.rstrip('.')}: the report has what was measured so far.")


def say(text: str) -> None:
    """Say something beside the results, on stderr."""
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of llama.cpp amid a progress bar."""
    log = logging.getLogger("npc_engine.llama")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def opened(path: str) -> "closing[Model]":
    """Return a model to be measured, as the engine would load it. Raises ModelError."""
    return closing(Model(path, extra_bufts=self_test(Path(path)).works))


def check_memory(n_bytes: int, what: str, give: str) -> None:
    """Refuse what would make the machine swap: then nothing measured means anything.

    `what` needs so many {} MiB. Raises ModelError, which advises to give less.
    """
    free = psutil.virtual_memory().available
    if n_bytes + RESERVE_BYTES > free:
        raise ModelError(f"{what.format(n_bytes >> 20)}; {free >> 20} MiB are free.", give)


@contextmanager
def progress(total: float, what: str) -> Iterator[Callable[[float, str], None]]:
    """Show progress on stderr; gives a function of (done so far, what is being done).

    A bar with the time left where there is a terminal, a line every 5 % where there is none.
    """
    if find_spec("rich") is None or sys.stderr is None or not sys.stderr.isatty():
        yield _lines(total, what)
        return
    from rich import console, progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TextColumn("{task.percentage:>3.0f} %"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left:"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console.Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, now: bar.update(task, completed=done, description=now or what)


def _lines(total: float, what: str) -> Callable[[float, str], None]:
    last = -1

    def show(done: float, now: str) -> None:
        nonlocal last
        step = int(20 * done / max(total, 1e-9))
        if step > last and sys.stderr is not None:
            last = step
            sys.stderr.write(f"{5 * step:3d} %  {now or what}\n")
            sys.stderr.flush()

    return show
