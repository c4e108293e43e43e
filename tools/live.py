"""One line that says what a long step is doing: redrawn on a terminal, plain lines elsewhere.

Owns the running of a quiet child process (its output goes to a log) and what is shown meanwhile.
Does not know what is being built or installed.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

__all__ = ["LiveLine", "StepFailed", "run_logged", "tail"]

_REDRAW_S = 0.25
_PLAIN_EVERY_S = 30.0
_TAIL_LINES = 40


class StepFailed(Exception):
    """A step of the set-up failed. The message is for the user: what, why, and what to do."""


class LiveLine:
    """Show `label`, a detail and the elapsed time until `close`.

    On a terminal the line is redrawn in place; otherwise a plain line is printed at most every
    30 seconds, so that a log of a long build stays short and still shows life.
    """

    def __init__(self, label: str, out: TextIO | None = None) -> None:
        self._label = label
        self._out = out if out is not None else sys.stdout
        self._live = self._out.isatty()
        self._began = time.monotonic()
        self._printed = self._began
        if not self._live:
            print(f"{label} ...", file=self._out, flush=True)

    def show(self, detail: str) -> None:
        """Redraw the line with `detail`; a no-op where it was printed a moment ago."""
        now = time.monotonic()
        if now - self._printed < (_REDRAW_S if self._live else _PLAIN_EVERY_S):
            return
        self._printed = now
        self._write(
            f"{self._label} ... {detail} ({_elapsed(now - self._began)})".replace("  ", " ")
        )

    def close(self, result: str = "done") -> None:
        """End the line with `result` and the time it took."""
        took = _elapsed(time.monotonic() - self._began)
        self._write(f"{self._label}: {result} ({took})")
        if self._live:
            print(file=self._out, flush=True)

    def _write(self, text: str) -> None:
        if not self._live:
            print(text, file=self._out, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]:<{width}}", end="", file=self._out, flush=True)


def run_logged(
    command: Sequence[str],
    label: str,
    log: Path,
    *,
    help: str,  # noqa: A002
    env: Mapping[str, str] | None = None,
    progress: Callable[[str], str | None] | None = None,
) -> None:
    """Run `command` with its output in `log`, showing a live line.

    `progress` turns one line of output into the detail to show, or None to leave it as it was.
    Raises StepFailed with the end of the log and `help` when the command fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    line = LiveLine(label)
    try:
        status = _pump(command, log, line, env, progress)
    except BaseException:
        line.close("stopped")
        raise
    if status != 0:
        line.close("failed")
        raise StepFailed(f"{tail(log)}\n\n{label} failed; the whole log is {log}\n{help}")
    line.close()


def tail(log: Path, n_lines: int = _TAIL_LINES) -> str:
    """Return the last `n_lines` lines of a text file."""
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-n_lines:])


def _pump(
    command: Sequence[str],
    log: Path,
    line: LiveLine,
    env: Mapping[str, str] | None,
    progress: Callable[[str], str | None] | None,
) -> int:
    """Copy the command's output to `log` and keep the line alive; return the exit status."""
    with (
        log.open("w", encoding="utf-8") as out,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=dict(os.environ) | dict(env or {}),
        ) as child,
    ):
        shown = _Shown(line)
        assert child.stdout is not None
        try:
            for text in child.stdout:
                out.write(text)
                shown.detail = (progress(text) if progress else None) or shown.detail
        except BaseException:
            child.terminate()
            raise
        finally:
            shown.stop()
        return child.wait()


class _Shown:
    """Redraw a LiveLine from a thread, so that the clock moves while the child is silent."""

    def __init__(self, line: LiveLine) -> None:
        self.detail = ""
        self._line = line
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_REDRAW_S):
            self._line.show(self.detail)


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
