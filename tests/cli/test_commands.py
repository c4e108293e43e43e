"""The command line: help, settings, errors and exit statuses; no engine is started but to fail."""

import argparse
import dataclasses
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from npc_engine.cli import bench, flags, tune
from npc_engine.cli import commands as cli
from npc_engine.cli.command_modules import load
from npc_engine.config import Settings
from npc_engine.errors import ConfigError
from npc_engine.server import serve

TIMEOUT_S = 60.0
CONVENTION = ("ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NPC_ENGINE_TOKEN", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def helped(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def failed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the one sentence that a command ends with."""
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("npc-engine: error: ")
    assert err.count("\n") == 1
    return err


def settings(*argv: str) -> Settings:
    """Return what `serve` would run with."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    flags.add_settings(parser)
    return flags.settings_from(parser.parse_args(argv))


# Help


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    shown = helped(capsys)
    assert all(
        f"\n    {name} " in shown
        for name in ("serve", "chat", "demo", "doctor", "saves", "inspect", "top", "bench", "tune")
    )
    assert "selftest" not in shown


def test_the_selftest_gets_all_arguments_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from npc_engine.llama import selftest

    monkeypatch.setattr(selftest, "main", lambda argv: 7 if argv == ["-m.gguf", "plain"] else 0)
    assert cli.main(["selftest", "-m.gguf", "plain"]) == 7


@pytest.mark.parametrize("command", ["serve", "chat", "demo"])
def test_every_command_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = helped(capsys, command)
    for unit in ("tokens", "(auto: 2048, or", "ms"):
        assert unit in shown
    assert f"examples:\n  npc-engine {command}" in shown
    assert "\nmodel and memory:\n" in shown


def test_every_setting_has_a_flag_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(helped(capsys, "serve").split())
    for field in dataclasses.fields(Settings):
        assert f"--{field.name.replace('_', '-')} " in shown
        assert field.metadata["help"] in shown
    assert "(default: 50 ms)" in shown
    assert "(default: 1048576 bytes)" in shown


def test_groups_name_each_setting_once() -> None:
    named = [name for names in flags.GROUPS.values() for name in names]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(Settings))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("npc-engine ")


@pytest.mark.parametrize(
    "argv", [[], ["dance"], ["--", "doctor"], ["serve", "--wind", "512"], ["serve", "stray"]]
)
def test_a_wrong_command_line_exits_with_usage(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: npc-engine")


# Commands


@pytest.mark.parametrize(
    "module", [*cli.COMMANDS.values(), *bench.MEASUREMENTS.values(), *tune.MEASUREMENTS.values()]
)
def test_a_command_is_a_module_of_five_names(module: str) -> None:
    names = {name: getattr(load(module), name) for name in CONVENTION}
    assert all(isinstance(names[name], str) for name in ("SUMMARY", "ABOUT", "EXAMPLES"))
    assert callable(names["add_arguments"]) and callable(names["run"])
    assert names["ABOUT"]
    assert set(CONVENTION) <= {*importlib.import_module(f"npc_engine.{module}").__all__}


def test_the_list_of_commands_loads_nothing_that_is_slow() -> None:
    code = (
        "import sys\n"
        "from npc_engine.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "npc_engine.cli.top.command" in loaded
    assert not loaded & {"jinja2", "llama_cpp", "msgspec", "numpy", "psutil", "rich", "zmq"}


def test_arguments_that_do_not_go_together_show_the_usage_of_their_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "--retest"])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("usage: npc-engine doctor [-h]")
    assert "npc-engine doctor: error: --retest needs --model" in shown


# Settings


def test_defaults_are_those_of_settings() -> None:
    assert settings() == Settings()


def test_flags_reach_the_settings() -> None:
    got = settings("--model", "a.gguf", "--threads", "3", "--step-ms=12.5", "--token-stdin")
    assert (got.model, got.threads, got.step_ms, got.token_stdin) == ("a.gguf", 3, 12.5, True)
    assert settings("--threads", "auto").threads is None


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "engine.toml"
    file.write_text('model = "b.gguf"\nwindow = 4096\nkv-type = "f16"\ntoken_stdin = true\n')
    got = settings("--config", str(file), "--window", "512", "--kv-type", "bf16")
    assert (got.model, got.window, got.kv_type, got.token_stdin) == ("b.gguf", 512, "bf16", True)


def test_the_token_may_be_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "engine.toml"
    file.write_text('token = "of the file"\n')
    assert settings("--config", str(file)).token == "of the file"
    monkeypatch.setenv("NPC_ENGINE_TOKEN", "of the environment")
    assert settings("--config", str(file)).token == "of the environment"
    assert settings("--token", "of the flag").token == "of the flag"


def test_flags_and_back() -> None:
    given: dict[str, Any] = {"window": 512, "bind": "-odd", "token_stdin": True, "model": "a.gguf"}
    argv = flags.as_flags(given, leave_out=["model"])
    assert settings(*argv) == Settings.parse({**given, "model": ""})


# Errors


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--window", "many"], "window is 'many'. Give auto, or a whole number from 128"),
        (["--window", "1"], "window is '1'. It must be from 128"),
        (["--kv-type", "f17"], "kv_type is 'f17'. It must be one of auto, f16"),
        (["--config", "no/such.toml"], "cannot be read"),
        ([], "No model is given."),
    ],
)
def test_serve_cannot_start(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in failed(capsys, "serve", *argv)


def test_an_unknown_key_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "engine.toml"
    file.write_text("windw = 512\n")
    error = failed(capsys, "serve", "--config", str(file))
    assert "engine.toml: There is no setting 'windw'. Did you mean 'window'?" in error
    file.write_text("threads = 'none'\n")
    error = failed(capsys, "serve", "--config", str(file))
    assert "engine.toml: threads is 'none'. Give auto, or a whole number from 1 to 256" in error


def test_a_broken_file_names_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "engine.toml"
    file.write_text("window = 512\nmodel = oops\n")
    assert "line 2" in failed(capsys, "serve", "--config", str(file))


def test_only_debug_shows_the_traceback(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    failed(capsys, "serve", "--window", "1")
    assert not caplog.records
    failed(capsys, "serve", "--window", "1", "--log-level", "debug")
    (record,) = caplog.records
    assert record.exc_info


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt, 130), (ZeroDivisionError, 1)])
def test_other_ends(
    raised: type[BaseException],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_settings: Settings) -> int:
        raise raised

    monkeypatch.setattr(serve, "serve", fail)
    assert cli.main(["serve", "--model", "a.gguf"]) == status
    assert [record.exc_info is not None for record in caplog.records] == [True] * (status == 1)


