"""`npc-engine top` against a bridge with an engine over FakeLlama, with a terminal and without."""

import io
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from npc_engine.cli import commands as cli
from npc_engine.cli.flags import TOKEN_VARIABLE
from npc_engine.cli.terminal import Screen
from npc_engine.cli.top import command as top
from npc_engine.cli.top.sample import Rates, Sample
from npc_engine.cli.top.watching import GIVE_UP_S, MOST_ROWS, watch
from npc_engine.errors import ConnectionLost
from tests.support.live import TOKEN, WAIT_S, Served, npc

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.setenv("COLUMNS", "80")
    served = Served(tmp_path)
    with served.client() as client:
        for i in range(30):
            client.spawn(f"npc{i}", {"name": f"Villager {i}", "description": "Mends nets."})
        client.say("npc7", "Good evening.", max_tokens=5).wait()
        deadline = time.monotonic() + WAIT_S
        while client.stats()["n_pending_tokens"]:  # personas are read in idle time
            assert time.monotonic() < deadline
    yield served
    served.stop()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*argv: str) -> tuple[int, str, str]:
        status = cli.main(["top", *argv])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("flags", [["--once"], []], ids=["once", "a pipe"])
def test_one_frame_as_plain_text(served: Served, run: Run, flags: list[str]) -> None:
    status, out, err = run(served.endpoint, "--every=0.01", *flags)
    assert (status, err) == (0, "")
    rows = out.splitlines()
    assert rows[0].startswith(f"fake · {served.endpoint} · up 0:00:")
    assert rows[1] == "who      4 of 4 slots · 4 resident, 26 parked"
    assert rows[2].startswith("speed    speaking 0 tok/s · reading 0 tok/s · step ")
    assert len(rows) == MOST_ROWS
    assert rows[-1].startswith("  and ") and rows[-1].endswith(" parked")
    assert max(map(len, rows)) <= 80
    assert "\x1b" not in out


def test_a_terminal_without_utf8(served: Served) -> None:
    argv = [sys.executable, "-m", "npc_engine", "top", served.endpoint, "--once", "--every=0.01"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(argv, capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"fake | tcp://" in done.stdout
    assert b"#" in done.stdout


def test_the_records_as_json(served: Served, run: Run) -> None:
    status, out, _ = run(served.endpoint, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["endpoint"] == served.endpoint
    assert found["limits"]["slots"] == 4
    assert found["stats"]["n_npcs"] == len(found["npcs"]) == 30
    assert found["npcs"][7]["npc"] == "npc7"
    assert found["npcs"][7]["n_waiting"] == 0


def test_the_token(served: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert "token" in run(served.endpoint, "--json")[2]
    assert run(served.endpoint, "--json", "--token", "wrong")[0] == 2
    assert run(served.endpoint, "--json", "--token", TOKEN)[0] == 0


@pytest.mark.parametrize(
    ("endpoint", "error"),
    [("tcp://127.0.0.1:1", "No engine answers at tcp://127.0.0.1:1."), ("5757", "'5757' is no")],
)
def test_a_wrong_endpoint(
    endpoint: str, error: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "CONNECT_S", 0.2)
    status, out, err = run(endpoint)
    assert (status, out) == (2, "")
    assert err.startswith(f"npc-engine: error: {error}")


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["--every", "0"], "'0'"),
        (["--every", "nan"], "'nan'"),
        (["--every", "often"], "often"),
        (["--once", "--json"], "not allowed with"),
        (["tcp://x:1", "tcp://x:2"], "tcp://x:2"),
    ],
)
def test_a_wrong_command_line(
    argv: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["top", *argv])
    assert ended.value.code == 2
    assert error in capsys.readouterr().err


def test_help_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["top", "--help"])
    assert ended.value.code == 0
    assert "npc-engine top --once | less\n" in capsys.readouterr().out


