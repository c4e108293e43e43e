"""Whatever clients send, and read or not: one answer for each frame, and nobody else notices.

Real sockets on loopback around a scripted engine. Every wait has a timeout.
"""

import itertools
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import zmq

from npc_engine.client.zmq_client import Client
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.errors import BindError, RequestError
from npc_engine.protocol import (
    PROTOCOL_VERSION,
    Cancel,
    Event,
    Hello,
    List,
    Ping,
    Request,
    Save,
    Say,
    Scene,
    Spawn,
    find_id,
    pack,
    unpack,
)
from npc_engine.server import bridge as bridge_module
from npc_engine.server.bridge import Bridge
from tests.support.fake_llama import FakeLlama
from tests.support.served import (
    TIMEOUT_MS,
    Dealer,
    ScriptedEngine,
    Served,
    hello,
    ping,
    say,
    wait_until,
)

# More than the kernel's buffers swallow: a client that does not read stays full.
DEEP = 8192


def real_engine(**settings: Any) -> EngineCore:
    llama = FakeLlama()
    return EngineCore(llama, llama.chat_format(), Settings(**settings))


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


# --- the ordinary way


def test_round_trip(served: Served) -> None:
    client = served.client()
    assert client.ask(hello())["type"] == "welcome"
    assert client.ask(ping()) == {"type": "pong", "id": "p"}
    records = [client.ask(say("lines 40")), *client.read_to_end()]
    assert [r["type"] for r in records] == ["line"] * 40 + ["done"]
    assert [r["seq"] for r in records[:-1]] == list(range(40))
    assert {r["id"] for r in records} == {"s"}


@pytest.mark.skipif(not zmq.has("ipc"), reason="no ipc on this system")
def test_ipc(tmp_path: Path) -> None:
    with Served(bind=f"ipc://{tmp_path}/e") as served:
        assert served.endpoint == served.bridge.endpoint == f"ipc://{tmp_path}/e"
        assert served.client().ask(ping())["type"] == "pong"
        assert (tmp_path / "e").exists()
    assert not (tmp_path / "e").exists()


def test_ipv6_loopback() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with Served(bind="tcp://[::1]:0") as served, Client(served.endpoint) as client:
        client.ping()


def test_a_bridge_that_cannot_bind_can_be_closed(served: Served) -> None:
    second = Bridge(ScriptedEngine(), Settings(bind=served.endpoint))
    with pytest.raises(BindError, match="cannot be bound"):
        second.bind()
    second.close()


def test_fifty_clients_at_once(served: Served) -> None:
    clients = [served.client() for _ in range(50)]
    for i, client in enumerate(clients):
        client.send(pack(say(f"lines {i}", request_id=f"s{i}")))
    for i, client in enumerate(clients):
        records = client.read_to_end()
        assert len(records) == i + 1
        assert {r["id"] for r in records} == {f"s{i}"}


# --- what is refused


def test_token() -> None:
    with Served(token="a-secret") as served:
        client, other = served.client(), served.client()
        for request in (ping(), hello(), hello("wrong"), say("lines 1")):
            refused = client.ask(request)
            assert (refused["code"], refused["id"]) == ("unauthorized", request.id)
            assert "hello" in refused["help"]
        client.send(b"\xc1")
        assert client.read()["code"] == "unauthorized"
        assert served.engine.handled == []
        assert client.ask(hello("a-secret"))["type"] == "welcome"
        assert client.ask(ping())["type"] == "pong"
        assert other.ask(ping())["code"] == "unauthorized"
        served.stop()
        assert len(served.bridge._clients) == 1  # strangers are not remembered


