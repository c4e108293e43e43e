"""What commands print on stdout, wherever that goes. It knows no colours: that is `terminal`."""

import importlib.util
import sys

from npc_engine.errors import SetupError

__all__ = ["need_rich", "write"]


def write(text: str, end: str = "\n", flush: bool = True) -> None:
    """Write to stdout, whatever letters its encoding lacks. Raises OSError where nobody reads it.

    Without `flush` that may come later, for whoever has more to do than to tell of it.
    """
    if sys.stdout is None:  # closed, or a program with windows and no console
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write((text + end).encode(encoding, "replace").decode(encoding))
    if flush:
        sys.stdout.flush()


def need_rich() -> None:
    """Raise SetupError where `terminal` cannot be imported."""
    if importlib.util.find_spec("rich") is None:
        raise SetupError(
            "What is shown in the terminal needs the package rich, which is not installed.",
            "Install it: pip install rich",
        )
