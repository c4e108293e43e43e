"""Which compiler builds llama.cpp on this machine, with which flags, and why.

Owns the choice: on Linux zig from the package index; where that is not to be had clang 16 or newer
with OpenMP, else gcc with AMX off; the default build on Windows and macOS. Does not know how the
build is run or kept, nor how zig is fetched.
"""

import ctypes
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from live import StepFailed

__all__ = [
    "AMX_OFF",
    "ZIG_VERSION",
    "Compiler",
    "Found",
    "choose",
    "choose_here",
    "probe_clang",
    "probe_gcc",
    "wanted_here",
]

ZIG_VERSION = "0.15.2"
# gcc drops the tile configuration around AMX code: the first decode of two tokens crashes.
AMX_OFF = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")
# GGML_NATIVE stays on: the wheel is for this CPU alone, and the cache key says so.
_ALWAYS = ("-DGGML_NATIVE=ON",)
_OLDEST_CLANG = 16
_CLANGS = ("clang", *(f"clang-{n}" for n in range(22, _OLDEST_CLANG - 1, -1)))
_ZIG_MACHINES = ("x86_64", "amd64", "aarch64", "arm64")
_FASTER = (
    "This CPU has AMX, which gcc's code cannot use: zig, from the package index, builds code that "
    "reads up to 4 times faster: NPC_ENGINE_CC=zig make setup"
)
_OPENMP_PROGRAM = """
#include <omp.h>
#include <vector>
int main() {
    std::vector<int> seen(1, 0);
#pragma omp parallel
    {
#pragma omp atomic
        seen[0] += 1;
    }
    return seen[0] == 0 || omp_get_max_threads() < 1;
}
"""
_PLAIN_PROGRAM = "#include <vector>\nint main() { return std::vector<int>(1, 0)[0]; }\n"


@dataclass(frozen=True)
class Found:
    """One C and C++ compiler pair on this machine, as probed."""

    cc: str
    cxx: str
    version: str
    openmp: bool
    amx_flags: bool = False
    """Whether it knows the flags that switch AMX off."""

    @property
    def major(self) -> int:
        """The first number of the version."""
        return int(self.version.split(".")[0])


@dataclass(frozen=True)
class Compiler:
    """The choice: what builds, with which compiler flags and CMake definitions, and the reason."""

    kind: str
    """`clang`, `gcc`, `zig` or `default` (whatever CMake finds)."""
    version: str
    cc: str = ""
    cxx: str = ""
    flags: tuple[str, ...] = ()
    cmake: tuple[str, ...] = _ALWAYS
    why: str = ""
    advice: str = ""

    @property
    def name(self) -> str:
        """Kind and version, as written into the build's record."""
        return f"{self.kind} {self.version}".strip()


Probe = Callable[[], Found | None]


def choose(
    clang: Probe,
    gcc: Probe,
    *,
    system: str,
    machine: str = "x86_64",
    wanted: str = "",
    amx: bool = False,
    zig: bool = True,
) -> Compiler:
    """Return the compiler to build with on `system` and `machine` (as `platform` spells them).

    `amx`: whether this CPU has AMX, where it is worth fetching another compiler.
    `wanted` is NPC_ENGINE_CC: empty, `clang`, `gcc` or `zig`. `zig` is False where it could not be
    fetched. A probe is only called if its answer matters. Raises StepFailed when the wanted
    compiler is unknown or cannot build, and when there is none.
    """
    if wanted not in ("", "clang", "gcc", "zig"):
        raise StepFailed(f"NPC_ENGINE_CC is {wanted!r}; it may be gcc, clang or zig.")
    if wanted == "clang":
        return _use_clang(_insist("clang", clang()), "NPC_ENGINE_CC asks for it")
    if wanted == "gcc":
        return _use_gcc(_insist("gcc", gcc()), "NPC_ENGINE_CC asks for it", amx)
    can_zig = system == "Linux" and machine.lower() in _ZIG_MACHINES
    if wanted == "zig":
        return _use_zig(can_zig, "NPC_ENGINE_CC asks for it")
    if system in ("Windows", "Darwin"):
        return _default_build(system)
    # Without AMX, too: benchmarks/gcc_or_zig.py.
    if can_zig and zig:
        return _use_zig(can_zig, "zig with LLVM's OpenMP makes the fastest code")
    return _use_what_is_here(clang(), gcc, amx)


def choose_here(*, zig: bool = True) -> Compiler:
    """Return the choice for this machine and environment; CMAKE_ARGS adds the user's own."""
    chosen = choose(
        probe_clang,
        probe_gcc,
        system=platform.system(),
        machine=platform.machine(),
        wanted=wanted_here(),
        amx=_has_amx(),
        zig=zig,
    )
    own = shlex.split(os.environ.get("CMAKE_ARGS", ""))
    return replace(chosen, cmake=(*chosen.cmake, *own))


def wanted_here() -> str:
    """Return what NPC_ENGINE_CC asks for, an empty text for nothing."""
    return os.environ.get("NPC_ENGINE_CC", "").strip().lower()


