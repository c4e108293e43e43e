"""The steps of the set-up, each skipped when its result is there already.

Owns `.venv` and its stamps: the environment, the packages of the lock file, llama-cpp-python built
for this CPU, the project itself in editable form, the model. A step that is cut short leaves no
stamp and is done again.
"""

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from build_llama import Build, cache_root, folder_for, wheel_for
from compilers import Compiler, choose_here, wanted_here
from live import StepFailed, run_logged
from pins import LOCKS, locked
from zig import NotThere

__all__ = [
    "BUILD_RECORD",
    "build_here",
    "environment",
    "fit_model",
    "install_llama",
    "main",
    "once",
    "project_key",
    "script",
    "write_whole",
]

ROOT = Path(__file__).resolve().parent.parent
BUILD_RECORD = "npc-engine-build.json"
_STAMP = "npc-engine-setup.json"
_NETWORK = "What to do: check the network and the free disk space, then run `make setup` again."


def main() -> int:
    """Run every step; return the exit status."""
    try:
        _set_up(ROOT, ROOT / ".venv")
    except StepFailed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\nThe set-up cannot write or run something: {error}.", file=sys.stderr)
        print("Check the free disk space and the permissions of this folder.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. `make setup` goes on from here.", file=sys.stderr)
        return 130
    return 0


def _set_up(root: Path, env: Path) -> None:
    python = environment(env)
    _install_packages(env, python)
    compiler, build = build_here(env, python)
    install_llama(env, python, build, compiler.advice)
    _install_project(root, env, python)
    _check_library(python, build)
    _fetch_model(root, python)
    fit_model(root, env, python, build.wheel.parent.name)
    print(f"Ready: {_relative(script(env, 'npc-engine'))}")


def build_here(env: Path, python: Path) -> tuple[Compiler, Build]:
    """Return the wheel for this machine, building it if need be, and what built it.

    Where zig cannot be fetched, another compiler builds, unless NPC_ENGINE_CC insists.
    """
    compiler = choose_here()
    try:
        return compiler, _built_by(compiler, env, python)
    except NotThere:
        if wanted_here():
            raise
        print("zig could not be fetched, so another compiler builds.", flush=True)
    compiler = choose_here(zig=False)
    return compiler, _built_by(compiler, env, python)


def _built_by(compiler: Compiler, env: Path, python: Path) -> Build:
    if _read_stamp(env).get("llama") != folder_for(compiler).name:
        _say(compiler)
    return wheel_for(compiler, python)


def project_key(root: Path) -> str:
    """Return a hash of all that decides what the project's installation looks like."""
    text = (root / "pyproject.toml").read_bytes()
    place = f"{root}\n{sys.version}\n".encode()
    return hashlib.sha256(place + text).hexdigest()[:16]


def write_whole(path: Path, text: str) -> None:
    """Write a file so that an interruption leaves the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def environment(env: Path) -> Path:
    """Make `.venv`, unless there is one that works with this Python."""
    python = script(env, "python")
    # A copied or moved environment has scripts that run the one it was copied from.
    moved = _read_stamp(env).get("env", str(env)) != str(env)
    if moved or not _works(python):
        print(f"Creating {_relative(env)} with Python {sys.version.split()[0]}", flush=True)
        try:
            venv.create(env, clear=True, symlinks=os.name != "nt", with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise StepFailed(
                f"Cannot create {env}: {error}. Check that the folder can be written to and that "
                "venv is complete (Debian, Ubuntu: apt install python3-venv)."
            ) from error
        write_whole(env / _STAMP, json.dumps({"env": str(env)}))
    return python


def _works(python: Path) -> bool:
    """Say whether the environment is whole (pip comes last) and of this Python's version."""
    probe = f"import pip, sys; print(sys.version_info[:2] == {sys.version_info[:2]!r})"
    try:
        done = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "True"


def _say(compiler: Compiler) -> None:
    print(f"Compiler: {compiler.name}: {compiler.why}.", flush=True)
    if compiler.flags:
        print(f"  flags: {' '.join(compiler.flags)}")
    if compiler.advice:
        print(f"  {compiler.advice}")


def install_llama(env: Path, python: Path, build: Build, advice: str) -> None:
    """Install the wheel, and put its record where the engine looks for it (`sys.prefix`)."""
    pip = ("--force-reinstall", "--no-deps", str(build.wheel))
    # The folder names compiler, flags and CPU; the wheel's own name is always the same.
    once(env, "llama", build.wheel.parent.name, python, "Installing llama-cpp-python", *pip)
    record = {**build.record, "advice": advice}
    write_whole(env / BUILD_RECORD, json.dumps(record, indent=2) + "\n")


def _install_packages(env: Path, python: Path) -> None:
    key = hashlib.sha256((LOCKS / "project.txt").read_bytes()).hexdigest()[:16]
    once(env, "packages", key, python, "Installing what NPC Engine needs", *locked("project"))


def _install_project(root: Path, env: Path, python: Path) -> None:
    # What it needs is there, in the versions of the lock file; so is what builds it.
    pip = ("--no-deps", "--no-build-isolation", "--editable", str(root))
    once(env, "project", project_key(root), python, "Installing NPC Engine", *pip)


def _check_library(python: Path, build: Build) -> None:
    """Raise StepFailed if the library does not load: the reason is worth more now than later."""
    command = [str(python), "-c", "import llama_cpp"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise StepFailed(
            f"{done.stderr.strip()}\n\nllama.cpp was built, but does not load. Delete "
            f"{build.wheel.parent} and run `make setup` again; if that does not help, choose "
            "another compiler: NPC_ENGINE_CC=gcc make setup (or clang, or zig)."
        )


def once(env: Path, step: str, key: str, python: Path, label: str, *arguments: str) -> None:
    """Run `pip install` unless the stamp says that this step was finished with this key."""
    stamp = _read_stamp(env)
    if stamp.get(step) == key:
        return
    # Unstamped first: an installation cut short matches no key, not even the one before it.
    write_whole(env / _STAMP, json.dumps({k: v for k, v in stamp.items() if k != step}))
    log = cache_root() / "logs" / f"pip-{step}.log"
    run_logged([str(python), "-m", "pip", "install", *arguments], label, log, help=_NETWORK)
    write_whole(env / _STAMP, json.dumps({**stamp, step: key}, indent=2) + "\n")


def _fetch_model(root: Path, python: Path) -> None:
    done = subprocess.run([python, root / "models" / "fetch.py", "smollm2"])
    if done.returncode != 0:
        raise StepFailed("The model could not be fetched (the reason stands above).")


def fit_model(root: Path, env: Path, python: Path, key: str) -> None:
    """Requantize the model where that suits this CPU and build, named by `key`: once.

    A failure is only told: the model talks as it is.
    """
    if _read_stamp(env).get("fit") == key:
        return
    print("Looking for the quantization that suits this CPU", flush=True)
    done = subprocess.run([python, root / "models" / "fit.py"])
    if done.returncode == 0:
        write_whole(env / _STAMP, json.dumps({**_read_stamp(env), "fit": key}, indent=2) + "\n")


def _read_stamp(env: Path) -> dict[str, str]:
    try:
        stamp = json.loads((env / _STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def script(env: Path, name: str) -> Path:
    """Return where an environment has a program of that name."""
    return env / "Scripts" / f"{name}.exe" if os.name == "nt" else env / "bin" / name


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)