def test_demo_without_a_model_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    error = failed(capsys, "demo")
    assert "make setup" in error
    assert "--model" in error


def test_chat_wants_an_engine_or_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    both = failed(capsys, "chat", "tcp://127.0.0.1:5757", "--model", "a.gguf")
    assert "Both an endpoint" in both
    for model in ("a.gguf", "a" * 5000):
        assert f"no model file '{model}'" in failed(capsys, "chat", "--model", model)


def test_chat_without_rich_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert "pip install rich" in failed(capsys, "chat")


def test_the_help_of_the_demo_tells_its_own_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    from npc_engine.cli.chat import start

    shown = helped(capsys, "demo")
    assert f"(default: {start.DEMO_MODEL.as_posix()}," in shown
    assert "(default: demo-saves in" in shown
    assert "(default: saves)" not in shown


# The parts of serve


@pytest.mark.parametrize("level", ["trace", "debug"])
def test_the_lines_of_llama_cpp_come_with_trace_alone(level: str) -> None:
    from npc_engine.llama import (
        model as llama_model,  # here: the rest of this file needs no llama.cpp
    )

    stream = StringIO()
    with serve._logging_to(stream, level):
        serve.log.debug("our own")
        llama_model._on_log(2, b"tensor 7 of 300", None)
    assert "DEBUG our own" in stream.getvalue()
    assert ("TRACE tensor 7 of 300" in stream.getvalue()) == (level == "trace")


def test_saves_go_to_a_folder_or_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for odd in (file, file / "deep" / "saves"):
        error = failed(capsys, "serve", "--model", "a.gguf", "--saves", str(odd))
        assert f"{str(file)!r} is no folder" in error
    serve._check_saves(tmp_path / "new" / "saves")
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.setattr("os.access", lambda *_: False)
    serve._check_saves(tmp_path)  # what it holds can be loaded
    with pytest.raises(ConfigError, match="may not be written to"):
        serve._check_saves(tmp_path / "new" / "saves")


def test_a_stdin_that_ends_too_early_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[str] = []
    monkeypatch.setattr(serve, "_leave", lambda: left.append("early"))
    signals = serve._Signals()
    signals.on_end_of_stdin()
    assert "stdin closed before READY" in caplog.text
    caplog.clear()
    signals.leave = lambda: left.append("late")
    signals.on_end_of_stdin()
    assert (left, caplog.text) == (["early", "late"], "")


@contextmanager
def stdin_of(data: bytes) -> Iterator[None]:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    with os.fdopen(reading) as stdin, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", stdin)
        yield


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_the_token_is_the_first_row_of_stdin(end: str) -> None:
    with stdin_of(f"secret{end}".encode()):
        assert serve.first_row_of_stdin() == "secret"


def test_what_follows_the_token_is_not_read() -> None:
    with stdin_of(b"secret\nmore"):
        assert serve.first_row_of_stdin() == "secret"
        assert sys.stdin.read() == "more"


@pytest.mark.parametrize("data", [b"", b"\n", b"  \nlater\n"])
def test_an_empty_token_is_an_error(data: bytes) -> None:
    with stdin_of(data), pytest.raises(ConfigError, match="first line of stdin is empty"):
        serve.first_row_of_stdin()