def test_a_routing_id_is_not_inherited() -> None:
    """A client that takes the routing id of an authorized one is not taken for it."""
    with Served(token="t") as served:
        first = served.client(ROUTING_ID=b"game")
        refused = first.ask(hello("t"))
        assert (refused["code"], refused["id"]) == ("unauthorized", "h")
        assert "ZMQ_ROUTING_ID" in refused["help"]
        first.socket.close(linger=0)
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while True:
            second = served.client(ROUTING_ID=b"game")
            second.send(pack(ping()))
            if not second.hears_nothing(ms=200):
                break
            # The ROUTER ignores a second one of this id while the first is not quite gone.
            second.socket.close(linger=0)
            assert time.monotonic() < deadline
        assert second.read()["code"] == "unauthorized"
        assert served.engine.handled == []


def test_without_a_token_a_routing_id_is_nobodys_concern(served: Served) -> None:
    assert served.client(ROUTING_ID=b"game").ask(ping())["type"] == "pong"


def test_authorized_clients_that_vanish_are_forgotten() -> None:
    with Served(token="t") as served:
        stays = served.client()
        assert stays.ask(hello("t"))["type"] == "welcome"
        for _ in range(20):
            client = served.client()
            assert client.ask(hello("t"))["type"] == "welcome"
            client.socket.close(linger=0)
        assert stays.ask(ping())["type"] == "pong"
        wait_until(lambda: len(served.bridge._clients) == 1)


def test_of_too_many_authorized_clients_one_that_is_idle_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridge_module, "_MAX_CLIENTS", 8)
    with Served(token="t") as served:
        busy, idle = served.client(), served.client()
        assert busy.ask(hello("t"))["type"] == idle.ask(hello("t"))["type"] == "welcome"
        busy.send(pack(say("hold")))
        for _ in range(20):
            assert served.client().ask(hello("t"))["type"] == "welcome"
        assert idle.ask(ping())["code"] == "unauthorized"  # it has connected again
        assert busy.ask(ping())["type"] == "pong"
        served.stop()
        assert len(served.bridge._clients) <= 8


def test_without_a_token_idle_clients_take_no_memory(served: Served) -> None:
    for _ in range(20):
        assert served.client().ask(ping())["type"] == "pong"
    served.stop()
    assert not served.bridge._clients


def test_another_protocol_version(served: Served) -> None:
    refused = served.client().ask(Hello(id="h", protocol=99))
    assert (refused["code"], refused["id"]) == ("protocol_version", "h")
    assert "99" in refused["message"]
    assert str(PROTOCOL_VERSION) in refused["message"]


@pytest.mark.parametrize(
    ("frames", "code", "request_id"),
    [
        ([b""], "bad_message", None),
        ([b"\xc1\xff"], "bad_message", None),
        ([msgspec.msgpack.encode([1, 2])], "bad_message", None),
        ([msgspec.msgpack.encode({"type": "dance", "id": "x"})], "bad_message", "x"),
        ([msgspec.msgpack.encode({"type": "say", "id": "x"})], "bad_message", "x"),
        ([msgspec.msgpack.encode({"type": "ping", "id": "x" * 65})], "bad_message", None),
        ([msgspec.msgpack.encode({"type": "ping", "id": 7})], "bad_message", None),
        ([b"", pack(ping("x"))], "bad_message", "x"),
        ([pack(ping("x")), b"more"], "bad_message", None),
        ([msgspec.msgpack.encode({"type": "ping", "id": "x", "a": "-" * 1500})], "too_large", "x"),
        ([msgspec.msgpack.encode({"type": "ping", "id": "x", "a": "-" * 5000})], "too_large", None),
    ],
)
def test_bad_frames(frames: list[bytes], code: str, request_id: str | None) -> None:
    with Served(max_message_bytes=1024) as served:
        client = served.client()
        client.send(*frames)
        refused = client.read()
        assert (refused["type"], refused["code"]) == ("error", code)
        assert refused.get("id") == request_id
        assert refused["message"]
        assert refused["help"]
        assert client.ask(ping())["type"] == "pong"


