"""`npc-engine inspect` against a bridge with an engine over FakeLlama, and against nobody."""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npc_engine.cli import commands as cli
from npc_engine.cli.command_modules import load, parser_of
from npc_engine.cli.flags import TOKEN_VARIABLE
from npc_engine.cli.inspect import live as inspect_live
from npc_engine.client.zmq_client import Client
from tests.support.live import TOKEN, Served


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.setenv("COLUMNS", "80")
    served = Served(tmp_path)
    yield served
    served.stop()


@pytest.fixture
def talked(served: Served) -> Served:
    """Mara has talked, and Bram is there."""
    with served.client() as client:
        client.spawn("mara", {"name": "Mara Venn", "description": "Keeps the inn."})
        client.spawn("bram", {"name": "Bram", "description": "Keeps to himself."})
        for i in range(8):
            client.say("mara", f"This is line {i}.", max_tokens=20).wait()
    return served


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; gives status, stdout and stderr."""

    def run(*argv: str) -> tuple[int, str, str]:
        status = cli.main(["inspect", *argv])
        return status, *capsys.readouterr()

    return run


def test_everybody_is_drawn(talked: Served, run: Run) -> None:
    status, out, err = run("--live", talked.endpoint)
    assert (status, err) == (0, "")
    heads = [row for row in out.splitlines() if " turn " in row and row[:1].isalpha()]
    assert heads == ["Mara Venn · turn 9 · resident", "Bram · turn 1 · resident"]
    assert "This is line 7." in out and "pinned: " in out
    assert "whole" in out and "holes now" in out
    assert max(map(len, out.splitlines())) <= 80


def test_one_is_drawn(talked: Served, run: Run) -> None:
    status, out, _ = run("--live", talked.endpoint, "--npc", "bram")
    assert status == 0
    assert out.startswith("Bram · turn 1 · resident\n")
    assert "Mara" not in out


def test_the_records_as_json(talked: Served, run: Run) -> None:
    status, out, _ = run("--live", talked.endpoint, "--json")
    assert status == 0
    mara, bram = json.loads(out)
    assert (mara["type"], mara["npc"], bram["npc"]) == ("window", "mara", "bram")
    assert mara["n_tokens"] == sum(s["n_tokens"] for s in mara["segments"])
    (one,) = json.loads(run("--live", talked.endpoint, "--json", "--npc", "bram")[1])
    assert one == bram | {"id": one["id"]}


def test_nobody_is_there(served: Served, run: Run) -> None:
    assert run("--live", served.endpoint)[:2] == (0, "Nobody is there.\n")
    assert run("--live", served.endpoint, "--json")[:2] == (0, "[]\n")


def test_an_unknown_character(talked: Served, run: Run) -> None:
    status, out, err = run("--live", talked.endpoint, "--npc", "zed")
    assert (status, out) == (2, "")
    assert "There is no character 'zed'" in err and "bram, mara" in err


def test_one_who_leaves_meanwhile_is_left_out(
    talked: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with talked.client() as client:
        listed = client.list_npcs()
        client.despawn("bram")
    monkeypatch.setattr(Client, "list_npcs", lambda _client: listed)
    status, out, _ = run("--live", talked.endpoint)
    assert status == 0
    assert "Mara Venn ·" in out and "Bram" not in out


def test_the_token(talked: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert "token" in run("--live", talked.endpoint)[2]
    assert run("--live", talked.endpoint, "--token", "wrong")[0] == 2
    assert run("--live", talked.endpoint, "--token", TOKEN)[0] == 0


@pytest.mark.parametrize(
    ("endpoint", "error"),
    [("tcp://127.0.0.1:1", "No engine answers at tcp://127.0.0.1:1."), ("5757", "'5757' is no")],
)
def test_a_wrong_endpoint(
    endpoint: str, error: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_live, "CONNECT_S", 0.2)
    status, out, err = run("--live", endpoint)
    assert (status, out) == (2, "")
    assert err.startswith(f"npc-engine: error: {error}")


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ([], "give FILE or SLOT, or --live"),
        (["tavern", "--watch", "1"], "--watch needs --live"),
        (["--live", "tcp://x:1", "--text"], "are for a save"),
        (["--live", "tcp://x:1", "--model", "a.gguf"], "are for a save"),
        (["tavern", "--live", "tcp://x:1"], "give FILE or SLOT, or --live"),
        (["--live", "tcp://x:1", "--watch", "0"], "'0'"),
        (["--live", "tcp://x:1", "--watch", "inf"], "'inf'"),
        (["--live", "tcp://x:1", "--watch", "soon"], "soon"),
        (["--live", "tcp://x:1", "--watch", "1", "--json"], "not allowed with"),
    ],
)
def test_a_wrong_command_line(
    argv: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["inspect", *argv])
    assert ended.value.code == 2
    assert error in capsys.readouterr().err


def parsed(*argv: str) -> argparse.Namespace:
    return parser_of("inspect", load("cli.inspect.command")).parse_args(argv)


def test_watching_draws_again_until_ctrl_c(
    talked: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt
        with talked.client() as client:
            client.event("The bell rings.", "bram")
            client.say("bram", "Did you hear that?", max_tokens=5).wait()

    args = parsed("--live", talked.endpoint, "--npc", "bram", "--watch", "0.5")
    assert inspect_live.run(args, sleep) == 0
    assert waits == 3 * [0.5]
    out = capsys.readouterr().out
    heads = [f"Bram · turn {turn} · resident" for turn in (1, 2, 3)]
    assert [row for row in out.splitlines() if row.startswith("Bram ·")] == heads


def test_an_engine_that_goes_away_while_it_is_watched(
    talked: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    args = parsed("--live", talked.endpoint, "--watch", "0.5")
    assert inspect_live.run(args, lambda _s: talked.stop()) == 1
    assert f"The engine at {talked.endpoint} is gone" in capsys.readouterr().out


def test_help_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["inspect", "--help"])
    assert ended.value.code == 0
    assert "npc-engine inspect --live tcp://127.0.0.1:5757\n" in capsys.readouterr().out
