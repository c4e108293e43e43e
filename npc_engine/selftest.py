"""Does this library build survive this CPU? Tried in a child process, once per build.

Owns that question for AMX: gcc 12 compiles llama.cpp's AMX code wrongly, and the first batch of two
or more tokens ends the process. A child that dies says so without taking the player's engine along.
It knows nothing of settings; `loading` acts on the answer.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from npc_engine.errors import ModelError
from npc_engine.llama import Llama, Span
from npc_engine.llama_model import Model, build_id, system_info
from npc_engine.measurements import cpu_name, keep, recall

__all__ = ["extra_bufts_work", "known_answer", "main", "uses_amx"]

log = logging.getLogger("npc_engine.selftest")

KIND = "self-test"
TIMEOUT_S = 120.0
N_TOKENS = 32
N_THREADS = 2
BAD_MODEL = 20  # exit status; not 3, which is how Windows ends a process that aborts
# SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, and their likes on Windows. Anything else (it hung, it
# was killed when memory ran out) says nothing of the library: it is tried again the next time.
CRASHES = (-4, -6, -7, -8, -11, 0xC0000005, 0xC000001D, 0xC0000409)
CHILD_VARIABLE = "NPC_ENGINE_SELFTEST"
ADVICE = "It goes on without that code, slower. Rebuild it with `make setup`, or with clang 16+."


def extra_bufts_work(path: Path, fresh: bool = False) -> bool:
    """Say whether models may be loaded with llama.cpp's extra buffer types (AMX, repacking).

    True where the library has no AMX code. Otherwise a child process decodes 32 tokens with the
    model at `path`, once per library build and CPU; `fresh` tries again. Never raises: a model that
    cannot be loaded is no fault of AMX, and loading it tells the reason.
    """
    if not uses_amx():
        return True
    known = None if fresh else known_answer()
    works = _try(path) if known is None else known
    if not works:
        log.warning("This llama.cpp build crashes on this CPU (gcc 12 and AMX). %s", ADVICE)
    return works


def known_answer() -> bool | None:
    """Return what `extra_bufts_work` would say without trying; None when it has to try."""
    if not uses_amx():
        return True
    known = recall(KIND, _key())
    return known if isinstance(known, bool) else None


def uses_amx() -> bool:
    """Say whether the library was built with AMX code."""
    return "AMX_INT8 = 1" in system_info()


def _key() -> str:
    return f"{build_id()} | {cpu_name()}"


def _try(path: Path) -> bool:
    """Ask a child process; only an answer about the library is kept."""
    command = _command(path)
    # A game that is frozen into one file with the engine would start itself, and so on for ever.
    if command is None or CHILD_VARIABLE in os.environ:
        return False
    log.info("Testing this llama.cpp build, once")
    status = _run(command)
    if status == BAD_MODEL:
        return True
    log.debug("self-test: exit status %s", status)
    if status == 0 or status in CRASHES:
        keep(KIND, _key(), status == 0)
    return status == 0


def _command(path: Path) -> list[str] | None:
    """Return the command line of the child; None where none can be told."""
    name = Path(sys.executable or "").stem.lower()
    if getattr(sys, "frozen", False):
        return [sys.executable, "selftest", str(path)] if name.startswith("npc") else None
    if name.startswith(("python", "pypy")):
        return [sys.executable, "-m", "npc_engine.selftest", str(path)]
    return None  # an embedded Python: this executable is somebody's game


def _run(command: Sequence[str]) -> int | None:
    """Return the child's exit status, None when it hangs or cannot be started."""
    # The child must find what this process found, wherever that got its sys.path from.
    places = os.pathsep.join(p for p in sys.path if p)
    try:
        return subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            env={**os.environ, "PYTHONPATH": places, CHILD_VARIABLE: "1"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ).returncode
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:  # ValueError: a NUL
        log.debug("self-test: %s", e)
        return None


def main(argv: Sequence[str]) -> int:
    """Run the child: decode 32 tokens with the model `argv[0]`; 0 = all went well."""
    _no_core_file()
    try:
        model = Model(argv[0])
        llama = Llama(model, n_cells=2 * N_TOKENS, n_batch=N_TOKENS, n_threads=N_THREADS)
    except ModelError:
        return BAD_MODEL
    tokens = [i % model.n_vocab for i in range(N_TOKENS)]
    llama.decode([Span(0, 0, tokens, True)])
    llama.close()
    model.close()
    return 0


def _no_core_file() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