def test_an_id_is_open_once(served: Served) -> None:
    client, other = served.client(), served.client()
    client.send(pack(say("hold", "1")))
    for frame in (pack(ping("1")), msgspec.msgpack.encode({"type": "dance", "id": "1"})):
        client.send(frame)
        refused = client.read()
        assert (refused["code"], refused.get("id")) == ("bad_message", None)
    assert other.ask(ping("1"))["type"] == "pong"
    assert client.ask(ping("2"))["type"] == "pong"
    assert client.ask(ping("2"))["type"] == "pong"


def test_too_many_open_requests() -> None:
    with Served(max_open_requests=3) as served:
        client = served.client()
        for i in range(3):
            client.send(pack(say("hold", f"s{i}")))
        refused = client.ask(say("hold", "s3"))
        assert (refused["code"], refused["id"]) == ("busy", "s3")
        for i in range(20):  # but what makes room, and a sign of life, always fit
            assert client.ask(Cancel(id=f"c{i}", target="s0"))["type"] == "ok"
            assert client.ask(ping())["type"] == "pong"
        assert served.client().ask(ping())["type"] == "pong"


def test_a_second_terminal_reply_is_not_sent(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    client = served.client()
    assert client.ask(say("twice"))["type"] == "done"
    assert client.ask(ping())["type"] == "pong"
    assert client.hears_nothing()


def mutated_frames(n: int, seed: int) -> Iterator[bytes]:
    """Yield valid requests, and what is left of them after bit flips, cuts and splices."""
    rng = random.Random(seed)

    def valid() -> bytes:
        i = f"{rng.getrandbits(64):016x}"
        make: list[Callable[[], Request]] = [
            lambda: Ping(id=i),
            lambda: Hello(id=i, protocol=rng.choice([0, 1, 1, 2])),
            lambda: Say(id=i, npc="mara", text="lines 2", notes=["n"] * rng.randrange(3)),
            lambda: Spawn(id=i, npc="mara", card={"name": "Mara", "tags": [1, {"a": None}]}),
            lambda: Event(id=i, npcs=rng.choice(["*", ["mara", "tom"]]), text="It rains."),
            lambda: Cancel(id=i, target="other", heard=3),
            lambda: Save(id=i, slot="one"),
        ]
        return pack(rng.choice(make)())

    def flipped() -> bytes:
        frame = bytearray(valid())
        for _ in range(rng.randrange(1, 4)):
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        return bytes(frame)

    def cut() -> bytes:
        return (frame := valid())[: rng.randrange(len(frame))]

    def spliced() -> bytes:
        a, b = valid(), valid()
        return a[: rng.randrange(len(a))] + b[rng.randrange(len(b)) :]

    def noise() -> bytes:
        return rng.randbytes(rng.randrange(200))

    for _ in range(n):
        yield rng.choice([valid, flipped, cut, spliced, noise])()


def id_of(frame: bytes) -> str | None:
    try:
        request_id: str = unpack(frame).id
    except RequestError:
        return find_id(frame)
    return request_id


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["scripted", "real"])
def test_ten_thousand_mutated_frames(engine: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"saves": str(tmp_path), "max_tokens": 8}
    with Served(engine=None if engine == "scripted" else real_engine(**settings)) as served:
        flood_with_mutated_frames(served)


def flood_with_mutated_frames(served: Served) -> None:
    attacker, bystander = served.client(), served.client()
    frames = mutated_frames(10_000, seed=2)
    rss, latencies = [], []
    for chunk in range(200):
        batch = [next(frames) for _ in range(50)]
        for frame in batch:
            attacker.send(frame)
        started = time.monotonic()
        assert bystander.ask(ping(f"b{chunk}"))["id"] == f"b{chunk}"
        latencies.append(time.monotonic() - started)
        answers = Counter[str | None]()
        for _ in batch:
            answers[attacker.read_to_end()[-1].get("id")] += 1
        assert answers == Counter(id_of(frame) for frame in batch)
        assert attacker.ask(ping("sync")) == {"type": "pong", "id": "sync"}
        rss.append(psutil.Process().memory_info().rss)
    assert max(latencies) < 1.0
    assert rss[-1] - rss[50] < 8 << 20
    assert attacker.hears_nothing()


