"""The busy processes that this process has started, and nobody else's children."""

import psutil

from npc_engine.bench.crowd.threads import SPIN


def games() -> list[psutil.Process]:
    """Those that spin now."""
    return [child for child in psutil.Process().children() if SPIN in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []
