"""What this computer and this llama.cpp build are: facts for `doctor`, all of plain JSON types.

Owns where each fact is found on each system; what cannot be found out is None. It knows no model
and judges nothing.
"""

import json
import os
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from npc_engine.llama.measurements import cpu_name
from npc_engine.llama.model import LIBRARY_VERSION, system_info
from npc_engine.llama.selftest import last_answer, uses_amx

__all__ = ["BUILD_RECORD", "computer", "library"]

BUILD_RECORD = "npc-engine-build.json"  # written into sys.prefix by tools/install.py

# What decides the speed, as the build, /proc/cpuinfo on x86 and /proc/cpuinfo on ARM spell it.
FEATURES = {
    "avx2": ("AVX2", "avx2"),
    "avx512": ("AVX512", "avx512f"),
    "avx512_vnni": ("AVX512_VNNI", "avx512_vnni"),
    "avx_vnni": ("AVX_VNNI", "avx_vnni"),
    "amx_int8": ("AMX_INT8", "amx_int8"),
    "neon": ("NEON", "asimd"),
    "dotprod": ("DOTPROD", "asimddp"),
    "i8mm": ("MATMUL_INT8", "i8mm"),
}


def computer() -> dict[str, Any]:
    """Return Python, platform, CPU and RAM. Sizes in bytes."""
    memory = psutil.virtual_memory()
    return {
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "n_physical": psutil.cpu_count(logical=False),
        "n_logical": psutil.cpu_count(logical=True),
        "features": _cpu_features(),
        "busy": _busy(),
        "ram_total": memory.total,
        "ram_free": memory.available,
    }


def library() -> dict[str, Any]:
    """Return which llama.cpp build this is, what it uses of the CPU, and its self-test's answer."""
    info = system_info()
    record = _build_record()
    tested = last_answer()
    return {
        "llama_cpp_python": LIBRARY_VERSION,
        "compiler": record.get("compiler"),
        "flags": record.get("flags"),
        "advice": record.get("advice") or None,
        "openmp": _has(info, "OPENMP"),
        "repack": _has(info, "REPACK"),
        "amx": uses_amx(),
        "extra_bufts_work": tested.works if tested else None,
        "self_test": msgspec.to_builtins(tested) if tested and tested.at else None,
        "features": [name for name, (flag, _) in FEATURES.items() if _has(info, flag)],
    }


def _has(info: str, flag: str) -> bool:
    return re.search(rf"\b{flag} = 1\b", info) is not None


def _cpu_features() -> list[str] | None:
    """What the CPU offers, whether the build uses it or not; None where the system hides it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.lower().startswith(("flags", "features")):
                flags = set(line.partition(":")[2].split())
                return [name for name, (_, flag) in FEATURES.items() if flag in flags]
    return None


def _busy() -> float | None:
    """Other work per core in the last minute, 1.0 = all busy; None where the system hides it."""
    if not hasattr(os, "getloadavg"):
        return None
    with suppress(OSError):
        return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    return None


def _build_record() -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        record = json.loads((Path(sys.prefix) / BUILD_RECORD).read_text("utf-8"))
        # A library that was installed over it since is not the one that the record tells of.
        if isinstance(record, dict) and record.get("llama_cpp_python") == LIBRARY_VERSION:
            return record
    return {}
