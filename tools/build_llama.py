"""Build llama-cpp-python for this CPU once, and keep the wheel in a user cache.

Owns the cache (one folder per version, compiler, flags, CPU and Python; a folder with a
`build.json` is whole) and that record's format. Does not choose the compiler (compilers.py) and
installs nothing into the project's environment.
"""

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zig
from compilers import Compiler
from live import StepFailed, run_logged
from pins import locked, pins

__all__ = [
    "LLAMA_VERSION",
    "Build",
    "cache_key",
    "cache_root",
    "cpu_flags",
    "folder_for",
    "has_openmp",
    "ninja_progress",
    "wheel_for",
]

LLAMA_VERSION = "0.3.36"
RECORD = "build.json"
# Image input is not used: leaving it out saves a fifth of the build.
_COMMON = ("-DLLAVA_BUILD=OFF",)
_INCLUDE = (Path(__file__).resolve().parent / "llama.cmake").as_posix()
# The instruction sets a compiler can use; other flags (mitigations, virtualisation) change with
# the kernel and would only cause needless builds.
_ISA = re.compile(
    r"(adx|aes|amx|avx|bmi|abm|cx16|f16c|fma|gfni|lahf|mmx|movbe|pclmul|popcnt|sha|sse|ssse"
    r"|vaes|vpclmul|xsave|asimd|sve|sme(?!p)|i8mm|bf16|crc32|fphp|neon|lse|atomics|rv|isa)"
)
_OPENMP_NAMES = (b"gomp_parallel", b"__kmpc_fork_call", b"vcomp140")
_FAILED = (
    "What to do: see that there is a working C and C++ compiler (Debian, Ubuntu: apt install g++; "
    "macOS: xcode-select --install; Windows: the C++ build tools of Visual Studio) and run "
    "`make setup` again. On Linux another compiler may do: `NPC_ENGINE_CC=gcc make setup`, or "
    "clang, or zig."
)


@dataclass(frozen=True)
class Build:
    """A finished wheel and its record."""

    wheel: Path
    record: dict[str, object]


def wheel_for(compiler: Compiler, python: Path) -> Build:
    """Return the wheel that `compiler` makes for this CPU, building it if the cache has none.

    `python` is the interpreter whose pip builds. Raises StepFailed when the build fails.
    """
    folder = folder_for(compiler)
    if build := _read(folder):
        return build
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The name of a half-made folder is never looked up; only the rename makes it count.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as making:
        _build(compiler, python, Path(making), folder.name)
        _publish(Path(making), folder)
    if build := _read(folder):
        return build
    raise StepFailed(f"The finished build in {folder} cannot be read. Delete that folder.")


def folder_for(compiler: Compiler) -> Path:
    """Return the cache folder of the wheel that `compiler` makes here, there or not."""
    return cache_root() / "wheels" / cache_key(compiler, cpu_flags(), _python_tag())


def cache_root(system: str | None = None) -> Path:
    """Return this user's cache folder of the project, by the custom of the system."""
    system = system or platform.system()
    if system == "Windows":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
    elif system == "Darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        base = Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache"
    return base / "npc-engine"


def cache_key(compiler: Compiler, cpu: Sequence[str], python_tag: str) -> str:
    """Return the cache folder's name: everything that could make another wheel is in it."""
    parts_of_zig = [f"{k}=={v}" for k, v in pins("zig").items()] if compiler.kind == "zig" else []
    flags = _hash(*compiler.flags, "|", *_COMMON, *compiler.cmake, *parts_of_zig)
    parts = (LLAMA_VERSION, compiler.kind, compiler.version, flags, _hash(*sorted(cpu)), python_tag)
    return "-".join(part for part in parts if part)


def cpu_flags() -> list[str]:
    """Return the instruction sets of this CPU, or what comes nearest on this system."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return [platform.machine(), *_cpu_of_other_systems()]
    words = {
        word
        for line in lines
        if line.lower().startswith(("flags", "features", "isa"))
        for word in line.partition(":")[2].split()
    }
    return sorted({platform.machine(), *(word for word in words if _ISA.match(word))})


def has_openmp(wheel: Path) -> bool:
    """Say whether a library in the wheel calls an OpenMP runtime: the truth, whatever was asked."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            library = archive.read(name).lower() if "ggml" in name else b""
            if any(openmp in library for openmp in _OPENMP_NAMES):
                return True
    return False


def ninja_progress(line: str) -> str | None:
    """Turn ninja's `[12/340] Building ...` (or make's `[ 12%]`) into what the user is shown."""
    if match := re.search(r"\[\s*(\d+)/(\d+)\]", line):
        return f"compiling {match[1]}/{match[2]}"
    if match := re.search(r"\[\s*(\d+)%\]", line):
        return f"compiling {match[1]} %"
    return None


