"""The engine as a child process of a game or tool: start it, wait until it is ready, end it.

Owns the child process, its pipes and its token. It knows the command line and the READY line of
`npc-engine serve`, and nothing of what goes over the wire.

The child's stdin is its lifeline: it ends when that closes, and that also happens when this process
is killed, so no engine is left behind.
"""

import errno
import json
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from os import PathLike
from typing import IO, Any, Self

from npc_engine.client.exit_status import death
from npc_engine.client.zmq_client import Client
from npc_engine.errors import SetupError

__all__ = ["Sidecar"]

LEAVE_S = 3.0  # what the engine gets to answer open requests and leave, and again after SIGTERM
KEPT_LOG_LINES = 200
MAX_LINE_BYTES = 1 << 16
_MAX_WORDS = 1000  # characters of a line in an error
_ASK_DOCTOR = "Run `npc-engine doctor` with the same model."
_PROGRESS = re.compile(r"Loading .* \d+ %$")  # says nothing of why an engine ended


class Sidecar:
    """A running engine. `endpoint` is where it listens, `ready` all that its READY line said.

    `args` go to `npc-engine serve` as they are: `Sidecar("q4.gguf", "--window", "4096")`.
    `executable` is a program to run in the place of `python -m npc_engine`: a path, or a path and
    its first arguments. `on_log` gets each line of the engine's log, on a thread of its own, and
    must not raise.

    Raises SetupError with the engine's own words when it does not come up in `ready_timeout` s.
    """

    def __init__(
        self,
        model: str | PathLike[str],
        *args: str,
        executable: str | PathLike[str] | Sequence[str] | None = None,
        ready_timeout: float = 120.0,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        command = [*_program(executable), "serve", "--model", os.fspath(model)]
        command += ["--bind", "tcp://127.0.0.1:0", "--token-stdin", "--exit-on-stdin-eof", *args]
        self._token = secrets.token_urlsafe(32)
        self._log: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        self._on_log = on_log
        self._ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._process = _started(command, _environment() if executable is None else None)
        try:
            self._threads.append(self._read(self._process.stdout, self._heed_stdout))
            self._threads.append(self._read(self._process.stderr, self._heed_stderr))
            self._hand_over_token()
            self.ready = self._await_ready(ready_timeout)
        except BaseException:
            self.close()
            raise
        self.endpoint = str(self.ready["endpoint"])

    def client(self, *, timeout: float = 10.0, name: str = "python") -> Client:
        """Return a new connection to this engine; close it before the Sidecar."""
        return Client(self.endpoint, token=self._token, timeout=timeout, name=name)

    @property
    def pid(self) -> int:
        """The process id of the engine."""
        return self._process.pid

    @property
    def ended(self) -> str | None:
        """How the engine ended, in a sentence or two; None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        found = death(status)
        return f"The engine ended with status {status}. {found.cause if found else ''}".strip()

    @property
    def log(self) -> list[str]:
        """The last lines of the engine's log, 200 at most."""
        return list(self._log)

    def close(self) -> None:
        """End the engine: by closing its stdin, after 3 s by force. May be called again."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it is gone already
            self._process.stdin.close()
        for insist in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(LEAVE_S)
                break
            except subprocess.TimeoutExpired:
                insist()
        self._process.wait()
        for thread in self._threads:
            thread.join(LEAVE_S)  # a grandchild may hold the pipe open; then it ends with that

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _hand_over_token(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it died at once: _await_ready says why
            self._process.stdin.write(self._token.encode() + b"\n")
            self._process.stdin.flush()

    def _await_ready(self, timeout: float) -> dict[str, Any]:
        try:
            line = self._ready.get(timeout=timeout)
        except queue.Empty:
            raise SetupError(
                f"The engine is not ready after {timeout:g} s. {self._last_words()}".strip(),
                "Give a longer ready_timeout if the machine is slow.",
            ) from None
        if line is None:
            raise self._early_death()
        return _parsed(line)

    def _early_death(self) -> SetupError:
        for thread in self._threads:
            thread.join(LEAVE_S)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_S)
        status = self._process.returncode
        found = death(status or 0)
        words = [f"The engine ended with status {status} before it was ready."]
        words += [found.cause if found else "", self._last_words()]
        return SetupError(" ".join(filter(None, words)), found.help if found else _ASK_DOCTOR)

    def _last_words(self) -> str:
        said = [line for line in self._log if line.strip() and not _PROGRESS.match(line)]
        return " ".join(line[:_MAX_WORDS] for line in said[-3:])

    def _read(self, pipe: IO[bytes] | None, heed: Callable[[str | None], None]) -> threading.Thread:
        """Pass each line of a pipe to `heed`, and None at its end, on a thread.

        A thread for each pipe, since Windows cannot wait for a pipe with a timeout.
        """
        assert pipe is not None

        def run() -> None:
            with pipe:
                while line := pipe.readline(MAX_LINE_BYTES):
                    heed(line.decode(errors="replace").rstrip("\r\n"))
            heed(None)

        thread = threading.Thread(target=run, name="npc-engine sidecar", daemon=True)
        thread.start()
        return thread

    def _heed_stdout(self, line: str | None) -> None:
        if line is None or line.startswith("READY "):
            self._ready.put(line)

    def _heed_stderr(self, line: str | None) -> None:
        if line is None:
            return
        self._log.append(line)
        if self._on_log is not None:
            self._on_log(line)


def _program(executable: str | PathLike[str] | Sequence[str] | None) -> list[str]:
    if executable is None:
        if getattr(sys, "frozen", False):
            # There sys.executable is the game itself, which would start itself for ever.
            raise SetupError(
                "A frozen program has no Python to run the engine with.",
                "Ship the engine beside it and pass executable='path/to/npc-engine'.",
            )
        return [sys.executable, "-P", "-m", "npc_engine"]  # -P: never the game's own queue.py
    if isinstance(executable, str | PathLike):
        return [os.fspath(executable)]
    return list(executable)


def _environment() -> dict[str, str]:
    """Let our own Python find what this process found, wherever that got its sys.path from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _started(command: list[str], env: dict[str, str] | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            # A console program started by a game would open a window on Windows.
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            # Ctrl-C in a terminal is for this process; the engine ends when its stdin does.
            start_new_session=os.name == "posix",
        )
    except (OSError, ValueError) as e:
        found = death(126) if getattr(e, "errno", None) in (errno.EACCES, errno.ENOEXEC) else None
        raise SetupError(
            f"{command[0]!r} cannot be started: {e}. {found.cause if found else ''}".strip(),
            found.help if found else "Check the path of the engine.",
        ) from None


def _parsed(line: str) -> dict[str, Any]:
    try:
        ready = json.loads(line.removeprefix("READY "))
        if not isinstance(ready["endpoint"], str):
            raise TypeError("endpoint is no text")
    except (ValueError, KeyError, TypeError) as e:
        raise SetupError(
            f"The engine's ready line {line[:200]!r} is not as expected: {e!r}.",
            "Use engine and package of the same version.",
        ) from None
    return dict(ready)
