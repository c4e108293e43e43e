"""Does this library build survive this CPU? Tried in a child process, once per build.

Owns that question for AMX: gcc 12 compiles llama.cpp's AMX code wrongly, and the first batch of two
or more tokens ends the process. A child that dies says so without taking the player's engine along.
It knows nothing of settings; `loading` acts on the answer.

Rules
 1. A child that has crashed is asked again at once. That the fast code works is believed then when
    it has passed twice in a row: a machine short of something may fail once.
 2. A yes is kept for good, for this build and CPU. A no is asked again at later starts, after an
    hour, then 4, 16 ...; and after a month nothing is known any more.
 3. What is no answer about the library (it hung, it was killed) is not kept. Nor is a crash that
    the same model causes without the fast code: then the model is refused.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from npc_engine.errors import ModelError
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.measurements import cpu_name, day_of, keep, recall
from npc_engine.llama.model import Model, build_id, system_info

__all__ = ["ADVICE", "Answer", "last_answer", "main", "self_test", "uses_amx"]

log = logging.getLogger("npc_engine.llama.selftest")

KIND = "self-test"
TIMEOUT_S = 120.0
N_TOKENS = 32
N_THREADS = 2
BAD_MODEL = 20  # exit status; not 3, which is how Windows ends a process that aborts
# SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, and their likes on Windows. Anything else (it hung, it
# was killed when memory ran out) says nothing of the library: it is tried again the next time.
CRASHES = (-4, -6, -7, -8, -11, 0xC0000005, 0xC000001D, 0xC0000409)
N_PASSES = 2  # rule 1
PAUSE_S, GROWTH, EXPIRES_S = 3600.0, 4, 30 * 86400.0  # rule 2
PLAIN = "plain"  # tells a child to go without the fast code
CHILD_VARIABLE = "NPC_ENGINE_SELFTEST"
ADVICE = (
    "It goes on without that code, at half the speed or less. Rebuild it with `make setup`; "
    "`npc-engine doctor --model M --retest` asks again."
)

_Time = Annotated[float, msgspec.Meta(ge=0, le=1 << 33)]


class Answer(msgspec.Struct, frozen=True):
    """Whether models may be loaded with llama.cpp's extra buffer types (AMX, repacking).

    `cause`: why not. `at`: when that was found out, in seconds since 1970; 0 where nothing had to
    be. `n_bad`: how many starts have found it out, one after the other.
    """

    works: bool
    cause: str = ""
    at: _Time = 0.0
    n_bad: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0

    @property
    def slow(self) -> str:
        """Why the engine runs without its fast code, as a sentence; "" when it does not."""
        if self.works:
            return ""
        when = f" (tested {day_of(self.at)})" if self.at else ""
        return f"llama.cpp's fast code (AMX) is not used on this CPU: {self.cause}{when}."


def self_test(path: Path, fresh: bool = False) -> Answer:
    """Find out whether the extra buffer types work, or say what is known of it.

    They do where the library has no AMX code. Otherwise a child process decodes 32 tokens with the
    model at `path`; `fresh` asks again whatever is known. A model that cannot be loaded is no fault
    of AMX, and loading it tells the reason. Raises ModelError for one that would end this process.
    """
    known = last_answer()
    if uses_amx() and (fresh or known is None or _is_due(known)):
        known = _try(path, known)
    answer = known or Answer(works=True)
    if not answer.works:
        log.warning("%s %s", answer.slow, ADVICE)
    return answer


def last_answer() -> Answer | None:
    """Return what is known without trying; None when nothing is."""
    if not uses_amx():
        return Answer(works=True)
    try:
        known = msgspec.convert(recall(KIND, _key()), Answer)
    except msgspec.ValidationError:  # nothing is kept, or what another version wrote
        return None
    return known if known.works or _age(known) < EXPIRES_S else None


def _is_due(answer: Answer) -> bool:
    """Rule 2."""
    return not answer.works and _age(answer) >= PAUSE_S * GROWTH ** (answer.n_bad - 1)


def _age(answer: Answer) -> float:
    """Seconds since an answer; for ever when it is from the future: a clock was put back."""
    age = time.time() - answer.at
    return age if age >= 0 else EXPIRES_S


def uses_amx() -> bool:
    """Say whether the library was built with AMX code."""
    return "AMX_INT8 = 1" in system_info()


def _key() -> str:
    return f"{build_id()} | {cpu_name()}"


def _try(path: Path, known: Answer | None) -> Answer:
    """Ask a child process; only an answer about the library is kept."""
    command = _command(path)
    # A game that is frozen into one file with the engine would start itself, and so on for ever.
    if command is None or CHILD_VARIABLE in os.environ:
        return Answer(works=False, cause="it cannot be tested from within this program")
    log.info("Testing this llama.cpp build, once")
    status = _ask(command)
    if status == BAD_MODEL:
        return Answer(works=True)
    log.debug("self-test: exit status %s", status)
    if status in CRASHES and _run([*command, PLAIN]) in CRASHES:
        raise ModelError(
            f"{path.name!r} makes llama.cpp crash, with and without its fast code: "
            f"{_words(status)}.",
            "Use another model: docs/models.md lists some.",
        )
    n_bad = 1 + (known.n_bad if known else 0) if status else 0
    answer = Answer(works=status == 0, cause=_words(status), at=time.time(), n_bad=n_bad)
    if status == 0 or status in CRASHES:
        keep(KIND, _key(), msgspec.to_builtins(answer))
    return answer


def _ask(command: Sequence[str]) -> int | None:
    """Return the exit status of a child, by rule 1 of several."""
    status = _run(command)
    if status not in CRASHES:
        return status
    for _ in range(N_PASSES):
        status = _run(command)
        if status != 0:
            break
    # A model that was whole and is bad now, or no child at all: nobody can tell.
    return status if status in (0, *CRASHES) else None


def _words(status: int | None) -> str:
    if status == 0:
        return ""
    if status is None:
        return f"its self-test did not start, or not end in {TIMEOUT_S:.0f} s"
    if status not in CRASHES:
        return f"its self-test ended with exit status {status}"
    how = signal.Signals(-status).name if status < 0 else f"status {status:#x}"
    return f"its self-test crashed ({how})"


def _command(path: Path) -> list[str] | None:
    """Return the command line of the child; None where none can be told."""
    name = Path(sys.executable or "").stem.lower()
    if getattr(sys, "frozen", False):
        return [sys.executable, "selftest", str(path)] if name.startswith("npc") else None
    if name.startswith(("python", "pypy")):
        return [sys.executable, "-m", "npc_engine.llama.selftest", str(path)]
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
    """Run the child: decode 32 tokens with the model `argv[0]`; 0 = all went well.

    A second argument `plain`: without the extra buffer types.
    """
    _no_core_file()
    try:
        model = Model(argv[0], extra_bufts=PLAIN not in argv[1:])
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