def probe_clang() -> Found | None:
    """Return the first clang of 16 or newer that has OpenMP, else the first that builds at all."""
    without: Found | None = None
    for name in _CLANGS:
        found = _probe(name, name.replace("clang", "clang++"))
        if found is None or found.major < _OLDEST_CLANG:
            continue
        if found.openmp:
            return found
        without = without or found
    return without


def probe_gcc() -> Found | None:
    """Return the machine's gcc, if it compiles C++ too."""
    return _probe("gcc", "g++")


def _insist(name: str, found: Found | None) -> Found:
    if found is None:
        raise StepFailed(
            f"NPC_ENGINE_CC asks for {name}, but no {name} that compiles C and C++ was found"
            f"{f' (it must be {_OLDEST_CLANG} or newer)' if name == 'clang' else ''}. "
            "Install it, or unset NPC_ENGINE_CC to let the set-up choose."
        )
    return found


def _use_what_is_here(clang: Found | None, gcc: Probe, amx: bool) -> Compiler:
    if clang and clang.openmp:
        return _use_clang(clang, "zig is not to be had, and a clang of 16 or newer is as good")
    if found := gcc():
        return _use_gcc(found, "neither zig nor a clang of 16 or newer is to be had", amx)
    raise StepFailed(
        "There is no C and C++ compiler here, and zig could not be fetched from the package index. "
        "Check the network, or install a compiler (Debian, Ubuntu: apt install g++), and run "
        "`make setup` again."
    )


def _use_clang(found: Found, why: str) -> Compiler:
    cmake = _ALWAYS if found.openmp else (*_ALWAYS, "-DGGML_OPENMP=OFF")
    advice = "" if found.openmp else f"This clang has no OpenMP (package libomp-{found.major}-dev)."
    return Compiler("clang", found.version, found.cc, found.cxx, (), cmake, why, advice)


def _use_gcc(found: Found, why: str, amx: bool) -> Compiler:
    flags = AMX_OFF if found.amx_flags else ()
    cmake = _ALWAYS if found.openmp else (*_ALWAYS, "-DGGML_OPENMP=OFF")
    advice = _FASTER if amx else ""
    return Compiler("gcc", found.version, found.cc, found.cxx, flags, cmake, why, advice)


def _use_zig(can_zig: bool, why: str) -> Compiler:
    if not can_zig:
        raise StepFailed(
            "NPC_ENGINE_CC asks for zig, which builds on Linux alone, for x86-64 and aarch64. "
            "Unset it to let the set-up choose."
        )
    return Compiler("zig", ZIG_VERSION, cmake=_ALWAYS, why=why)


def _default_build(system: str) -> Compiler:
    whose = "Apple's clang, with Metal" if system == "Darwin" else "Microsoft's compiler"
    why = f"on {system} llama-cpp-python's default build is used: {whose}"
    return Compiler("default", system, cmake=(), why=why)


def _probe(cc: str, cxx: str) -> Found | None:
    """Try a pair of compilers by compiling and running a small C++ program with OpenMP."""
    cc_path, cxx_path = shutil.which(cc), shutil.which(cxx)
    if cc_path is None or cxx_path is None:
        return None
    version = _version(cc_path)
    if version is None or not _builds(cxx_path, _PLAIN_PROGRAM):
        return None
    clang = "clang" in cc
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return Found(
        cc=cc_path,
        cxx=cxx_path,
        version=version,
        openmp=_builds(cxx_path, _OPENMP_PROGRAM, "-fopenmp") and (not clang or _loads_libomp()),
        amx_flags=x86 and not clang and _builds(cxx_path, _PLAIN_PROGRAM, *AMX_OFF),
    )


def _has_amx() -> bool:
    """Say whether this CPU has AMX, as Linux tells it; elsewhere the default build is used."""
    try:
        words = Path("/proc/cpuinfo").read_text("utf-8", "replace").split()
    except OSError:
        return False
    return "amx_tile" in words


def _loads_libomp() -> bool:
    """Say whether the system's loader finds LLVM's OpenMP library.

    The probe program alone would not tell: clang writes the library's folder into what it links,
    and the installation of the wheel takes it out again.
    """
    for name in ("libomp.so.5", "libomp.so"):
        with suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def _version(cc: str) -> str | None:
    # gcc's -dumpversion may be "12" alone; -dumpfullversion is gcc's, and clang ignores it.
    done = _output([cc, "-dumpfullversion", "-dumpversion"])
    match = re.match(r"\d+(\.\d+)*", done)
    return match.group() if match else None


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _builds(cxx: str, program: str, *flags: str) -> bool:
    """Say whether `program` compiles, links and exits with 0."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        binary = Path(folder, "probe.exe" if sys.platform == "win32" else "probe")
        source.write_text(program, "utf-8")
        for command in ([cxx, *flags, str(source), "-o", str(binary)], [str(binary)]):
            try:
                done = subprocess.run(command, capture_output=True, timeout=60)
            except (OSError, subprocess.TimeoutExpired):
                return False
            if done.returncode != 0:
                return False
    return True