# --- clients that do not read, or are gone


def test_a_slow_client_is_cut_and_nobody_else_notices() -> None:
    with Served(max_outbox=64) as served:
        slow, other = served.client(RCVHWM=1, RCVBUF=8192), served.client()
        slow.send(pack(say("for ever")))
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while not served.engine.dropped.is_set():
            assert time.monotonic() < deadline
            assert other.ask(ping())["type"] == "pong"
        records = other.ask(say("lines 100")), *other.read_to_end()
        assert len(records) == 101
        # What was sent before the cut arrives whole and in order.
        records = tuple(slow.read_to_end())
        assert [r["seq"] for r in records[:-1]] == list(range(len(records) - 1))
        assert (records[-1]["type"], records[-1]["reason"]) == ("done", "slow_client")
        assert [reason for _, reason in served.engine.drops] == ["slow_client"]
        # It reads again, so it is served again.
        assert slow.ask(ping("again")) == {"type": "pong", "id": "again"}
        assert len([slow.ask(say("lines 9", "t")), *slow.read_to_end()]) == 10


@pytest.mark.slow
def test_a_flood_without_reading_is_bounded() -> None:
    with Served(max_outbox=64, max_open_requests=4) as served:
        slow, other = served.client(RCVHWM=1, RCVBUF=8192), served.client()
        sent = itertools.count()

        def flood_until(enough: Callable[[], bool]) -> None:
            deadline = time.monotonic() + TIMEOUT_MS / 1000
            while not enough():
                assert time.monotonic() < deadline
                for i in itertools.islice(sent, 500):
                    slow.send(b"rubbish" if i % 2 else pack(ping(f"{i}")))
                assert other.ask(ping())["type"] == "pong"

        def most_waiting() -> int:
            return max([p.n_waiting for p in list(served.bridge._clients.values())], default=0)

        flood_until(lambda: most_waiting() >= 64)
        rss, full_at = psutil.Process().memory_info().rss, next(sent)
        flood_until(lambda: next(sent) > full_at + 30_000)
        assert most_waiting() <= 64 + 4
        assert psutil.Process().memory_info().rss - rss < 8 << 20
        answered = Counter(slow.read().get("id") for _ in range(500))
        assert max(n for i, n in answered.items() if i) == 1


def test_a_client_killed_in_mid_stream(served: Served) -> None:
    victim, other = served.client(), served.client()
    other.send(pack(say("lines 2000")))
    victim.send(pack(say("for ever")))
    for _ in range(3):
        assert victim.read()["type"] == "line"
    victim.socket.close(linger=0)
    assert served.engine.dropped.wait(TIMEOUT_MS / 1000)
    assert len(other.read_to_end()) == 2001
    assert served.client().ask(ping())["type"] == "pong"
    assert [reason for _, reason in served.engine.drops] in (
        ["cancelled"],
        ["slow_client", "cancelled"],
    )
    served.stop()
    assert not served.bridge._clients


def test_a_slow_client_that_dies_is_forgotten() -> None:
    with Served(max_outbox=DEEP) as served:
        slow = served.client(RCVHWM=1, RCVBUF=8192)
        slow.send(pack(say("for ever")))
        assert served.engine.dropped.wait(TIMEOUT_MS / 1000)
        served.engine.dropped.clear()
        slow.socket.close(linger=0)
        assert served.engine.dropped.wait(TIMEOUT_MS / 1000)
        served.stop()
        assert not served.bridge._clients
        assert [reason for _, reason in served.engine.drops] == ["slow_client", "cancelled"]


# --- idling, stopping, failing


def test_idle_is_blocked(served: Served) -> None:
    client = served.client()
    assert client.ask(ping())["type"] == "pong"
    assert client.ask(ping())["type"] == "pong"
    n_steps = served.engine.n_steps
    assert client.hears_nothing(ms=200)
    assert served.engine.n_steps - n_steps <= 1  # the one that sent the pong


