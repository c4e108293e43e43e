"""`npc-engine serve`: one engine for the games of this machine, until it is told to stop.

Owns the order of starting and ending: token, endpoint, model, the READY line, signals, logs. It
knows neither what goes over the wire nor how a model is read.

The endpoint is bound before the model is loaded: that a port is taken shows at once, not after a
minute. A game that connects early waits in ZeroMQ's queue.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from npc_engine.config import LOG_LEVELS, Settings
from npc_engine.errors import ConfigError
from npc_engine.protocol import PROTOCOL_VERSION, Reply, Request
from npc_engine.server.niceness import lower_priority

if TYPE_CHECKING:
    from npc_engine.engine import EngineCore

__all__ = [
    "Progress",
    "announce",
    "at_end_of_stdin",
    "drop_stdout",
    "first_row_of_stdin",
    "import_all",
    "serve",
]

log = logging.getLogger("npc_engine")

MAX_TOKEN_BYTES = 1024
OF_ONE_SYSTEM = ("fcntl", "msvcrt", "resource", "winreg")
# What is imported in functions. Tests let an engine do all it can, and find no other.
IMPORTED_LATER = (
    *("npc_engine.loading", "npc_engine.text.jinja.sandbox", "numpy", "platformdirs", "psutil"),
    *("encodings.ascii", "encodings.unicode_escape", "jinja2.debug"),
    *OF_ONE_SYSTEM,
)


def serve(settings: Settings) -> int:
    """Serve until a signal, or the end of stdin if the settings say so; return the exit status.

    Raises SetupError when it cannot start.
    """
    from npc_engine.server.bridge import Bridge

    if not settings.model:
        raise ConfigError("No model is given.", "Say which: npc-engine serve --model q4.gguf")
    _check_saves(Path(settings.saves))
    token = first_row_of_stdin() if settings.token_stdin else settings.token
    with _logging_to(sys.stderr, settings.log_level):
        engine = _Late()
        bridge = Bridge(engine, settings, token=token)
        signals = _Signals()
        lower_priority(settings.nice)
        try:
            endpoint = bridge.bind()
            signals.catch()
            import_all()
            if settings.exit_on_stdin_eof:
                at_end_of_stdin(signals.on_end_of_stdin)
            engine.loaded = _loaded(settings)
            signals.leave = bridge.stop
            announce(endpoint, settings.model, engine.slow)
            bridge.run()
            log.info("leaving")
        finally:
            bridge.close()
            signals.release()
    return 0


def import_all() -> None:
    """Import whatever an engine imports later on.

    On Windows a thread that reads stdin holds up all who look at it, and a library that brings a C
    runtime of its own (numpy) does so when it is loaded: the import would never end.
    """
    for name in IMPORTED_LATER:
        with suppress(ModuleNotFoundError) if name in OF_ONE_SYSTEM else nullcontext():
            import_module(name)


def _check_saves(folder: Path) -> None:
    """Raise ConfigError where no save could ever be written. Nothing is made."""
    for there in (folder, *folder.absolute().parents):
        if os.path.exists(there):  # noqa: PTH110 - Path.exists raises for a name that is too long
            break
    if not os.path.isdir(there):  # noqa: PTH112
        why = "is no folder"
    elif there != folder and not os.access(there, os.W_OK):
        why = "may not be written to"
    else:
        return
    raise ConfigError(
        f"The saves cannot go to {str(folder)!r}: {str(there)!r} {why}.",
        "Give another folder with --saves.",
    )


def _loaded(settings: Settings) -> "EngineCore":
    from npc_engine.loading import load_engine  # brings llama_cpp

    with Progress(sys.stderr, f"Loading {Path(settings.model).name}") as progress:
        return load_engine(settings, progress)


class _Late:
    """Stands in the bridge for an engine that is not loaded yet."""

    loaded: "EngineCore | None" = None

    def handle(self, message: Request, client: bytes, /) -> None:
        self._engine.handle(message, client)

    def step(self) -> Iterable[tuple[bytes, Reply]]:
        return self._engine.step()

    def patience(self) -> float | None:
        return self._engine.patience()

    def drop(self, client: bytes, reason: Literal["cancelled", "slow_client"], /) -> None:
        self._engine.drop(client, reason)

    def close(self) -> Iterable[tuple[bytes, Reply]]:
        return self.loaded.close() if self.loaded else ()

    @property
    def slow(self) -> str:
        """Why it runs without its fast code; "" when it does not."""
        return str(self._engine.backend.about["model"].get("slow", ""))

    @property
    def _engine(self) -> "EngineCore":
        if self.loaded is None:
            raise RuntimeError("the loop runs without an engine")
        return self.loaded


class Progress:
    """Shows a fraction from 0 to 1: one row that changes on a terminal, else a row per quarter."""

    def __init__(self, stream: TextIO | None, title: str) -> None:
        self._stream = stream
        self._title = title
        self._is_terminal = stream is not None and stream.isatty()
        self._shown = -1

    def __call__(self, fraction: float) -> None:
        """Show how far it is."""
        percent = round(100 * min(max(fraction, 0.0), 1.0))
        shown = percent if self._is_terminal else percent - percent % 25
        if shown > self._shown:
            self._shown = shown
            self._write(f"\r{self._title} {shown:3} %" if self._is_terminal else self._row(shown))

    def __enter__(self) -> "Progress":
        return self  # nothing is shown yet: there may be no such file

    def __exit__(self, *error: object) -> None:
        if self._is_terminal and self._shown >= 0:
            self._write("\n")

    def _row(self, percent: int) -> str:
        return f"{self._title} {percent} %\n"

    def _write(self, text: str) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):  # nobody reads it any more
                self._stream.write(text)
                self._stream.flush()


class _Signals:
    """Ctrl-C and the system's wish to end: both call `leave`. A second Ctrl-C ends the process.

    A second SIGTERM does not: supervisors send several, and open requests are being answered.
    `leave` is "exit" while the model loads: nobody has been served yet.
    """

    def __init__(self) -> None:
        names = ("SIGINT", "SIGTERM", "SIGBREAK")  # SIGBREAK: Ctrl-Break on Windows
        self._numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        self._before: dict[int, Any] = {}
        self.leave: Callable[[], None] = _leave

    def catch(self) -> None:
        """Take the signals over. Only the main thread can; elsewhere they stay as they are."""
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                self._before[number] = signal.signal(number, self._on_signal)

    def release(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def on_end_of_stdin(self) -> None:
        """Leave, and say so where it is early: `< /dev/null` is easily overlooked."""
        if self.leave is _leave:
            log.warning("stdin closed before READY: leaving, as --exit-on-stdin-eof says")
        self.leave()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
        self.leave()


def _leave() -> None:
    # Out of llama.cpp's progress callback no exception gets through, and nothing is open yet.
    os._exit(0)


@contextmanager
def _logging_to(stream: TextIO | None, level: str) -> Iterator[None]:
    """Log to a stream with times of day in UTC, since games run everywhere."""
    shown = logging.StreamHandler(stream) if stream is not None else logging.NullHandler()
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%SZ")
    form.converter = time.gmtime
    shown.setFormatter(form)
    before = log.level
    log.setLevel(LOG_LEVELS[level])
    log.addHandler(shown)
    try:
        yield
    finally:
        log.removeHandler(shown)
        log.setLevel(before)


def announce(endpoint: str, model: str, slow: str = "") -> None:
    """Write the READY line, which is all that ever goes to stdout.

    `slow`: why the engine runs without its fast code, if it does.
    """
    ready = {"endpoint": endpoint, "model": Path(model).name, "protocol": PROTOCOL_VERSION}
    if slow:
        ready["slow"] = slow
    log.info("serving %s at %s", ready["model"], endpoint)
    if sys.stdout is None:  # a program with windows and no console
        return
    try:
        sys.stdout.write(f"READY {json.dumps(ready)}\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        log.warning("nobody reads stdout; the engine runs on")
        drop_stdout()


def drop_stdout() -> None:
    """Send what stdout still holds nowhere, or Python fails to write it at the very end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