def _build(compiler: Compiler, python: Path, folder: Path, key: str) -> None:
    """Make the wheel and its record in `folder`."""
    with tempfile.TemporaryDirectory(prefix="npc-engine-") as scratch:
        if compiler.kind == "zig":
            cmake = zig.fetch(python, Path(scratch, "zig"), cache_root() / "logs" / "zig.log")
        else:
            cmake = _cmake_compilers(compiler)
        tools = _fetch_tools(python, Path(scratch, "tools"))
        if compiler.flags:
            flags = " ".join(compiler.flags)
            cmake += [f"-DCMAKE_C_FLAGS={flags}", f"-DCMAKE_CXX_FLAGS={flags}"]
        asked = [*_COMMON, *compiler.cmake, *cmake, f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={_INCLUDE}"]
        # pip keeps built wheels by source alone, so without --no-cache-dir a wheel of an earlier
        # compiler would come back.
        command = [str(python), "-m", "pip", "wheel", "-v", "--no-cache-dir", "--no-deps"]
        # A wheel found in some folder or index was not built for this CPU.
        command += ["--no-binary", "llama-cpp-python", "--no-build-isolation", "-w", str(folder)]
        run_logged(
            [*command, *locked("llama")],
            f"Building llama.cpp with {compiler.name} (some minutes)",
            cache_root() / "logs" / f"build-{key}.log",
            help=_FAILED,
            env=_environment(asked, Path(scratch), tools),
            progress=ninja_progress,
        )
        record = _record(compiler, _wheel_in(folder), _defines_amx(compiler, cmake))
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _fetch_tools(python: Path, folder: Path) -> Path:
    """Fetch CMake, ninja and what runs them; pip would take the newest of each."""
    run_logged(
        [str(python), "-m", "pip", "install", "--target", str(folder), *locked("build")],
        "Fetching CMake and ninja",
        cache_root() / "logs" / "build-tools.log",
        help="What to do: check the network and the free disk space.",
    )
    return folder


def _environment(cmake: Sequence[str], scratch: Path, tools: Path) -> dict[str, str]:
    """Return what pip and CMake read: the definitions, the jobs, and where to put their rubbish.

    One job for each core: ninja's own two more only swap on a small machine. A pip that is
    interrupted leaves some hundred MB behind, so it works in a folder that is removed here.
    """
    temporary = scratch / "tmp"
    temporary.mkdir()
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    jobs = {"CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1)}
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, (str(tools), os.getenv("PYTHONPATH"))))}
    return {"CMAKE_ARGS": shlex.join(cmake), **jobs, **places, **paths}


def _record(compiler: Compiler, wheel: Path, amx: bool) -> dict[str, object]:
    return {
        "llama_cpp_python": LLAMA_VERSION,
        "compiler": compiler.name,
        "openmp": has_openmp(wheel),
        "amx": amx,
        "flags": " ".join(compiler.flags + compiler.cmake),
        "built_for": " ".join(cpu_flags()),
        "advice": compiler.advice,
    }


def _read(folder: Path) -> Build | None:
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        wheel = _wheel_in(folder)
    except (OSError, ValueError, StepFailed):
        return None
    return Build(wheel, record)


def _publish(made: Path, folder: Path) -> None:
    """Give a finished build its name; a twin that finished first wins."""
    try:
        made.rename(folder)
    except OSError:
        if _read(folder) is not None:
            return
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _wheel_in(folder: Path) -> Path:
    wheels = sorted(folder.glob("llama_cpp_python-*.whl"))
    if len(wheels) != 1:
        raise StepFailed(f"{folder} holds {len(wheels)} wheels of llama-cpp-python, not one.")
    return wheels[0]


def _cmake_compilers(compiler: Compiler) -> list[str]:
    if not compiler.cc:
        return []
    return [f"-DCMAKE_C_COMPILER={compiler.cc}", f"-DCMAKE_CXX_COMPILER={compiler.cxx}"]


def _defines_amx(compiler: Compiler, cmake: Sequence[str]) -> bool:
    """Ask the compiler whether code for this CPU, with these flags, uses AMX."""
    cc = next((c.partition("=")[2] for c in cmake if c.startswith("-DCMAKE_C_COMPILER=")), "")
    if not cc:
        return False
    command = [cc, "-march=native", *compiler.flags, "-dM", "-E", "-x", "c", os.devnull]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "__AMX_INT8__" in done.stdout


def _cpu_of_other_systems() -> list[str]:
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return [subprocess.run(command, capture_output=True, text=True).stdout.strip()]
    return [platform.processor()]


def _python_tag() -> str:
    return f"cp{sys.version_info.major}{sys.version_info.minor}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
