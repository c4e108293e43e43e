"""The processor as it may be used: affinity, quotas, topology, other programs."""

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from npc_engine import cpu as cores
from npc_engine.cpu import (
    EVERY_S,
    OthersLoad,
    Watch,
    cpu_quota,
    n_usable_cores,
    usable_cpus,
)

Times = namedtuple("Times", "user system idle")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four cores of two threads each, no cgroups."""
    for cpu in range(8):
        siblings = f"{cpu % 4},{cpu % 4 + 4}\n"
        write(tmp_path / f"cpus/cpu{cpu}/topology/thread_siblings_list", siblings)
    monkeypatch.setattr(cores, "CPUS", tmp_path / "cpus")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "OWN_CGROUPS", tmp_path / "own")
    return tmp_path


@pytest.mark.parametrize(
    ("cpus", "n_cores"),
    [(range(8), 4), ([0, 4], 1), ([0, 1], 2), ([3], 1), ([1, 5, 6], 2)],
)
def test_cores_that_may_be_used(
    machine: Path, monkeypatch: pytest.MonkeyPatch, cpus: list[int], n_cores: int
) -> None:
    monkeypatch.setattr(cores, "usable_cpus", lambda: list(cpus))
    assert n_usable_cores() == n_cores


@pytest.mark.parametrize(
    ("quota", "n_cores"), [("max", 4), ("200000", 2), ("150000", 1), ("20000", 1), ("900000", 4)]
)
def test_a_quota_counts(
    machine: Path, monkeypatch: pytest.MonkeyPatch, quota: str, n_cores: int
) -> None:
    monkeypatch.setattr(cores, "usable_cpus", lambda: list(range(8)))
    write(machine / "own", "0::/games/engine\n")
    write(machine / "groups/games/cpu.max", f"{quota} 100000\n")
    write(machine / "groups/games/engine/cpu.max", "max 100000\n")
    assert n_usable_cores() == n_cores


def test_a_system_that_tells_nothing(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CPUS", machine / "none")
    monkeypatch.setattr(cores, "usable_cpus", lambda: list(range(8)))
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8 if logical else 6)
    assert n_usable_cores() == 6
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: None)
    assert n_usable_cores() == 2
    monkeypatch.setattr(cores, "usable_cpus", list)
    assert n_usable_cores() == 1


def test_quotas_of_version_1(tmp_path: Path) -> None:
    own = tmp_path / "own"
    write(own, "3:cpuset:/other\n1:cpu,cpuacct:/docker/x\n0::/\n")
    folder = tmp_path / "cpu/docker/x"
    write(folder / "cpu.cfs_quota_us", "-1\n")
    write(folder / "cpu.cfs_period_us", "100000\n")
    assert cpu_quota(tmp_path, own) is None
    write(folder / "cpu.cfs_quota_us", "350000\n")
    assert cpu_quota(tmp_path, own) == 3.5
    write(tmp_path / "cpu/cpu.cfs_quota_us", "300000\n")  # of all that the container sees
    write(tmp_path / "cpu/cpu.cfs_period_us", "100000\n")
    assert cpu_quota(tmp_path, own) == 3.0


@pytest.mark.parametrize(
    "text", ["", "x", "0::/\n1:cpu", "0::/../..\n1:cpu:/../../etc\n", "0::\0\n"]
)
@pytest.mark.parametrize("limit", ["", "max", "1", "1 0", "-5 100", "a b c"])
def test_odd_files_are_no_quota(tmp_path: Path, text: str, limit: str) -> None:
    write(tmp_path / "own", text)
    write(tmp_path / "groups/cpu.max", limit)
    assert cpu_quota(tmp_path / "groups", tmp_path / "own") is None
    assert cpu_quota(tmp_path / "groups", tmp_path / "missing") is None


def test_this_machine() -> None:
    assert 1 <= n_usable_cores() <= len(usable_cpus()) <= (psutil.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone has it")
def test_affinity_counts() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from npc_engine.cpu import n_usable_cores; print(n_usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1\n", done.stderr


class Computer:
    """Two CPUs whose times a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.busy = self.own = 0.0
        self.n_looks = 0
        monkeypatch.setattr(cores, "usable_cpus", lambda: [0, 1])
        monkeypatch.setattr(psutil, "cpu_times", self._cpu_times)
        monkeypatch.setattr(psutil, "Process", lambda: self)

    def _cpu_times(self, percpu: bool) -> list[Times]:
        assert percpu
        self.n_looks += 1
        idle = 2 * self.now - self.busy
        return [Times(self.busy, 0.0, idle), Times(0, 0, 0), Times(self.now, 0, 0)]

    def cpu_times(self) -> Times:
        return Times(self.own, 0.0, 0.0)

    def passes(self, seconds: float, busy: float, own: float) -> None:
        self.now += seconds
        self.busy += seconds * busy
        self.own += seconds * own


def test_what_others_take(monkeypatch: pytest.MonkeyPatch) -> None:
    computer = Computer(monkeypatch)
    load = OthersLoad(lambda: computer.now)
    assert load() is None
    computer.passes(1.0, busy=1.75, own=0.5)
    assert load() == pytest.approx(1.25)
    computer.passes(0.9 * EVERY_S, busy=2, own=2)
    assert load() == pytest.approx(1.25)  # not yet
    computer.passes(0.2 * EVERY_S, busy=2, own=2)
    assert load() == pytest.approx(0.0, abs=1e-9)
    computer.passes(1.0, busy=0.5, own=0.6)  # its clocks differ a little
    assert load() == 0.0


def test_a_watch_tells_what_part_of_the_cores_others_took(monkeypatch: pytest.MonkeyPatch) -> None:
    computer = Computer(monkeypatch)
    watch = Watch(lambda: computer.now)
    computer.passes(0.2, busy=1.5, own=0.5)
    assert watch.busy() == pytest.approx(1.0 / len(usable_cpus()), abs=0.01)
    too_short = Watch(lambda: computer.now)
    computer.passes(0.01, busy=1.0, own=1.0)
    assert too_short.busy() is None


@pytest.mark.parametrize(("busy", "answer"), [(0.0, False), (0.5, True), (None, True)])
def test_others_are_busy_from_a_fifth_of_the_cores_on(
    monkeypatch: pytest.MonkeyPatch, busy: float | None, answer: bool
) -> None:
    monkeypatch.setattr(cores, "LOOK_S", 0.0)
    monkeypatch.setattr(Watch, "busy", lambda self: busy)
    assert cores.others_are_busy() is answer


def test_it_looks_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    computer = Computer(monkeypatch)
    load = OthersLoad(lambda: computer.now)
    for _ in range(1000):
        computer.passes(0.01, busy=1, own=0)
        load()
    assert computer.n_looks <= 10 / EVERY_S + 1


def test_a_system_that_does_not_tell_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(percpu: bool) -> None:
        asked.append(percpu)
        raise PermissionError

    monkeypatch.setattr(psutil, "cpu_times", refuse)
    times = iter(range(100))
    load = OthersLoad(lambda: float(next(times)))
    assert [load() for _ in range(5)] == [None] * 5
    assert len(asked) == 1


def test_the_real_thing() -> None:
    times = iter((0.0, 1.0, 2.0))
    load = OthersLoad(lambda: next(times))
    assert load() is None
    assert 0.0 <= (load() or 0.0) <= len(usable_cpus())
