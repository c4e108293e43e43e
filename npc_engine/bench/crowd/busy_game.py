"""A game that takes all that it can get: processes that spin, the worst that a game can do.

Owns them, and that they end with this process, whatever happens to it: each reads its stdin, which
closes even when this process is killed.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["busy_game"]

SPIN = """
import os, sys, threading
def leave():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=leave, daemon=True).start()
while True:
    pass
"""


@contextmanager
def busy_game(n: int) -> Iterator[Callable[[], bool]]:
    """Run n processes that do nothing, as fast as they can; gives whether all still do."""
    with ExitStack() as stack:
        processes = []
        for _ in range(n):
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", "-c", SPIN],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # Ctrl-C reaches it as well, and it would say so
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        yield lambda: all(process.poll() is None for process in processes)