# Both read the file descriptor: a thread that waits inside sys.stdin holds its lock, and Python
# dies of that when it ends.


def first_row_of_stdin() -> str:
    """Return the token that the starter writes. Raises ConfigError."""
    row = _read_row(MAX_TOKEN_BYTES + len(b"\r\n"))
    if len(row.rstrip(b"\r\n")) > MAX_TOKEN_BYTES:
        # Cut there, no client could show it.
        raise ConfigError(
            f"The first line of stdin has more than {MAX_TOKEN_BYTES:,} bytes.",
            "Write a shorter token, and a newline behind it.",
        )
    token = row.decode(errors="replace").strip()
    if not token:
        raise ConfigError("The first line of stdin is empty.", "Write the token into it.")
    return token


def _read_row(most: int) -> bytes:
    row = b""
    while not row.endswith(b"\n") and len(row) < most:
        byte = os.read(_stdin("--token-stdin"), 1)
        if not byte:
            break
        row += byte
    return row


def at_end_of_stdin(call: Callable[[], None]) -> None:
    """Call something on a thread when stdin ends: when the game that holds it does."""
    number = _stdin("--exit-on-stdin-eof")

    def wait() -> None:
        with suppress(OSError):  # closed another way
            while os.read(number, 4096):
                pass
        call()

    threading.Thread(target=wait, name="npc-engine stdin", daemon=True).start()


def _stdin(flag: str) -> int:
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        raise ConfigError(f"{flag} is set, and there is no stdin.", "Start it with one.") from None
