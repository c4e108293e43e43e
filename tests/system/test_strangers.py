"""Who has no token, or no good will: it stalls nobody, and nothing of it is kept.

Real sockets on loopback around a scripted engine. Every wait has a timeout.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, count, islice, repeat
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import zmq

from npc_engine import protocol
from npc_engine.protocol import Event, Spawn, pack
from npc_engine.server import bridge as bridge_module
from npc_engine.server import stream_socket as connections_module
from npc_engine.server.stream_socket import Connections
from npc_engine.server.zmtp import Zmtp, framed
from tests.support.served import HANDSHAKE, TIMEOUT_MS, Raw, Served, hello, ping, say, wait_until


@pytest.mark.parametrize("token", ["", "secret"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_parts_without_end_are_not_kept(token: str, size: int) -> None:
    with Served(token=token) as served, Raw(served) as stranger:
        friend = served.client()
        assert friend.ask(hello(token))["type"] == "welcome"
        rss = psutil.Process().memory_info().rss
        for _ in range(128):
            stranger.send(*[bytes(size)] * (1 if size > 1 else 500), more=True)
        assert friend.ask(ping())["type"] == "pong"
        assert served.bridge._connections._n_held <= 1 << 20
        assert psutil.Process().memory_info().rss - rss < 40 << 20
        assert served.engine.drops == []


def test_of_a_stranger_only_a_small_hello_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def looked_into(frame: bytes, *_: Any) -> None:
        decoded.append(len(frame))

    monkeypatch.setattr(protocol, "unpack_hello", looked_into)
    monkeypatch.setattr(protocol, "unpack", looked_into)
    monkeypatch.setattr(protocol, "find_id", looked_into)
    with Served(token="secret") as served:
        stranger = served.client()
        spawn = Spawn(id="x", npc="mara", card={"name": "Mara", "description": "x" * 900_000})
        for frame in (pack(spawn), pack(hello("t" * (1 << 20))), b"\x80" * (1 << 20)):
            stranger.send(frame)
            assert stranger.read()["code"] == "unauthorized"
        stranger.send(b"", pack(ping()))
        assert stranger.read()["code"] == "unauthorized"
        assert all(n < 10_000 for n in decoded)


def test_a_stranger_is_told_some_times_and_then_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridge_module, "BEAT_S", 0.02)
    n = bridge_module._MAX_REFUSALS
    with Served(token="secret") as served:
        stranger, friend = served.client(), served.client()
        for _ in range(n):
            assert stranger.ask(hello("wrong"))["code"] == "unauthorized"
        stranger.send(pack(hello("secret")))  # at once, or on its next connection
        assert friend.ask(hello("secret"))["type"] == "welcome"
        with Raw(served) as raw:
            raw.send(*[pack(ping())] * (n + 1))
            assert raw.is_hung_up()
        assert friend.ask(ping())["type"] == "pong"
        assert len(served.bridge._clients) <= 2


def test_between_two_steps_little_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time at all for reading, each step still follows one arrival, and all are read."""
    monkeypatch.setattr(bridge_module, "_RECEIVE_S", 0.0)
    with Served() as served:
        monkeypatch.setattr(served.engine, "patience", lambda: 0.0)
        client = served.client()
        assert client.ask(ping())["type"] == "pong"
        n_steps = served.engine.n_steps
        for i in range(200):
            client.send(pack(ping(str(i))))
        assert [client.read()["id"] for _ in range(200)] == [str(i) for i in range(200)]
        assert served.engine.n_steps - n_steps >= 200


def test_the_oldest_of_too_many_strangers_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "_MAX_STRANGERS", 4)
    with Served(token="t") as served, ExitStack() as stack:
        friend = served.client()
        assert friend.ask(hello("t"))["type"] == "welcome"
        raws = []
        for _ in range(5):
            raws.append(stack.enter_context(Raw(served)))
            assert friend.ask(ping())["type"] == "pong"
        assert raws[0].is_hung_up()
        assert friend.ask(ping())["type"] == "pong"
        assert served.client().ask(hello("t"))["type"] == "welcome"


def test_more_connections_than_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "_MAX_CONNECTIONS", 2)
    with Served() as served:
        clients = [served.client(), served.client()]
        assert [c.ask(ping())["type"] for c in clients] == ["pong", "pong"]
        with Raw(served, shake=False) as late:
            assert late.is_hung_up()
        assert [c.ask(ping())["type"] for c in clients] == ["pong", "pong"]


def test_of_messages_that_do_not_end_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "_MAX_HELD_BYTES", 1 << 20)
    with Served(max_message_bytes=1 << 18) as served, ExitStack() as stack:
        friend = served.client()
        assert friend.ask(ping())["type"] == "pong"
        raws = [stack.enter_context(Raw(served)) for _ in range(4)]
        for raw in raws:
            raw.socket.sendall(framed(bytes(1 << 20))[:-1])
            wait_until(lambda: served.bridge._connections.is_drained)
            friend.ask(ping())
        assert any(raw.is_hung_up() for raw in raws[:1])
        assert served.bridge._connections._n_held <= 2 << 20
        assert friend.ask(Event(id="e", npcs="*", text="x" * 200_000))["type"] == "ok"