class Engine:
    """An engine that answers, or is gone, look by look; and a clock that waiting moves on."""

    def __init__(self, script: str, keys: str = "") -> None:
        self.script = iter(script)
        self.keys = iter(keys)
        self.now = 0.0
        self.n = 0
        self.shown: list[tuple[int, Rates, str]] = []

    def look(self) -> Sample:
        self.n += 1
        if next(self.script, "q") == "x":
            raise ConnectionLost("The engine is gone.", "Start it.")
        stats = {"uptime_s": 0.5 * self.n, "n_decoded": 5 * self.n, "n_prefilled": 0}
        return Sample("tcp://x:1", "q4", 4, [npc()], stats)

    def show(self, sample: Sample, speeds: Rates, problem: str) -> None:
        self.shown.append((int(sample.stats["n_decoded"]) // 5, speeds, problem))

    def wait(self, seconds: float) -> str:
        self.now += seconds
        return next(self.keys, "q")

    def watch(self) -> None:
        watch(self.look, self.show, self.wait, 0.5, lambda: self.now)


def test_it_looks_until_q() -> None:
    engine = Engine(9 * ".", keys="  x ")
    engine.watch()
    assert [n for n, _, _ in engine.shown] == [1, 2, 3, 4, 5]
    assert engine.shown[0][1] == Rates()
    assert [speeds for _, speeds, _ in engine.shown[1:]] == 4 * [Rates(10.0, 0.0)]


def test_an_engine_that_comes_back() -> None:
    engine = Engine("..xx..", keys=5 * " ")
    engine.watch()
    problems = [problem for _, _, problem in engine.shown]
    assert [bool(problem) for problem in problems] == [False, False, True, True, False, False]
    assert problems[2] == "The engine is gone. Trying again for 30 s; q leaves."
    assert [n for n, _, _ in engine.shown] == [1, 2, 2, 2, 5, 6], "the last look stays to be seen"
    assert engine.shown[3][1] == engine.shown[4][1] == Rates(), "another engine, as far as we know"
    assert engine.shown[5][1] == Rates(10.0, 0.0)


def test_an_engine_that_stays_away() -> None:
    engine = Engine("." + 999 * "x", keys=999 * " ")
    with pytest.raises(ConnectionLost):
        engine.watch()
    assert GIVE_UP_S <= engine.now <= GIVE_UP_S + 1.5


def test_leaving_while_it_is_away() -> None:
    engine = Engine("." + 99 * "x", keys="   q")
    engine.watch()
    assert engine.shown[-1][2]


def test_where_nothing_can_be_drawn_over_frames_follow_each_other() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=30, height=9))
    assert screen.size == (30, 9)
    with screen.frames() as put:
        put([[("head", "First"), ("", " look")]])
        put([[("unheard-of style", "Second look")], []])
    assert out.getvalue() == "First look\nSecond look\n\n"


posix = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, endpoint: str) -> None:
        import pty

        self.fd, inner = pty.openpty()
        self._inner = inner
        argv = [sys.executable, "-m", "npc_engine", "top", endpoint, "--every=0.05"]
        environment = {**os.environ, "TERM": "xterm", "LINES": "24", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            argv, stdin=inner, stdout=inner, stderr=inner, env=environment
        )
        self.seen = ""

    def until(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536).decode("utf-8", "replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self.fd)
        os.close(self._inner)


@pytest.fixture
def terminal(served: Served) -> Iterator[Terminal]:
    terminal = Terminal(served.endpoint)
    yield terminal
    terminal.close()


@posix
def test_q_leaves_and_gives_the_terminal_back(terminal: Terminal) -> None:
    import termios

    before = termios.tcgetattr(terminal.fd)
    terminal.until("Villager 7")
    assert "\x1b[?1049h" in terminal.seen, "a screen of its own"
    terminal.until("more: ")
    os.write(terminal.fd, b"q")
    terminal.until("\x1b[?1049l")
    assert terminal.process.wait(WAIT_S) == 0
    assert termios.tcgetattr(terminal.fd) == before


@posix
def test_ctrl_c_leaves(terminal: Terminal) -> None:
    import signal

    terminal.until("Villager 7")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("\x1b[?1049l")
    assert terminal.process.wait(WAIT_S) == 0


@posix
def test_an_engine_that_goes_is_told_of(terminal: Terminal, served: Served) -> None:
    terminal.until("Villager 7")
    served.stop()
    terminal.until("Trying again")
    os.write(terminal.fd, b"q")
    assert terminal.process.wait(WAIT_S) == 0
