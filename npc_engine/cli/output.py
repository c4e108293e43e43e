"""What commands print on stdout, wherever that goes. It knows no colours: that is `terminal`."""

import sys

__all__ = ["write"]


def write(text: str, end: str = "\n") -> None:
    """Write to stdout, whatever letters its encoding lacks."""
    if sys.stdout is None:  # closed, or a program with windows and no console
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write((text + end).encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()
