"""Reading the lock files: what pip is told, and which versions are in them.

Knows where they lie and their form, not what is in which (lock.py, which writes them).
"""

import re
from pathlib import Path

__all__ = ["LOCKS", "ROOT", "locked", "pins"]

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "tools" / "locks"


def locked(name: str) -> list[str]:
    """Return pip's arguments for all that is in one lock file, and nothing besides."""
    return ["--require-hashes", "-r", str(LOCKS / f"{name}.txt")]


def pins(name: str) -> dict[str, list[str]]:
    """Return package -> its versions: several where Pythons or systems take different ones."""
    found: dict[str, list[str]] = {}
    text = (LOCKS / f"{name}.txt").read_text("utf-8")
    for package, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text):
        found.setdefault(package, []).append(version)
    return found
