"""`npc-engine serve` as a game meets it: a child process, a real model, the Python client."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from npc_engine.client.sidecar import Sidecar
from npc_engine.client.zmq_client import Client
from npc_engine.errors import ConnectionLost, Unauthorized, UnknownNpc

pytestmark = pytest.mark.model

CARD = {"name": "Mara", "description": "Mara keeps an inn.", "first_mes": "*nods* Come in."}
FLAGS = (
    "--window",
    "512",
    "--slots",
    "4",
    "--kv-type",
    "f16",
    "--flash-attn",
    "off",
    "--save-kv",
    "yes",
)
LONG = 100_000


@pytest.fixture
def engine(tiny_llama: Path, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(tiny_llama, *FLAGS, "--saves", str(tmp_path / "saves")) as sidecar:
        yield sidecar


def test_a_whole_game(engine: Sidecar, tmp_path: Path) -> None:
    with engine.client() as client:
        assert client.welcome.model["arch"] == "llama"
        assert client.welcome.limits["window"] == 512
        spawned = client.spawn("mara", CARD)
        assert (spawned.greeting, spawned.restored) == ("*nods* Come in.", False)
        assert client.event("A dog barks.") == 1
        client.hear("mara", "Who are")
        records = list(client.say("mara", "Who are you?", max_tokens=12, stream=["text"]))
        assert [r.seq for r in records] == list(range(len(records)))
        saved = client.save("one")
        assert saved.npcs == ["mara"]
        assert (tmp_path / "saves" / "one").is_dir()
        n_tokens = client.list_npcs()[0].n_tokens
        client.say("mara", "And now?", max_tokens=12).wait()
        assert client.list_npcs()[0].n_tokens > n_tokens
        assert client.load("one").npcs[0].source == "payload"
        assert client.list_npcs()[0].n_tokens == n_tokens
        assert client.stats()["n_npcs"] == 1
        client.despawn("mara")
        with pytest.raises(UnknownNpc):
            client.say("mara", "Hello?").wait()
        assert client.spawn("mara", CARD, restore="one").restored


def test_barge_in(engine: Sidecar) -> None:
    with engine.client() as client:
        client.spawn("mara", CARD)
        speech = client.say("mara", "Talk.", stream=["text"], max_tokens=LONG)
        next(speech)
        speech.cancel(heard=0)
        assert speech.done is not None
        assert (speech.done.reason, speech.done.text) == ("cancelled", "")


def test_a_client_killed_in_mid_line_costs_nobody_anything(engine: Sidecar) -> None:
    program = (
        "import sys, threading; from npc_engine import Client;"
        "c = Client(sys.argv[1], token=sys.argv[2]);"
        f"c.spawn('mara', {CARD!r});"
        f"s = c.say('mara', 'Talk.', stream=['text'], max_tokens={LONG}); next(s);"
        "print('speaking', flush=True); threading.Event().wait()"
    )
    command = [sys.executable, "-c", program, engine.endpoint, engine._token]
    with engine.client() as other:
        other.spawn("bram", CARD)
        with subprocess.Popen(command, stdout=subprocess.PIPE) as doomed:
            assert doomed.stdout is not None
            assert doomed.stdout.readline() == b"speaking\n"
            doomed.kill()
        assert other.say("bram", "Hello.", max_tokens=8).wait().reason in ("stop", "length")
        deadline = time.monotonic() + 30
        while other.stats()["n_speaking"] and time.monotonic() < deadline:
            other.ping()
        assert other.stats()["n_speaking"] == 0


def test_fifty_clients_at_once(engine: Sidecar) -> None:
    clients = [engine.client(timeout=30) for _ in range(50)]
    try:
        for i, client in enumerate(clients[:4]):
            client.spawn(f"npc{i}", CARD)
        speeches = [
            c.say(f"npc{i % 4}", "Hello.", max_tokens=4) for i, c in enumerate(clients[:32])
        ]
        for client in clients:
            client.ping()
        assert all(s.wait().reason in ("stop", "length") for s in speeches)
    finally:
        for client in clients:
            client.close()


def test_the_token_is_wanted(engine: Sidecar) -> None:
    with pytest.raises(Unauthorized):
        Client(engine.endpoint, token="wrong", timeout=10)


def test_an_idle_engine_takes_no_cpu(engine: Sidecar) -> None:
    """Fifty characters, four slots: 0.5 % of 4 s are 20 ms, two ticks of the system's count."""
    with engine.client() as client:
        for i in range(50):
            client.spawn(f"npc{i}", CARD)
        client.event("A dog barks.")
        client.say("npc7", "Hello.", max_tokens=4).wait()
        deadline = time.monotonic() + 60
        n_steps = -1
        while n_steps != (n_steps := client.stats()["n_steps"]) and time.monotonic() < deadline:
            threading.Event().wait(0.2)  # idle reading goes on for a while
        process = psutil.Process(engine.pid)
        before = process.cpu_times()
        threading.Event().wait(4.0)
        after = process.cpu_times()
        assert after.user + after.system - before.user - before.system <= 0.02
        assert client.stats()["n_steps"] == n_steps


@pytest.mark.skipif(os.name != "posix", reason="Windows has classes instead")
def test_the_server_stands_behind_the_game(tiny_llama: Path, tmp_path: Path) -> None:
    own = psutil.Process().nice()
    for flag, nice in ((["--nice", "0"], own), ([], max(own, 5)), (["--nice", "19"], 19)):
        with Sidecar(tiny_llama, *FLAGS, *flag, "--saves", str(tmp_path)) as sidecar:
            assert psutil.Process(sidecar.pid).nice() == nice


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM cannot be caught on Windows")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_mid_line(tiny_llama: Path, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "npc_engine", "serve", "--model", str(tiny_llama), *FLAGS]
    command += ["--bind", "tcp://127.0.0.1:0", "--saves", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            word, _, ready = process.stdout.readline().decode().partition(" ")
            assert word == "READY"
            client = Client(json.loads(ready)["endpoint"])
            client.spawn("mara", CARD)
            speech = client.say("mara", "Talk.", stream=["text"], max_tokens=LONG)
            next(speech)
            began = time.monotonic()
            process.send_signal(number)
            assert speech.wait().reason == "cancelled"
            assert process.wait(10) == 0
            assert time.monotonic() - began < 2
            with pytest.raises(ConnectionLost):
                client.ping()
            client.close()
        finally:
            process.kill()


def test_the_engine_ends_when_its_game_is_killed(tiny_llama: Path, tmp_path: Path) -> None:
    program = (
        "import sys, threading; from npc_engine.client.sidecar import Sidecar;"
        f"s = Sidecar({str(tiny_llama)!r}, *{FLAGS!r}); print(s.pid, flush=True);"
        "threading.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as game:
        assert game.stdout is not None
        try:
            child = psutil.Process(int(game.stdout.readline()))
        finally:
            game.kill()
        assert child.wait(10) is not None or not child.is_running()
