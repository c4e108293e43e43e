"""The server's place behind the game: its process priority.

Owns how each system says it. It never raises a priority, and failing is a notice: an engine with
the priority of a game still serves it.
"""

import logging
import os

import psutil

__all__ = ["lower_priority"]

log = logging.getLogger("npc_engine")

IDLE_FROM = 15  # Windows has classes: from here on "idle", from 1 on "below normal"


def lower_priority(nice: int) -> None:
    """Make this process as nice as asked, 0 to 19, unless it is nicer already.

    Call it before threads are started: on Linux each has a priority of its own, and begins with
    that of its starter.
    """
    if nice <= 0:
        return
    try:
        _lower(nice)
    except (OSError, psutil.Error) as error:
        log.warning("--nice %d: the priority stays as it is: %s", nice, error)


def _lower(nice: int) -> None:
    process = psutil.Process()
    if os.name != "nt":
        if process.nice() < nice:
            process.nice(nice)
        return
    idle = getattr(psutil, "IDLE_PRIORITY_CLASS", 64)
    below = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 16384)
    if process.nice() not in (idle, below):
        process.nice(idle if nice >= IDLE_FROM else below)
    elif nice >= IDLE_FROM:
        process.nice(idle)
