"""The self-test: a build that crashes on this CPU is found out by a child, and asked again."""

import subprocess
import sys
from pathlib import Path

import pytest

from npc_engine.errors import ModelError
from npc_engine.llama import selftest
from npc_engine.llama.measurements import keep, recall
from npc_engine.llama.selftest import (
    EXPIRES_S,
    GROWTH,
    PAUSE_S,
    Answer,
    last_answer,
    main,
    self_test,
)

MODEL = Path("some.gguf")
# A child of a program that aborts by a signal: what a miscompiled AMX kernel does.
CRASH = "import os, signal, sys; sys.argv[1:] or os.kill(os.getpid(), signal.SIGSEGV)"


def extra_bufts_work(path: Path, fresh: bool = False) -> bool:
    return self_test(path, fresh).works


def known_answer() -> bool | None:
    known = last_answer()
    return known.works if known else None


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
    answer = self_test(MODEL)
    assert not answer.works
    assert "(AMX) is not used on this CPU: its self-test crashed (SIGSEGV)" in answer.slow
    assert answer.slow in caplog.text
    assert "make setup" in caplog.text
    assert "--retest" in caplog.text
    caplog.clear()
    assert self_test(MODEL) == last_answer() == answer
    assert child.n_runs == 1
    assert answer.slow in caplog.text  # said at each start: it stays slow


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
        ("/usr/bin/python3", False, ["-m", "npc_engine.llama.selftest"]),
        ("C:/Python/pythonw.exe", False, ["-m", "npc_engine.llama.selftest"]),
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


@pytest.mark.slow
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
    command = [sys.executable, "-m", "npc_engine.llama.selftest", str(smollm2)]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.model
def test_main_returns_a_status(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_no_core_file", lambda: None)  # this process is no child
    assert main([str(tiny_llama)]) == 0
    assert main([str(tiny_llama), selftest.PLAIN]) == 0


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
    monkeypatch.setattr(selftest, "_run", lambda command: 0 if "plain" in command else status)
    assert extra_bufts_work(MODEL) is works
    assert known_answer() is known


def test_a_path_that_no_child_can_be_given(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_command", lambda path: [sys.executable, str(path)])
    assert not extra_bufts_work(Path("a\0b"))
    assert known_answer() is None


# A no is not for ever


class Days:
    """The clock of the tests, and what each further child does: 0 or the number of a signal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e9
        self.statuses: list[int | None] = []
        self.plain = 0
        self.n_runs = 0
        monkeypatch.setattr("time.time", lambda: self.now)
        monkeypatch.setattr(selftest, "_run", self._run)

    def _run(self, command: list[str]) -> int | None:
        if selftest.PLAIN in command:
            return self.plain
        self.n_runs += 1
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def start(self, *statuses: int | None) -> tuple[bool, int]:
        """Start an engine; returns its answer, and how many children were asked for it."""
        self.statuses, before = list(statuses), self.n_runs
        return extra_bufts_work(MODEL), self.n_runs - before


@pytest.fixture
def days(child: Child, monkeypatch: pytest.MonkeyPatch) -> Days:
    return Days(monkeypatch)


@pytest.mark.parametrize(
    ("statuses", "works", "known", "n_runs"),
    [
        ((-11, 0, 0), True, True, 3),  # a machine that was short of something, once
        ((-11, -11), False, False, 2),
        ((-11, 0, -6), False, False, 3),  # it passes now and then: that is no yes
        ((-11, None), False, None, 2),
        ((-11, 0, 1), False, None, 3),
        ((-11, selftest.BAD_MODEL), False, None, 2),
        ((1, 0), False, None, 1),  # no crash: nothing is kept, the next start asks
    ],
)
def test_a_no_is_asked_again_at_once(
    days: Days, statuses: tuple[int | None, ...], works: bool, known: bool | None, n_runs: int
) -> None:
    assert days.start(*statuses) == (works, n_runs)
    assert known_answer() is known


def test_a_no_is_asked_again_later_with_growing_pauses(days: Days) -> None:
    assert days.start(-11) == (False, 2)
    for n in range(4):
        pause = PAUSE_S * GROWTH**n
        days.now += pause - 1
        assert days.start(0) == (False, 0), "not yet"
        days.now += 1
        assert days.start(-11) == (False, 2)
        known = last_answer()
        assert known
        assert (known.n_bad, known.at) == (n + 2, days.now)
    days.now += EXPIRES_S
    assert last_answer() is None, "it has expired"
    assert days.start(-11) == (False, 2)
    assert days.start(0) == (False, 0)
    days.now += PAUSE_S
    assert days.start(0) == (True, 1)
    days.now += 10 * EXPIRES_S
    assert days.start(-11) == (True, 0), "a yes stays"


def test_a_clock_that_was_put_back_keeps_no_no(days: Days) -> None:
    assert days.start(-11) == (False, 2)
    days.now -= 5
    assert days.start(0) == (True, 1)


@pytest.mark.parametrize(
    "kept",
    [True, False, 1, "no", [], {}, {"works": False, "at": -1}, {"works": False, "at": 1e300},
     {"works": False, "at": float("nan")}, {"works": False, "n_bad": 1 << 70}, {"works": 0}],
)  # fmt: skip
def test_kept_nonsense_and_answers_without_a_date_are_asked_anew(days: Days, kept: object) -> None:
    keep(selftest.KIND, selftest._key(), kept)
    assert days.start(0) == (True, 1)
    assert recall(selftest.KIND, selftest._key())["works"] is True


def test_where_no_child_can_be_started_that_is_the_cause(
    days: Days, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(selftest, "_command", lambda _path: None)
    answer = self_test(MODEL)
    assert "cannot be tested from within this program" in answer.slow
    assert "crash" not in caplog.text
    assert days.n_runs == 0


def test_a_model_that_crashes_without_the_fast_code_too_is_refused(days: Days) -> None:
    days.plain = -6
    with pytest.raises(ModelError, match=r"'some.gguf' makes llama.cpp crash, with and without"):
        days.start(-6)
    assert known_answer() is None, "the build is not to blame"
    days.plain = 0
    assert days.start(0) == (True, 1)


def test_a_yes_is_not_slow() -> None:
    assert Answer(works=True).slow == ""
