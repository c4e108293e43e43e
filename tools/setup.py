"""Make this checkout ready to use: `make setup`, or `python tools/setup.py`.

Owns the first question only: is this Python good enough? Written so that an old Python gets a
sentence and not a syntax error; the steps are in install.py.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable

__all__ = ["main", "problem"]

OLDEST = (3, 11)


def problem(version: tuple[int, int], has_module: Callable[[str], bool]) -> str:
    """Return the sentence for a Python that cannot do the set-up, or an empty string.

    `version` is (major, minor); `has_module` says whether a module of that name is there.
    """
    needed = ".".join(str(part) for part in OLDEST)
    if version < OLDEST:
        return (
            f"NPC Engine needs Python {needed} or newer, and this is {version[0]}.{version[1]}. "
            "Install one (Debian, Ubuntu: apt install python3 python3-venv) and name it: "
            f"make setup PYTHON=python{needed}"
        )
    for name in ("venv", "ensurepip"):
        if not has_module(name):
            return (
                f"This Python has no {name!r} module, which makes virtual environments. "
                "Install it (Debian, Ubuntu: apt install python3-venv) and run make setup again."
            )
    return ""


def main() -> None:
    """Check this Python, then run the steps."""
    here = (sys.version_info[0], sys.version_info[1])
    sentence = problem(here, lambda name: importlib.util.find_spec(name) is not None)
    if sentence:
        sys.exit(sentence)
    import install

    sys.exit(install.main())


if __name__ == "__main__":
    main()
