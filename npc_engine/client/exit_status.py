"""What the exit status of a child that was ended by its system means, and what to do about it.

Owns the numbers of Unix and Windows, and the sentences; the Godot and C# starters have the same. It
knows nothing of how a child is started.
"""

from typing import NamedTuple

from npc_engine.llama.measurements import cpu_name

__all__ = ["Death", "death"]


class Death(NamedTuple):
    """What happened, and what to do."""

    cause: str
    help: str


_INSTRUCTION = Death(
    "This computer's processor ({cpu}) lacks instructions that this build of the engine needs.",
    "Use a build that suits this processor: one that was made on this computer, or one that was "
    "made for all (llama.cpp with GGML_NATIVE=OFF).",
)
_CRASH = Death(
    "It crashed in native code.",
    "Run `npc-engine doctor` with the same model; if that crashes too, another build or file of "
    "the model may not.",
)
_ABORT = Death(
    "llama.cpp gave up.",
    "The last lines of the log say what it found; run `npc-engine doctor` with the same model.",
)
_MEMORY = Death(
    "It was ended from outside; mostly the system does that when memory runs out.",
    "Take a smaller model, --window or --slots, or close other programs.",
)
_FILE = Death(
    "A file could not be read to its end: the model was changed or its disk failed meanwhile, or "
    "the disk is full.",
    "Let the file of the model alone while the engine runs, and look at the disk.",
)
_LIBRARY = Death(
    "A library that it needs is missing, or is made for another kind of computer.",
    "Keep the engine's folder whole; on Windows install the Visual C++ redistributable (x64).",
)
_NOT_FOUND = Death(
    "The program, its interpreter or a library of it was not found.",
    "Keep the engine's folder whole, and give the path of the program itself.",
)
_NOT_PROGRAM = Death(
    "The file may not be executed, or is made for another system.",
    "Make it executable (chmod +x), and take the build for this system.",
)
_STOPPED = Death("Somebody ended it.", "Start it again.")

# Signals by their numbers: those that Linux and macOS share, SIGBUS on Linux (7) and macOS (10).
_SIGNALS = {
    2: _STOPPED,
    4: _INSTRUCTION,
    6: _ABORT,
    7: _FILE,
    8: _CRASH,
    9: _MEMORY,
    10: _FILE,
    11: _CRASH,
    15: _STOPPED,
    31: _INSTRUCTION._replace(
        cause="A sandbox forbids a system call that it needs.",
        help="Let the engine run outside of the sandbox, or allow what it asks for.",
    ),
}
# NTSTATUS values, without a sign.
_WINDOWS = {
    0xC000001D: _INSTRUCTION,
    0xC0000096: _INSTRUCTION,  # privileged: what an unknown instruction may look like
    0xC0000005: _CRASH,
    0xC00000FD: _CRASH,  # no stack left
    0xC0000374: _CRASH,  # heap
    0xC0000409: _ABORT,
    0xC0000006: _FILE,
    0xC0000017: _MEMORY,
    0xC000012D: _MEMORY,  # the page file is too small
    0xC0000135: _LIBRARY,
    0xC0000138: _LIBRARY,
    0xC0000139: _LIBRARY,
    0xC0000142: _LIBRARY,
    0xC000007B: _LIBRARY,
    0xC000013A: _STOPPED,
}
_SHELL = {126: _NOT_PROGRAM, 127: _NOT_FOUND}


def death(status: int) -> Death | None:
    """Return what a child's status means; None for those that programs choose themselves.

    Negative ones are signals, as `subprocess` has them, or Windows' with a sign; a shell in between
    adds 128 to a signal.
    """
    if status < -0xFF or status > 0xFF:
        found = _WINDOWS.get(status & 0xFFFFFFFF)
    elif status < 0:
        found = _SIGNALS.get(-status)
    else:
        found = _SHELL.get(status) or _SIGNALS.get(status - 128)
    return found and found._replace(cause=found.cause.format(cpu=cpu_name()))
