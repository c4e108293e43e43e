"""The self-test: a build that crashes on this CPU is found out, by a child, once."""

import subprocess
import sys
from pathlib import Path

import pytest

from npc_engine import selftest
from npc_engine.selftest import extra_bufts_work, known_answer, main

MODEL = Path("some.gguf")
# A child of a program that aborts by a signal: what a miscompiled AMX kernel does.
CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


class Child:
    """The command line of a fake child, and how often it was asked for."""

    def __init__(self) -> None:
        self.code = "pass"
        self.n_runs = 0

    def __call__(self, _path: Path) -> list[str]:
        self.n_runs += 1
        return [sys.executable, "-c", self.code]


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Child:
    """A build with AMX, whose child does what the test says."""
    child = Child()
    monkeypatch.setenv("NPC_ENGINE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(selftest, "system_info", lambda: "CPU : AVX2 = 1 | AMX_INT8 = 1 | ")
    monkeypatch.setattr(selftest, "_command", child)
    return child


def test_without_amx_there_is_nothing_to_test(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "system_info", lambda: "CPU : AVX2 = 1 | REPACK = 1 | ")
    assert known_answer() is True
    assert extra_bufts_work(MODEL)
    assert child.n_runs == 0


def test_a_child_that_lives_means_yes_and_is_asked_once(
    child: Child, caplog: pytest.LogCaptureFixture
) -> None:
    assert known_answer() is None
    assert extra_bufts_work(MODEL)
    child.code = "import sys; sys.exit(1)"
    assert extra_bufts_work(MODEL)
    assert known_answer() is True
    assert child.n_runs == 1
    assert "crashes" not in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_child_that_crashes_means_no(child: Child, caplog: pytest.LogCaptureFixture) -> None:
    child.code = CRASH
    assert not extra_bufts_work(MODEL)
    assert "crashes on this CPU (gcc 12 and AMX)" in caplog.text
    assert "make setup" in caplog.text
    caplog.clear()
    assert not extra_bufts_work(MODEL)
    assert child.n_runs == 1
    assert "crashes on this CPU" in caplog.text  # said at each start: it stays slow


def test_a_child_that_fails_means_no(child: Child) -> None:
    child.code = "import sys; print('noise'); sys.exit('a traceback')"
    assert not extra_bufts_work(MODEL)
    assert known_answer() is None  # whatever that was, it was no crash


def test_a_child_that_hangs_means_no(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "TIMEOUT_S", 0.3)
    child.code = "import threading; threading.Event().wait(60)"
    assert not extra_bufts_work(MODEL)
    assert known_answer() is None  # the machine may have been short of time or memory


def test_a_bad_model_is_not_the_librarys_fault(child: Child) -> None:
    child.code = f"import sys; sys.exit({selftest.BAD_MODEL})"
    assert extra_bufts_work(MODEL)
    assert known_answer() is None  # the next model is the test


def test_a_child_that_cannot_start_means_no_for_now(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "_command", lambda _path: ["no-such-program-anywhere"])
    assert not extra_bufts_work(MODEL)
    assert known_answer() is None


def test_a_new_build_or_another_cpu_is_tested_again(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra_bufts_work(MODEL)
    monkeypatch.setattr(selftest, "build_id", lambda: "another build")
    extra_bufts_work(MODEL)
    monkeypatch.setattr(selftest, "cpu_name", lambda: "another CPU")
    extra_bufts_work(MODEL)
    extra_bufts_work(MODEL, fresh=True)
    assert child.n_runs == 4


def test_a_child_starts_no_child(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(selftest.CHILD_VARIABLE, "1")
    monkeypatch.setattr(selftest, "_run", pytest.fail)
    assert not extra_bufts_work(MODEL)


def test_the_child_is_told_that_it_is_one(child: Child) -> None:
    child.code = f"import os, sys; sys.exit(not os.environ[{selftest.CHILD_VARIABLE!r}])"
    assert extra_bufts_work(MODEL)


@pytest.mark.parametrize(
    ("executable", "frozen", "arguments"),
    [
        ("/usr/bin/python3", False, ["-m", "npc_engine.selftest"]),
        ("C:/Python/pythonw.exe", False, ["-m", "npc_engine.selftest"]),
        ("/opt/game/npc-engine", True, ["selftest"]),
        ("/opt/game/mygame", True, None),  # it would start the game
        ("/opt/game/mygame", False, None),
        ("", False, None),
    ],
)
def test_the_command_line(
    monkeypatch: pytest.MonkeyPatch, executable: str, frozen: bool, arguments: list[str] | None
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    expected = arguments and [executable, *arguments, "some.gguf"]
    assert selftest._command(MODEL) == expected


def test_the_child_calls_a_bad_model_bad(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and then nonsense")
    for path in (tmp_path / "missing.gguf", tmp_path / "bad.gguf"):
        command = selftest._command(path)
        assert command
        assert selftest._run(command) == selftest.BAD_MODEL


@pytest.mark.model
def test_the_real_child_decodes(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "system_info", lambda: "AMX_INT8 = 1")
    assert extra_bufts_work(tiny_model, fresh=True)


@pytest.mark.model
def test_it_is_a_program(smollm2: Path) -> None:
    command = [sys.executable, "-m", "npc_engine.selftest", str(smollm2)]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.model
def test_main_returns_a_status(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_no_core_file", lambda: None)  # this process is no child
    assert main([str(tiny_llama)]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("SIGSEGV", False),
        ("SIGILL", False),
        ("SIGABRT", False),
        ("SIGFPE", False),
        ("SIGKILL", None),  # as when memory runs out
        ("SIGTERM", None),
    ],
)
def test_only_a_crash_is_kept(child: Child, name: str, known: bool | None) -> None:
    child.code = CRASH.replace("SIGSEGV", name)
    assert not extra_bufts_work(MODEL)
    assert known_answer() is known


@pytest.mark.parametrize(
    ("status", "works", "known"),
    [
        (0, True, True),
        (0xC0000005, False, False),  # access violation
        (0xC000001D, False, False),  # illegal instruction
        (0xC0000409, False, False),  # the C library's abort
        (0xC0000142, False, None),  # a library could not be initialized
        (1, False, None),
        (None, False, None),
    ],
)
def test_what_an_exit_status_says(
    child: Child,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    works: bool,
    known: bool | None,
) -> None:
    monkeypatch.setattr(selftest, "_run", lambda command: status)
    assert extra_bufts_work(MODEL) is works
    assert known_answer() is known


def test_a_path_that_no_child_can_be_given(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_command", lambda path: [sys.executable, str(path)])
    assert not extra_bufts_work(Path("a\0b"))
    assert known_answer() is None