def test_a_client_that_never_reads_costs_few_polls() -> None:
    with Served(max_outbox=DEEP) as served:
        slow, other = served.client(RCVHWM=1, RCVBUF=8192), served.client()
        slow.send(pack(say("for ever")))
        assert served.engine.dropped.wait(TIMEOUT_MS / 1000)
        n_steps = served.engine.n_steps
        assert other.hears_nothing(ms=500)
        assert served.engine.n_steps - n_steps < 20


def test_stop_wakes_an_idle_bridge(served: Served) -> None:
    assert served.client().ask(ping())["type"] == "pong"
    assert served.stop() < 1.0
    assert served.engine.n_closed == 1
    served.bridge.stop()
    served.bridge.close()
    assert served.engine.n_closed == 1


def test_stop_before_run(served: Served) -> None:
    early = Served()
    early.bridge.stop()
    with early:
        pass
    assert early.engine.n_steps == 0


def test_stop_amid_the_end_makes_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = Bridge(ScriptedEngine(), Settings(bind="tcp://127.0.0.1:0"))
    bridge.bind()
    made: list[int] = []
    term = zmq.Context.term

    def end(context: zmq.Context[Any]) -> None:
        monkeypatch.setattr(zmq.Context, "socket", lambda self, kind: made.append(kind))
        other = threading.Thread(target=bridge.stop)
        other.start()
        other.join(TIMEOUT_MS / 1000)
        assert not other.is_alive()
        bridge.stop()  # as in a signal handler
        term(context)

    monkeypatch.setattr(zmq.Context, "term", end)
    bridge.close()
    bridge.stop()
    assert not made


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_stop_in_a_signal_handler() -> None:
    bridge = Bridge(ScriptedEngine(), Settings(bind="tcp://127.0.0.1:0"))
    bridge.bind()
    watchdog = threading.Timer(TIMEOUT_MS / 1000, bridge.stop)
    watchdog.start()
    before = signal.signal(signal.SIGALRM, lambda *_: bridge.stop())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        bridge.run()
        assert watchdog.is_alive()
    finally:
        signal.signal(signal.SIGALRM, before)
        watchdog.cancel()
        watchdog.join(TIMEOUT_MS / 1000)
        bridge.close()


def test_open_requests_are_answered_at_the_end(served: Served) -> None:
    client, slow = served.client(), served.client(RCVHWM=1, RCVBUF=8192)
    slow.send(pack(say("for ever", "x")))
    client.send(pack(say("hold", "1")))
    assert client.ask(ping())["type"] == "pong"
    assert served.engine.dropped.wait(TIMEOUT_MS / 1000)
    assert served.stop() < 2.0
    done = client.read()
    assert (done["type"], done["id"], done["reason"]) == ("done", "1", "cancelled")


def test_a_request_that_comes_too_late_is_answered() -> None:
    bridge = Bridge(ScriptedEngine(), Settings(bind="tcp://127.0.0.1:0"))
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        client = Dealer(context, bridge.bind())
        stack.callback(client.socket.close)
        client.send(pack(ping("late")))
        assert [r.id for _, r in bridge.receive(TIMEOUT_MS / 1000)] == ["late"]
        bridge.close()
        late = client.read()
        assert (late["id"], late["code"]) == ("late", "internal")


def test_when_the_engine_fails_nobody_hangs(caplog: pytest.LogCaptureFixture) -> None:
    with Served() as served:
        first, second = served.client(), served.client()
        first.send(pack(say("hold", "1")))
        assert first.ask(ping())["type"] == "pong"
        for client, request_id in ((second, "2"), (first, "1")):
            if client is second:
                client.send(pack(say("fail", "2")))
            answer = client.read()
            assert (answer["type"], answer["code"]) == ("error", "internal")
            assert answer["id"] == request_id
        assert first.hears_nothing()
        served.stop()
        assert isinstance(served.raised, ZeroDivisionError)
        assert any(r.exc_info for r in caplog.records)


