"""zig, a whole C and C++ compiler from the package index, and LLVM's OpenMP library for it.

Owns how they are fetched and what CMake is told of them; llama.cmake sees to it that the finished
libraries find libomp beside them. Does not decide whether zig builds (compilers.py).
"""

import shlex
from pathlib import Path

from live import StepFailed, run_logged
from pins import locked

__all__ = ["NotThere", "fetch"]


class NotThere(StepFailed):
    """The package index has no zig for this machine, or cannot be reached."""


def fetch(python: Path, folder: Path, log: Path) -> list[str]:
    """Fetch zig and libomp into `folder`; return the CMake definitions that build with them.

    Raises NotThere. zig without a target compiles everything for this very CPU, also what is not
    asked to be: right for a wheel that stays on this machine, and only there.
    """
    site = folder / "site"
    # Few tries: where there is no network, another compiler builds.
    pip = [str(python), "-m", "pip", "install", "--no-deps", "--retries", "2"]
    try:
        run_logged(
            [*pip, "--target", str(site), *locked("zig")],
            "Fetching the zig compiler and OpenMP",
            log,
            help="",
        )
    except StepFailed as error:
        raise NotThere(str(error)) from None
    return [*_compilers(folder, site), *_openmp(site)]


def _compilers(folder: Path, site: Path) -> list[str]:
    """Write a script for each of zig's roles, for CMake takes no commands of two words."""
    roles = {"C_COMPILER": "cc", "CXX_COMPILER": "c++", "AR": "ar", "RANLIB": "ranlib"}
    return [f"-DCMAKE_{key}={_script(folder, site, role)}" for key, role in roles.items()]


def _script(folder: Path, site: Path, role: str) -> Path:
    zig, cache = site / "ziglang" / "zig", folder / "cache"
    path = folder / f"zig-{role}"
    # Without a cache of its own, zig leaves some hundred MB in the user's.
    places = f"ZIG_GLOBAL_CACHE_DIR={shlex.quote(str(cache))}"
    path.write_text(f'#!/bin/sh\n{places} exec {shlex.quote(str(zig))} {role} "$@"\n', "utf-8")
    path.chmod(0o755)
    return path


def _openmp(site: Path) -> list[str]:
    prefix = site / "cmeel.prefix"
    both = {"FLAGS": f"-fopenmp -I{prefix / 'include'}", "LIB_NAMES": "omp"}
    return [
        *(f"-DOpenMP_{lang}_{key}={value}" for lang in ("C", "CXX") for key, value in both.items()),
        f"-DOpenMP_omp_LIBRARY={prefix / 'lib' / 'libomp.so'}",
    ]