def test_connections_leave_files_to_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 1 << 20))
    with Served(token="t") as served, ExitStack() as stack:
        raws = [stack.enter_context(Raw(served)) for _ in range(8)]
        assert served.client().ask(hello("t"))["type"] == "welcome"
        assert raws[0].is_hung_up()
        assert served.bridge._connections.n <= 8


class Wire:
    """What libzmq has read of each client, handed on in turns, one read of each."""

    def __init__(self) -> None:
        self.queues: dict[bytes, Iterator[bytes]] = {}
        self.hung_up: list[bytes] = []

    def recv_multipart(self, _flags: int) -> tuple[bytes, bytes]:
        for client, reads in list(self.queues.items()):
            del self.queues[client]
            data = next(reads, None)
            if data is not None:
                self.queues[client] = reads
                return client, data
        raise zmq.Again

    def send_multipart(self, frames: list[bytes], _flags: int) -> None:
        if not frames[1]:
            self.hung_up.append(frames[0])


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def wired(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Connections:
    with zmq.Context() as context:
        connections = Connections(context, stranger_keeps=9, keeps=1 << 20, wants_trust=False)
        connections.socket.close()
    monkeypatch.setattr(connections, "socket", wire)
    return connections


def told(connections: Connections) -> list[tuple[bytes, bytes]]:
    """Return what is handed on between two steps."""
    arrivals = islice(connections.arrivals(), bridge_module._BURST)
    return [(client, message.frames[0]) for client, message in filter(None, arrivals) if message]


def test_a_flood_of_small_messages_makes_nobody_wait(wire: Wire, wired: Connections) -> None:
    for flood in (b"a", b"b", b"c"):
        wire.queues[flood] = chain([b"", HANDSHAKE], repeat(framed(b"") * 4096, 400))
    for _ in range(20):
        told(wired)
    for i in range(20):
        wire.queues[b"friend"] = iter([*[b"", HANDSHAKE][: 2 * (i == 0)], framed(b"%d" % i)])
        for n_steps in count():
            if (b"friend", b"%d" % i) in told(wired):
                break
            assert n_steps < 5
    assert not wire.hung_up


@pytest.mark.slow
def test_who_is_too_far_behind_is_hung_up(wire: Wire, wired: Connections) -> None:
    wire.queues[b"a"] = chain([b"", HANDSHAKE], repeat(framed(b"") * 4096))
    for _ in range(1000):
        told(wired)
        if wire.hung_up:
            break
    assert wire.hung_up == [b"a"]
    assert wired._n_held == 0


@pytest.mark.slow
def test_much_at_once_comes_whole_and_in_order(wire: Wire, wired: Connections) -> None:
    sent = [b"%0100d" % i for i in range(20_000)] + [bytes(1 << 20), b"last"]
    stream = HANDSHAKE + b"".join(map(framed, sent))
    pieces = [stream[at : at + 8192] for at in range(0, len(stream), 8192)]
    wire.queues[b"a"] = iter([b"", *pieces])
    got: list[bytes] = []
    for _ in range(1000):
        got += [frame for _, frame in told(wired)]
    assert got == sent
    assert wired.is_drained
    assert wired._n_held == 0


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" + bytes(80)])
def test_what_speaks_no_zmtp_is_hung_up(sent: bytes) -> None:
    with Served() as served:
        with Raw(served, shake=False) as raw:
            raw.socket.sendall(sent)
            assert raw.is_hung_up()
        assert served.client().ask(ping())["type"] == "pong"


def test_who_sends_all_at_once_has_our_ready_before_the_answer() -> None:
    with Served() as served, Raw(served, shake=False) as raw:
        raw.socket.sendall(HANDSHAKE + framed(b"\xc1"))  # which is refused at once
        got = b""
        while b"bad_message" not in got:
            got += raw.socket.recv(1 << 16)
        assert got.startswith(bytes(Zmtp(0).out) + b"\x04")
        assert 0 < got.index(b"READY") < got.index(b"bad_message")


def test_one_that_is_too_full_to_be_hung_up_is_hung_up_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with zmq.Context() as context:
        connections = Connections(context, stranger_keeps=9, keeps=9, wants_trust=False)
        connections.close(0)
    full = [True]
    sent: list[bytes] = []

    def send(frames: list[bytes], _flags: int) -> None:
        if full[0]:
            raise zmq.Again
        sent.append(frames[1])

    monkeypatch.setattr(connections, "socket", SimpleNamespace(send_multipart=send))
    connections.hang_up(b"client")
    assert not sent
    full[0] = False
    connections.beat()
    connections.beat()
    assert sent == [b""]


@pytest.mark.parametrize("shake", [False, True])
def test_who_says_nothing_is_gone(monkeypatch: pytest.MonkeyPatch, shake: bool) -> None:
    """A handshake that never ends, or a game that does not even answer a heartbeat."""
    monkeypatch.setattr(bridge_module, "BEAT_S", 0.02)
    with Served() as served, Raw(served, shake=shake) as raw:
        friend = served.client()
        if shake:
            raw.send(pack(say("hold")))
        assert friend.ask(ping())["type"] == "pong"
        assert raw.is_hung_up()
        if shake:
            assert served.engine.dropped.wait(TIMEOUT_MS / 1000)
        assert friend.ask(ping())["type"] == "pong"  # it has answered all that time
