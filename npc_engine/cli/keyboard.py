"""One key at a time, without Return, where somebody sits at a keyboard.

Owns the terminal's mode while it listens, and gives it back as it was. It knows no command.
"""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["listening"]

Wait = Callable[[float], str]
"""Wait up to so many seconds for a key; "" when none was pressed."""

PAUSE_S = 0.05


@contextmanager
def listening() -> Iterator[Wait]:
    """Give a function that waits for a key; where there is no keyboard it only waits."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield _no_key
    elif sys.platform == "win32":
        yield _windows_key
    else:
        with _unbuffered(sys.stdin.fileno()):
            yield _key


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""


@contextmanager
def _unbuffered(fd: int) -> Iterator[None]:
    """Let keys come at once and unseen; Ctrl-C still interrupts."""
    if sys.platform == "win32":
        return
    import termios
    import tty

    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _key(seconds: float) -> str:
    fd = sys.stdin.fileno()
    ready, _, _ = select.select([fd], [], [], seconds)
    if not ready:
        return ""
    keys = os.read(fd, 64)  # past Python's buffer, which select does not see
    if not keys:  # the terminal is gone: it would be ready for ever
        raise KeyboardInterrupt
    return keys.decode("utf-8", "ignore")[:1]


def _windows_key(seconds: float) -> str:
    if sys.platform != "win32":
        return ""
    import msvcrt

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if msvcrt.kbhit():
            return msvcrt.getwch()
        time.sleep(PAUSE_S)
    return ""
