"""The engine as a child process: a few lines of Python stand in for it here."""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from npc_engine.client.sidecar import Sidecar
from npc_engine.errors import ConnectionLost, SetupError
from tests.support.paths import ROOT

WAIT_S = 20.0
READY = 'import sys; print(\'READY {"endpoint": "tcp://127.0.0.1:1", "protocol": 1}\', flush=True)'
UNTIL_EOF = "\nsys.stdin.read()"


def _program(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _start(code: str, *args: str, **options: Any) -> Sidecar:
    return Sidecar(
        "q4.gguf", *args, executable=_program(code), **{"ready_timeout": WAIT_S} | options
    )


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def no_orphan() -> Any:
    before = _children()
    yield
    assert _children() <= before
    assert not [t for t in threading.enumerate() if t.name == "npc-engine sidecar"]


def test_it_waits_for_the_ready_line() -> None:
    noise = "import sys; print('loading'); print('READYish', flush=True)\n"
    with _start(noise + READY + UNTIL_EOF) as sidecar:
        assert sidecar.endpoint == "tcp://127.0.0.1:1"
        assert sidecar.ready == {"endpoint": "tcp://127.0.0.1:1", "protocol": 1}
        assert psutil.pid_exists(sidecar.pid)


def test_the_command_line_and_the_token() -> None:
    code = "import sys; print(sys.argv[1:], sys.stdin.readline().strip(), file=sys.stderr)\n"
    tokens = set()
    for _ in range(2):
        logged: list[str] = []
        sidecar = _start(code + READY + UNTIL_EOF, "--window", "512", on_log=logged.append)
        sidecar.close()
        args, token = sidecar.log[0].rsplit(" ", 1)
        assert logged == sidecar.log
        fixed = ["--bind", "tcp://127.0.0.1:0", "--token-stdin", "--exit-on-stdin-eof"]
        assert args == str(["serve", "--model", "q4.gguf", *fixed, "--window", "512"])
        assert token == sidecar._token and len(token) >= 32
        tokens.add(token)
    assert len(tokens) == 2


def test_the_default_is_this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(command: list[str], **_: object) -> None:
        assert command[:5] == [sys.executable, "-P", "-m", "npc_engine", "serve"]
        raise OSError("refused")

    monkeypatch.setattr("subprocess.Popen", refused)
    with pytest.raises(SetupError, match="refused"):
        Sidecar("q4.gguf")


@pytest.fixture
def other_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package npc_engine that only this process's sys.path leads to; return a game's folder."""
    package = tmp_path / "vendored" / "npc_engine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"import queue\nqueue.SimpleQueue()\n{READY}{UNTIL_EOF}")
    monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])
    game = tmp_path / "game"
    game.mkdir()
    monkeypatch.chdir(game)
    return game


def test_the_engine_is_found_where_this_process_finds_it(other_engine: Path) -> None:
    with Sidecar("q4.gguf", ready_timeout=WAIT_S) as sidecar:
        assert sidecar.endpoint == "tcp://127.0.0.1:1"


def test_a_module_of_the_game_is_not_taken_for_pythons_own(other_engine: Path) -> None:
    (other_engine / "queue.py").write_text("raise SystemExit('this is the queue at the inn')")
    with Sidecar("q4.gguf", ready_timeout=WAIT_S) as sidecar:
        assert sidecar.endpoint == "tcp://127.0.0.1:1"


def test_a_program_of_ones_own_gets_the_environment_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "as-it-was")
    code = "import os, sys; print(os.environ['PYTHONPATH'], file=sys.stderr)\n"
    sidecar = _start(code + READY + UNTIL_EOF)
    sidecar.close()
    assert sidecar.log == ["as-it-was"]


def test_a_frozen_program_must_name_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(SetupError, match="executable="):
        Sidecar("q4.gguf")


def test_an_engine_that_dies_says_why() -> None:
    code = "import sys; print('No file q4.gguf. Check the path.', file=sys.stderr); sys.exit(2)"
    with pytest.raises(SetupError, match=r"status 2 .* No file q4\.gguf\. Check the path\."):
        _start(code)


def test_progress_is_not_why_an_engine_died() -> None:
    code = "import sys; print('Loading q4.gguf 25 %\\nNo memory.', file=sys.stderr); sys.exit(2)"
    with pytest.raises(SetupError, match=r"before it was ready\. No memory\."):
        _start(code)


def test_an_engine_that_dies_without_a_word() -> None:
    with pytest.raises(SetupError, match=r"status 0 before it was ready\. Run"):
        _start("pass")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_death_by_its_system_is_explained() -> None:
    with pytest.raises(SetupError, match=r"status -4 before .* lacks instructions .* Last words"):
        _start("import os, sys; sys.stderr.write('Last words'); os.kill(os.getpid(), 4)")
    with _start(READY + UNTIL_EOF) as sidecar:
        assert sidecar.ended is None
        psutil.Process(sidecar.pid).kill()
        sidecar.close()
        assert sidecar.ended is not None
        assert "status -9" in sidecar.ended
        assert "memory" in sidecar.ended


def test_a_silent_engine_is_given_up() -> None:
    began = time.monotonic()
    with pytest.raises(SetupError, match=r"not ready after 0\.3 s"):
        _start("import sys; sys.stdin.read()", ready_timeout=0.3)
    assert time.monotonic() - began < WAIT_S


@pytest.mark.parametrize("line", ["READY {", "READY []", "READY {}", 'READY {"endpoint": 5}'])
def test_a_broken_ready_line(line: str) -> None:
    with pytest.raises(SetupError, match="ready line"):
        _start(f"import sys; print({line!r}, flush=True)" + UNTIL_EOF)


@pytest.mark.parametrize("executable", ["no-such-npc-engine", Path("no/such/npc-engine")])
def test_a_missing_program(executable: Any) -> None:
    with pytest.raises(SetupError, match="cannot be started"):
        Sidecar("q4.gguf", executable=executable)


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_what_is_no_program_of_this_system(mode: int, tmp_path: Path) -> None:
    program = tmp_path / "npc-engine"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(mode)
    with pytest.raises(SetupError, match="made for another system") as raised:
        Sidecar("q4.gguf", executable=program)
    assert "chmod +x" in (raised.value.help or "")


def test_a_flood_in_one_row_makes_no_endless_error() -> None:
    with pytest.raises(SetupError, match="status 3 before it was ready") as raised:
        _start("import sys; sys.stderr.write('x' * 3_000_000); sys.exit(3)")
    assert len(str(raised.value)) < 5000


def test_a_talkative_engine_is_neither_blocked_nor_kept_whole() -> None:
    talk = "\nfor i in range(5000): print('x' * 100, file=sys.stderr); print('y' * 100)"
    last = "\nprint('last', file=sys.stderr, flush=True)"
    seen = threading.Event()

    def on_log(line: str) -> None:
        if line == "last":
            seen.set()

    with _start(READY + talk + last + UNTIL_EOF, on_log=on_log) as sidecar:
        assert seen.wait(WAIT_S)
        assert len(sidecar.log) == 200 and sidecar.log[-1] == "last"


def test_close_ends_one_that_ignores_its_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npc_engine.client.sidecar.LEAVE_S", 0.3)
    sidecar = _start(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + READY
        + "\nimport threading; threading.Event().wait()"
    )
    sidecar.close()
    sidecar.close()
    assert not psutil.pid_exists(sidecar.pid)


def test_it_ends_when_its_starter_is_killed() -> None:
    engine = READY + UNTIL_EOF
    game = (
        "import sys, threading\nfrom npc_engine.client.sidecar import Sidecar\n"
        f"sidecar = Sidecar('q4.gguf', executable=[sys.executable, '-c', {engine!r}])\n"
        "print(sidecar.pid, flush=True)\nthreading.Event().wait()"
    )
    root = str(ROOT)
    with psutil.Popen([sys.executable, "-c", game], stdout=-1, cwd=root) as process:
        engine_process = psutil.Process(int(process.stdout.readline()))
        process.kill()
    deadline = time.monotonic() + WAIT_S
    while not _has_ended(engine_process) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert _has_ended(engine_process)


def _has_ended(process: psutil.Process) -> bool:
    """Return whether a process ran to its end, also where nobody collects its status."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_client_of_an_engine_that_is_gone() -> None:
    # Nobody listens at port 1.
    with _start(READY + UNTIL_EOF) as sidecar, pytest.raises(ConnectionLost, match="No engine"):
        sidecar.client(timeout=0.1)


def test_a_client_shows_the_token() -> None:
    serve = """
import json, sys, msgpack, zmq
token = sys.stdin.readline().strip()
router = zmq.Context.instance().socket(zmq.ROUTER)
port = router.bind_to_random_port("tcp://127.0.0.1")
print("READY " + json.dumps({"endpoint": f"tcp://127.0.0.1:{port}"}), flush=True)
client, frame = router.recv_multipart()
hello = msgpack.unpackb(frame)
reply = {"type": "welcome", "id": hello["id"], "protocol": 1, "engine": "0.1.0", "model": {},
         "limits": {"same": hello["token"] == token}, "npcs": []}
router.send_multipart([client, msgpack.packb(reply)])
sys.stdin.read()
"""
    with _start(serve) as sidecar, sidecar.client(timeout=WAIT_S) as client:
        assert client.welcome.limits == {"same": True}
