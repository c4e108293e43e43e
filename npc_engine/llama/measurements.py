"""What was measured on this computer, kept between runs; and which computer it is.

Owns small JSON files in the user's cache folder (NPC_ENGINE_CACHE_DIR, if set, is that folder).
A file that is damaged, or that cannot be written, only means measuring again: nothing here raises.
It does not know what is measured.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

__all__ = ["CACHE_VARIABLE", "cache_folder", "cpu_name", "day_of", "keep", "recall"]

CACHE_VARIABLE = "NPC_ENGINE_CACHE_DIR"
N_KEPT = 64  # per kind: other models, other builds of the library
MAX_BYTES = 1 << 20


def cache_folder() -> Path:
    """Return the folder of what can be measured again at any time."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own) if own else Path(platformdirs.user_cache_dir("npc-engine", appauthor=False))


def recall(kind: str, key: str) -> Any:
    """Return the JSON value kept under `key`, None when there is none. Check its shape."""
    return _read(kind).get(key)


def keep(kind: str, key: str, value: Any) -> None:
    """Keep a JSON value for the next run, if the disk allows."""
    others = {k: v for k, v in _read(kind).items() if k != key}
    kept = dict(list(others.items())[1 - N_KEPT :]) | {key: value}
    with suppress(OSError, RuntimeError):
        _write(_path(kind), json.dumps(kept, indent=1))


def day_of(at: float) -> str:
    """Return when something was measured, from seconds since 1970, as people read it here."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _path(kind: str) -> Path:
    return cache_folder() / f"{kind}.json"


def _read(kind: str) -> dict[str, Any]:
    try:
        with _path(kind).open("rb") as f:
            values = json.loads(f.read(MAX_BYTES))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home; too deeply nested
        return {}
    return values if isinstance(values, dict) else {}


def _write(path: Path, text: str) -> None:
    """Write a file whole: engines that start at the same time never read half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            f.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@cache
def cpu_name() -> str:
    """Return the processor's name as the system spells it, at least its architecture."""
    name = ""
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        name = _system_cpu_name()
    return " ".join((name or platform.processor() or platform.machine()).split())


def _system_cpu_name() -> str:
    if sys.platform == "win32":
        import winreg

        where = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, where) as cpu:
            return str(winreg.QueryValueEx(cpu, "ProcessorNameString")[0])
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5
        ).stdout
    for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2]
    return ""  # Linux on ARM has no such line
