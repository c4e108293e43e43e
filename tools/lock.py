"""The exact versions that the set-up installs, each with the hashes of its files: `make lock`.

Owns tools/locks/ and what is asked for in each file. `pip install npc-engine-llama` does not look
here: it takes what pyproject.toml allows, and `make test-newest` tries the newest of that.
"""

import re
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from build_llama import LLAMA_VERSION
from compilers import ZIG_VERSION
from pins import LOCKS, ROOT

__all__ = ["EXTRAS", "WANTED", "main"]

UV = "uv==0.13.9"
EXTRAS = ("bench", "chat", "dev")

WANTED: Mapping[str, tuple[str, ...]] = {
    # What builds the project itself comes along, so that pip needs no build environment of its own.
    "project": ("hatchling>=1.24", "editables"),
    "build": ("scikit-build-core[pyproject]>=0.9.2", "cmake>=3.21", "ninja"),
    "llama": (f"llama-cpp-python=={LLAMA_VERSION}",),
    "zig": (f"ziglang=={ZIG_VERSION}", "cmeel-libomp"),
    "gdtoolkit": ("gdtoolkit>=4.5,<5",),
}
"""File in tools/locks -> what is asked for in it; `project` has all of pyproject.toml, too."""


def main() -> int:
    """Write every file anew with the newest versions that fit; return the exit status."""
    uv = _uv(ROOT / "build" / "lock")
    for name, wanted in WANTED.items():
        command = [str(uv), "pip", "compile", "--quiet", "--upgrade", *_how(name), "-"]
        if name == "project":
            command += ["pyproject.toml", *(word for e in EXTRAS for word in ("--extra", e))]
        done = subprocess.run(
            command, cwd=ROOT, input="\n".join(wanted), capture_output=True, text=True
        )
        if done.returncode != 0:
            print(f"{name}: {done.stderr.strip()}", file=sys.stderr)
            return 1
        text = f"# Written by `make lock`: do not edit.\n{done.stdout}"
        (LOCKS / f"{name}.txt").write_text(text, "utf-8")
        print(f"tools/locks/{name}.txt: {len(re.findall('==', text))} versions")
    return 0


def _how(name: str) -> list[str]:
    """Return uv's flags: for every system and Python from 3.11 on, with no address of an index."""
    how = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"]
    how += ["--no-annotate", "--no-emit-index-url", "--no-config"]
    # llama-cpp-python is built for this CPU from a file of its own; what it needs is in `project`.
    if name == "project":
        return [*how, "--no-emit-package", "llama-cpp-python"]
    return [*how, "--no-deps"] if name in ("llama", "zig") else how


def _uv(env: Path) -> Path:
    folder = env / ("Scripts" if sys.platform == "win32" else "bin")
    venv.create(env, symlinks=sys.platform != "win32", with_pip=True)
    subprocess.run([folder / "python", "-m", "pip", "install", "--quiet", UV], check=True)
    return folder / "uv"


if __name__ == "__main__":
    sys.exit(main())
