"""The processor as this process may use it: how many cores, and how busy others keep them.

Owns affinity, cgroup quotas, topology and the load of other programs, as far as each system tells.
It knows no threads of ours and no llama.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

__all__ = [
    "BUSY",
    "OthersLoad",
    "Watch",
    "cpu_quota",
    "n_usable_cores",
    "others_are_busy",
    "usable_cpus",
]

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
CPUS = Path("/sys/devices/system/cpu")
EVERY_S = 0.5  # how often the load is measured: reading it takes 0.1 ms, and it needs some time
LOOK_S = 0.3  # how long a look takes whether the machine is quiet
LEAST_S = 0.05  # of less the system's ticks say nothing
BUSY = 0.2
"""Part of the cores from which on other programs spoil a measurement."""


def usable_cpus() -> list[int]:
    """Return the numbers of the (logical) CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone has it
        return sorted(os.sched_getaffinity(0))
    with suppress(AttributeError, OSError, psutil.Error):  # Windows, FreeBSD
        return sorted(psutil.Process().cpu_affinity() or [])
    return list(range(psutil.cpu_count() or 1))


def n_usable_cores() -> int:
    """Return the physical cores that this process may use: by affinity and by quota. At least 1.

    A container or a launcher may have given it few.
    """
    cpus = usable_cpus()
    n_cores = _physical(cpus)
    if n_cores is None:
        n_cores = min(psutil.cpu_count(logical=False) or 2, len(cpus) or 1)
    quota = cpu_quota()
    # A quota of 1.5 is used up by two threads in the middle of a step, and then all wait.
    return max(1, n_cores if quota is None else min(n_cores, int(quota)))


def _physical(cpus: list[int]) -> int | None:
    """How many cores these CPUs are: two may be threads of one. None when nobody says."""
    cores = set()
    for cpu in cpus:
        try:
            cores.add((CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text("ascii"))
        except (OSError, ValueError):
            return None
    return len(cores) or None


def cpu_quota(groups: Path | None = None, own: Path | None = None) -> float | None:
    """Return how many CPUs' time the cgroups of this process allow (Linux); None for no limit.

    Both versions: cpu.max of a group and of those above it, and cpu.cfs_quota_us of the first.
    """
    groups, own = groups or CGROUPS, own or OWN_CGROUPS
    try:
        rows = [row.split(":", 2) for row in own.read_text("utf-8").splitlines()]
    except (OSError, ValueError):
        return None
    quotas: list[float] = []
    for _, controllers, path in (row for row in rows if len(row) == 3):
        if not controllers:
            quotas += _quotas(groups, path, _of_version_2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas(groups / "cpu", path, _of_version_1)
    return min(quotas, default=None)


def _quotas(root: Path, path: str, read: Callable[[Path], float]) -> list[float]:
    """The limits of a group and of all above it. In a container its path may not be visible."""
    group = root / path.strip("/")
    found = []
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError, ZeroDivisionError):
            found.append(read(folder))
        if folder == root:
            break
    return found


def _of_version_2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text("ascii").split()
    return _positive(int(quota) / int(period))  # "max" is no number: ValueError


def _of_version_1(folder: Path) -> float:
    quota = int((folder / "cpu.cfs_quota_us").read_text("ascii"))
    return _positive(quota / int((folder / "cpu.cfs_period_us").read_text("ascii")))


def _positive(quota: float) -> float:
    if quota <= 0:
        raise ValueError(quota)
    return quota


class OthersLoad:
    """How many cores other programs take, of those that this process may use.

    Call it as often as you like: it looks only twice a second, and never waits. `clock` gives
    seconds, `every_s` how often it looks.
    """

    def __init__(self, clock: Callable[[], float], every_s: float = EVERY_S) -> None:
        self._clock = clock
        self._every_s = every_s
        self._cpus = usable_cpus()
        self._before: tuple[float, float, float] | None = None
        self._load: float | None = None
        self._dumb = False

    def __call__(self) -> float | None:
        """Return the load between the last two looks; None before them, or where nobody tells."""
        now = self._clock()
        if self._dumb or (self._before is not None and now - self._before[0] < self._every_s):
            return self._load
        try:
            busy, own = self._look()
        except (OSError, ValueError, RuntimeError, psutil.Error):
            self._dumb = True
            return self._load
        if self._before is not None:
            then, busy_then, own_then = self._before
            others = (busy - busy_then - (own - own_then)) / (now - then)
            self._load = min(max(others, 0.0), float(len(self._cpus)))
        self._before = now, busy, own
        return self._load

    def _look(self) -> tuple[float, float]:
        """CPU seconds so far: of everybody on the CPUs that we may use, and our own."""
        by_cpu = psutil.cpu_times(percpu=True)
        times = [by_cpu[cpu] for cpu in self._cpus if cpu < len(by_cpu)]
        own = psutil.Process().cpu_times()
        return sum(map(_busy, times)), own.user + own.system


class Watch:
    """How busy others are from now on, beside a measurement. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._load = OthersLoad(clock, LEAST_S)
        self._load()

    def busy(self) -> float | None:
        """Return the part of the cores that others took, 1.0 = all; None when nobody tells."""
        load = self._load()
        return None if load is None else round(load / (len(usable_cpus()) or 1), 2)


def others_are_busy() -> bool:
    """Say whether others would spoil a measurement now; yes where nobody tells. Takes a moment."""
    watch = Watch()
    time.sleep(LOOK_S)
    busy = watch.busy()
    return busy is None or busy > BUSY


def _busy(times: Any) -> float:
    """Seconds in which a CPU was not idle. Those of guests stand in Linux's user seconds too."""
    names = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(times)) - sum(getattr(times, name, 0.0) for name in names)