def test_a_token_that_would_be_cut_is_an_error() -> None:
    for end in (b"\n", b"\r\n", b""):
        with stdin_of(b"x" * 1024 + end):
            assert serve.first_row_of_stdin() == "x" * 1024
        for n in (1025, 1026, 5000):
            with stdin_of(b"x" * n + end), pytest.raises(ConfigError, match="more than 1,024"):
                serve.first_row_of_stdin()


def test_signals_may_come_again() -> None:
    """SIGTERM as often as it likes; Ctrl-C once, for the second is meant to end the process."""
    signals = serve._Signals()
    left: list[None] = []
    signals.leave = lambda: left.append(None)
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    signals.catch()
    try:
        for n in (1, 2, 3):
            signal.raise_signal(signal.SIGTERM)
            assert len(left) == n
            assert signal.getsignal(signal.SIGTERM) == signals._on_signal
        signal.raise_signal(signal.SIGINT)
        assert len(left) == 4
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)
        assert len(left) == 5
    finally:
        signals.release()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_no_stdin_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ConfigError, match="there is no stdin"):
        serve.first_row_of_stdin()


def test_the_end_of_stdin_is_noticed() -> None:
    ended = threading.Event()
    with stdin_of(b"x" * 10_000):
        serve.at_end_of_stdin(ended.set)
        assert ended.wait(TIMEOUT_S)


def test_ready_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    monkeypatch.setattr("sys.stdout", out)
    serve.announce("tcp://127.0.0.1:4711", "models/a.gguf")
    expected = '{"endpoint": "tcp://127.0.0.1:4711", "model": "a.gguf", "protocol": 1}'
    assert out.getvalue() == f"READY {expected}\n"
    serve.announce("tcp://127.0.0.1:4711", "a.gguf", slow="The fast code crashed.")
    assert out.getvalue().endswith(', "protocol": 1, "slow": "The fast code crashed."}\n')


def test_a_closed_stdout_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        serve.announce("tcp://127.0.0.1:4711", "a.gguf")
    for stream in (None, out):  # none at all; closed
        monkeypatch.setattr("sys.stdout", stream)
        serve.announce("tcp://127.0.0.1:4711", "a.gguf")


class FakeTerminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_row() -> None:
    stream = FakeTerminal()
    with serve.Progress(stream, "Loading a") as progress:
        for step in range(101):
            progress(step / 100)
    shown = stream.getvalue()
    assert shown.count("\r") == 101
    assert shown.endswith("\rLoading a 100 %\n")
    assert shown.count("\n") == 1


def test_progress_elsewhere_is_a_few_rows() -> None:
    stream = StringIO()
    with serve.Progress(stream, "Loading a") as progress:
        for step in (0.1, 0.3, 0.3, 0.2, 0.99, 1.0, 1.7):
            progress(step)
    assert stream.getvalue().split("\n")[:-1] == [f"Loading a {n} %" for n in (0, 25, 75, 100)]


def test_progress_of_nothing_shows_nothing() -> None:
    for stream in (StringIO(), FakeTerminal()):
        with pytest.raises(ConfigError), serve.Progress(stream, "Loading a"):
            raise ConfigError("There is no such file.", "Check the path.")
        assert stream.getvalue() == ""


def test_progress_survives_a_closed_stream() -> None:
    stream = TextIOWrapper(BytesIO())
    progress = serve.Progress(stream, "Loading a")
    stream.close()
    progress(0.5)


# The whole program


def program(*argv: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "npc_engine", *argv],
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.slow
def test_a_reader_that_has_seen_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "npc_engine", "doctor"],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
        check=False,
    )
    os.close(writing)
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
    assert b"BrokenPipe" not in ended.stderr


def refused(*argv: str) -> str:
    """Return the one sentence on which the program ended with status 2."""
    ended = program("serve", "--bind", "tcp://127.0.0.1:0", *argv)
    error = ended.stderr.decode()
    assert ended.returncode == 2, error
    assert ended.stdout == b""
    assert "Traceback" not in error
    (row,) = [row for row in error.splitlines() if row.startswith("npc-engine: error: ")]
    return row


@pytest.mark.model
@pytest.mark.parametrize(
    "content",
    [b"", b"hello, I am no model", b"GGUF", b"GGUF" + bytes(range(256)) * 64],
    ids=["empty", "text", "truncated", "damaged"],
)
def test_a_file_that_is_no_model(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "odd.gguf"
    file.write_bytes(content)
    assert "odd.gguf" in refused("--model", str(file))


@pytest.mark.model
def test_a_missing_model_and_a_folder(tmp_path: Path) -> None:
    assert "none.gguf" in refused("--model", str(tmp_path / "none.gguf"))
    assert tmp_path.name in refused("--model", str(tmp_path))


@pytest.mark.model
def test_a_port_in_use_is_found_before_the_model_is_read(tmp_path: Path) -> None:
    import zmq

    with zmq.Context() as zmq_context, zmq_context.socket(zmq.ROUTER) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        error = refused("--bind", f"tcp://127.0.0.1:{port}", "--model", str(tmp_path / "none"))
    assert str(port) in error
    assert "in use" in error
