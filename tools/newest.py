"""The fast tests with the newest release of every dependency: `make test-newest`.

`.venv` has the versions of tools/locks; whoever runs `pip install npc-engine-llama` gets the newest
that pyproject.toml allows. Owns an environment for those, made anew each time, and what is said of
them. llama-cpp-python stays the one of the lock: another one is a build of some minutes.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from build_llama import cache_root
from install import build_here, script
from live import StepFailed, run_logged
from pins import ROOT, pins

__all__ = ["differences", "main"]

_TESTS = (
    "-m",
    "pytest",
    "-q",
    "-n",
    "auto",
    "-m",
    "not model and not slow",
    "-p",
    "no:cacheprovider",
)
_NETWORK = "What to do: check the network and the free disk space."


def main() -> int:
    """Make the environment and run the tests in it; return their exit status."""
    try:
        python = _environment(ROOT / "build" / "newest")
    except StepFailed as error:
        print(f"\nmake test-newest: NOT TRIED\n{error}", file=sys.stderr)
        return 2
    newer = differences(_installed(python), pins("project"))
    print(
        f"Newest releases beside the locked ones: {'; '.join(newer) or 'all the same'}.", flush=True
    )
    status = subprocess.run([python, *_TESTS], cwd=ROOT).returncode
    if status == 0:
        print("make test-newest: passed with the newest release of everything.")
    else:
        print(
            f"make test-newest: FAILED with {'; '.join(newer) or 'the locked releases'}.\n"
            "With the locked versions (`make test`) the same tests tell whether the fault is in "
            "the code. If not: mend what the new release breaks, or bound it in pyproject.toml.",
        )
    return status


def differences(installed: Mapping[str, str], locked: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a text for each package that has another version than the lock file gives it."""
    return [
        f"{name} {version} (locked: {' or '.join(locked[name])})"
        for name, version in sorted(installed.items())
        if name in locked and version not in locked[name]
    ]


def _environment(env: Path) -> Path:
    """Install the newest of everything into `env`; return its Python."""
    venv.create(env, clear=True, symlinks=sys.platform != "win32", with_pip=True)
    python = script(env, "python")
    _, build = build_here(ROOT / ".venv", script(ROOT / ".venv", "python"))
    wanted = (str(build.wheel), "--editable", f"{ROOT}[bench,chat,dev]")
    run_logged(
        [str(python), "-m", "pip", "install", "--upgrade", *wanted],
        "Installing the newest release of everything into build/newest",
        cache_root() / "logs" / "pip-newest.log",
        help=_NETWORK,
    )
    return python


def _installed(python: Path) -> dict[str, str]:
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {
        each["name"].lower().replace("_", "-"): each["version"] for each in json.loads(done.stdout)
    }


if __name__ == "__main__":
    sys.exit(main())
