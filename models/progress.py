"""A progress bar in bytes: redrawn on a terminal, a plain line each tenth elsewhere.

Does not know what is being fetched.
"""

import sys
import time
from typing import Self, TextIO

__all__ = ["Bar", "megabytes"]

_REDRAW_S = 0.1
_CELLS = 30


def megabytes(n_bytes: float) -> str:
    """Return a size as people read it."""
    return f"{n_bytes / 1e6:,.1f} MB"


class Bar:
    """Shows how much of `n_bytes` has arrived; a context manager."""

    def __init__(self, label: str, n_bytes: int, out: TextIO | None = None) -> None:
        self._label = label
        self._total = n_bytes
        self._out = out if out is not None else sys.stdout
        self._live = self._out.isatty()
        self._began = self._drawn = time.monotonic()
        self._tenths = 0
        self._most = 0

    def __enter__(self) -> Self:
        print(f"Fetching {self._label} ({megabytes(self._total)})", file=self._out, flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            print(file=self._out, flush=True)

    def show(self, n_bytes: int) -> None:
        """Show `n_bytes` of the total; never goes backwards."""
        self._most = max(self._most, min(n_bytes, self._total))
        now = time.monotonic()
        if self._live and (now - self._drawn > _REDRAW_S or self._most == self._total):
            self._drawn = now
            print(f"\r{self._line(now, cells=_CELLS)}", end="", file=self._out, flush=True)
        elif not self._live and self._most * 10 // self._total > self._tenths:
            self._tenths = self._most * 10 // self._total
            print(f"  {self._line(now, cells=0)}", file=self._out, flush=True)

    def _line(self, now: float, cells: int) -> str:
        share = self._most / self._total
        full = int(share * cells)
        bar = f"[{'#' * full}{'.' * (cells - full)}] " if cells else ""
        rate = self._most / max(now - self._began, 0.001)
        done = f"{self._most / 1e6:.1f} of {megabytes(self._total)}"
        return f"{bar}{share:4.0%} {done}, {megabytes(rate)}/s "