# --- around the real engine


def test_a_talk_with_the_real_engine(tmp_path: Path) -> None:
    engine = real_engine(saves=str(tmp_path), max_tokens=200)
    with Served(engine=engine) as served:
        clients = [served.client() for _ in range(8)]
        for i, client in enumerate(clients):
            spawned = client.ask(Spawn(id="1", npc=f"npc{i}", card={"name": f"Npc {i}"}))
            assert (spawned["type"], spawned["npc"]) == ("spawned", f"npc{i}")
        for i, client in enumerate(clients):
            client.send(pack(Say(id="2", npc=f"npc{i}", text="Who are you?", stream=["text"])))
        for i, client in enumerate(clients):
            *stream, done = client.read_to_end()
            assert (done["type"], done["npc"], done["id"]) == ("done", f"npc{i}", "2")
            assert [r["seq"] for r in stream] == list(range(len(stream)))
            assert "".join(r["text"] for r in stream).strip() == done["text"].strip()
        assert clients[0].hears_nothing(ms=100)  # what is left to read ahead is read
        n_steps = engine.scheduler.stats()["n_steps"]
        assert clients[0].hears_nothing(ms=200)
        assert engine.scheduler.stats()["n_steps"] == n_steps


def test_a_client_of_the_real_engine_killed_in_mid_stream(tmp_path: Path) -> None:
    llama = FakeLlama(mind=lambda tokens: ord("la. "[len(tokens) % 4]))
    settings = Settings(saves=str(tmp_path), max_tokens=1 << 16)
    with Served(engine=EngineCore(llama, llama.chat_format(), settings)) as served:
        victim, other = served.client(), served.client()
        for client, npc in ((victim, "mara"), (other, "tom")):
            assert client.ask(Spawn(id="1", npc=npc, card={"name": npc}))["type"] == "spawned"
        victim.send(pack(Say(id="2", npc="mara", text="Go on for ever.")))
        other.send(pack(Say(id="2", npc="tom", text="Hello.", max_tokens=400)))
        assert victim.read()["type"] == "line"
        victim.socket.close(linger=0)
        assert other.read_to_end()[-1]["reason"] == "length"
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while any(npc["speaking"] for npc in other.ask(List(id="3"))["npcs"]):
            assert time.monotonic() < deadline


def test_a_scene_over_the_wire(tmp_path: Path) -> None:
    engine = real_engine(saves=str(tmp_path), max_tokens=40)
    with Served(engine=engine) as served, Client(served.endpoint) as client:
        for npc in ("mara", "bo"):
            client.spawn(npc, {"name": npc})
        talk = client.scene("inn", ["mara", "bo"], turns=4, stream=["line", "gesture", "text"])
        assert client.list_npcs()[0].scene == "inn"
        records = list(talk)
        assert {record.npc for record in records} == {"mara", "bo"}
        assert talk.done is not None and talk.done.reason == "turns"
        assert [turn.npc for turn in talk.turns] == ["mara", "bo"] * 2
        assert client.list_npcs()[0].scene is None


def test_a_client_killed_in_a_scene(tmp_path: Path) -> None:
    llama = FakeLlama(mind=lambda tokens: ord("la. "[len(tokens) % 4]))
    settings = Settings(saves=str(tmp_path), max_tokens=1 << 16)
    engine = EngineCore(llama, llama.chat_format(), settings)
    with Served(engine=engine) as served, Client(served.endpoint) as other:
        victim = served.client()
        for npc in ("mara", "bo"):
            other.spawn(npc, {"name": npc})
        victim.send(pack(Scene(id="s", scene="inn", npcs=["mara", "bo"])))
        assert victim.read()["type"] == "line"
        assert other.stats()["n_scenes"] == 1
        victim.socket.close(linger=0)
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while other.stats()["n_scenes"]:
            assert time.monotonic() < deadline
