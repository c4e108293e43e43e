"""The baseline in a process of its own: its memory is not ours, and what ends it does not end us.

Owns the child and how it fails. What goes wrong in it comes back as a sentence, never as an
exception: how it fails is one of the results.
"""

import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from npc_engine.bench.talk.figures import Turn

__all__ = ["BaselineProcess"]

JOIN_S = 10.0


class BaselineProcess:
    """A `Baseline` made in a child of the arguments that it takes, turn by turn."""

    def __init__(self, make: Callable[..., Any], *args: Any) -> None:
        self._pipe, theirs = get_context("spawn").Pipe()
        self._child = get_context("spawn").Process(target=_child, args=(theirs, make, args))
        self._child.start()
        theirs.close()

    def say(self, text: str) -> Turn | str:
        """Say a line; return the turn, or what went wrong."""
        try:
            self._pipe.send(text)
            answer: Turn | str = self._pipe.recv()
        except (EOFError, OSError):
            self._child.join(JOIN_S)
            return f"the process had ended with status {self._child.exitcode}"
        return answer

    def close(self) -> None:
        """End the child."""
        self._pipe.close()
        self._child.join(JOIN_S)
        if self._child.is_alive():
            self._child.kill()


def _child(pipe: Connection, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who started us ends us
    baseline: Any = None
    try:
        while True:
            text = pipe.recv()
            try:
                baseline = baseline or make(*args)
                pipe.send(baseline.say(text))
            except Exception as error:  # noqa: BLE001  whatever it is, it is a result
                pipe.send(f"{type(error).__name__}: {error}")
    except EOFError:
        return
