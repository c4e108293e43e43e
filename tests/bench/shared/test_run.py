"""Parts one after the other, and what is left of a run that ends early."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psutil
import pytest

from npc_engine.bench.shared.run import Part, check_memory, measure, progress
from npc_engine.errors import BackendError, ModelError


@dataclass
class Found:
    numbers: list[int] = field(default_factory=list)
    interrupted: bool = False

    @property
    def has_any(self) -> bool:
        return bool(self.numbers)


def part(end: BaseException | None = None, finds: bool = True) -> Part[int, Found]:
    def take(setup: int, found: Found) -> Iterator[str]:
        for i in range(setup):
            yield f"number {i}"
            if finds:
                found.numbers.append(i)
        if end is not None:
            raise end

    return Part(lambda setup: setup, take)


def test_progress_is_a_row_for_every_twentieth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(100, "reading") as show:
        for done in range(0, 101, 2):
            show(done, f"token {done}")
    rows = capsys.readouterr().err.splitlines()
    assert len(rows) == 21
    assert rows[-1] == "100 %  token 100"


def test_all_parts_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    found = measure("it", [part(), part()], 2, Found())
    assert found == Found([0, 1, 0, 1])
    assert capsys.readouterr().err.splitlines() == [
        *("  0 %  number 0", " 25 %  number 1", " 50 %  number 0", " 75 %  number 1"),
        "100 %  done",
    ]


@pytest.mark.parametrize(
    ("end", "why"),
    [(KeyboardInterrupt(), "Interrupted"), (BackendError("It broke."), "It broke")],
)
def test_an_early_end_keeps_what_there_is(
    end: BaseException, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measure("it", [part(end), part()], 2, Found())
    assert found == Found([0, 1], interrupted=True)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"{why}: the report has what was measured so far."


def test_where_nothing_was_found_an_error_is_an_error() -> None:
    with pytest.raises(BackendError, match="It broke"):
        measure("it", [part(BackendError("It broke."), finds=False)], 2, Found())
    assert measure("it", [part(KeyboardInterrupt(), finds=False)], 2, Found()).interrupted


@pytest.mark.parametrize("free", [3, 1 << 10])
def test_there_must_be_memory(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = free << 20

    memory: Callable[[], Memory] = Memory
    monkeypatch.setattr(psutil, "virtual_memory", memory)
    with pytest.raises(ModelError, match=f"It needs 5 MiB; {free} MiB are free. Give less."):
        check_memory(5 << 20, "It needs {} MiB", "Give less.")
    Memory.available = 2 << 30
    check_memory(5 << 20, "It needs {} MiB", "Give less.")
