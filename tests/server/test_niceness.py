"""The priority of the server: lowered, never raised, and no reason to fail."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from npc_engine.server import niceness
from npc_engine.server.niceness import lower_priority

NORMAL, BELOW, IDLE = 32, 16384, 64


class Process:
    """A process of another system. `refuses`: what setting raises."""

    def __init__(self, priority: int, refuses: Exception | None = None) -> None:
        self.priority = priority
        self.refuses = refuses

    def nice(self, value: int | None = None) -> int:
        if value is not None:
            if self.refuses:
                raise self.refuses
            self.priority = value
        return self.priority


def lowered(
    monkeypatch: pytest.MonkeyPatch, process: Process, nice: int, system: str = "posix"
) -> int:
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(niceness, "os", SimpleNamespace(name=system))
    lower_priority(nice)
    return process.priority


@pytest.mark.parametrize(
    ("before", "nice", "after"), [(0, 5, 5), (0, 0, 0), (10, 5, 10), (19, 19, 19)]
)
def test_posix(monkeypatch: pytest.MonkeyPatch, before: int, nice: int, after: int) -> None:
    assert lowered(monkeypatch, Process(before), nice) == after


@pytest.mark.parametrize(
    ("before", "nice", "after"),
    [
        (NORMAL, 0, NORMAL),
        (NORMAL, 1, BELOW),
        (NORMAL, 14, BELOW),
        (NORMAL, 15, IDLE),
        (BELOW, 5, BELOW),
        (BELOW, 19, IDLE),
        (IDLE, 5, IDLE),
    ],
)
def test_windows(monkeypatch: pytest.MonkeyPatch, before: int, nice: int, after: int) -> None:
    assert lowered(monkeypatch, Process(before), nice, "nt") == after


@pytest.mark.parametrize("error", [PermissionError(13, "no"), psutil.AccessDenied(1)])
def test_failing_is_a_notice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    assert lowered(monkeypatch, Process(0, error), 5) == 0
    assert "--nice 5: the priority stays as it is" in caplog.text


def test_a_real_process() -> None:
    code = (
        "import os; before = os.nice(0); from npc_engine.server.niceness import lower_priority;"
        "lower_priority(min(before + 3, 19)); print(os.nice(0) - min(before + 3, 19))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n", done.stderr
