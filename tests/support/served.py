"""A bridge that runs in a thread around a scripted engine, and bare clients of it.

Real sockets on loopback. Every wait has a timeout.
"""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from npc_engine.config import Settings
from npc_engine.protocol import (
    PROTOCOL_VERSION,
    Done,
    DoneStats,
    Hello,
    Line,
    Ok,
    Ping,
    Pong,
    Reply,
    Request,
    Say,
    Welcome,
    pack,
)
from npc_engine.server.bridge import Bridge
from npc_engine.server.zmtp import Zmtp, framed

TIMEOUT_MS = 10_000
STREAMED = {"text", "line", "gesture"}

Record = dict[str, Any]


class ScriptedEngine:
    """Does what the text of a `say` says.

    "lines N": so many lines, 32 a step · "for ever": until dropped · "hold": until closed ·
    "twice": answers twice · "fail": the step raises. Everything else is answered at once.
    """

    def __init__(self) -> None:
        self.n_steps = 0
        self.n_closed = 0
        self.handled: list[Request] = []
        self.drops: list[tuple[bytes, str]] = []
        self.dropped = threading.Event()
        self._out: deque[tuple[bytes, Reply]] = deque()
        self._says: dict[tuple[bytes, str], int] = {}
        self._lines: dict[tuple[bytes, str], float] = {}

    def handle(self, message: Request, client: bytes, /) -> None:
        if type(message) is not Ping:
            self.handled = [*self.handled[-9:], message]
        if not isinstance(message, Say):
            self._out.append((client, self._answer(message)))
            return
        script, _, n = message.text.partition(" ")
        self._says[client, message.id] = 0
        self._lines[client, message.id] = {
            "lines": float(n or 0) if n.isdigit() else 1.0,
            "for": float("inf"),
            "hold": -1.0,
            "twice": 0.0,
            "fail": float("nan"),
        }.get(script, 1.0)
        if script == "twice":
            self._out.append((client, self._done(message.id)))

    def _answer(self, message: Request) -> Reply:
        if isinstance(message, Hello):
            return Welcome(
                id=message.id, protocol=1, engine="scripted", model={}, limits={}, npcs=[]
            )
        return Pong(id=message.id) if isinstance(message, Ping) else Ok(id=message.id)

    def _done(self, request_id: str, reason: Any = "stop") -> Done:
        return Done(
            id=request_id, npc="mara", text="", reason=reason, truncated=False, stats=DoneStats()
        )

    def step(self) -> list[tuple[bytes, Reply]]:
        self.n_steps += 1
        for (client, request_id), seq in list(self._says.items()):
            n = self._lines[client, request_id]
            if n != n:
                raise ZeroDivisionError("the script says so")
            for i in range(seq, int(min(seq + 32, n))):
                line = Line(id=request_id, seq=i, npc="mara", index=i, text="la " * 300)
                self._out.append((client, line))
            self._says[client, request_id] = seq + 32
            if 0 <= n <= seq + 32:
                self._end(client, request_id, "stop")
        out, self._out = list(self._out), deque()
        return out

    def _end(self, client: bytes, request_id: str, reason: str) -> None:
        del self._says[client, request_id], self._lines[client, request_id]
        self._out.append((client, self._done(request_id, reason)))

    def patience(self) -> float | None:
        return 0.0 if self._out or any(n != -1 for n in self._lines.values()) else None

    def drop(self, client: bytes, reason: str, /) -> None:
        self.drops.append((client, reason))
        for key in [k for k in self._says if k[0] == client]:
            self._end(*key, reason)
        self.dropped.set()

    def close(self) -> list[tuple[bytes, Reply]]:
        self.n_closed += 1
        for key in list(self._says):
            self._end(*key, "cancelled")
        return list(self._out)


class Served:
    """A bridge that runs in a thread, until the end of a `with`."""

    def __init__(self, token: str = "", engine: Any = None, **settings: Any) -> None:
        self.engine = ScriptedEngine() if engine is None else engine
        self.bridge = Bridge(
            self.engine, Settings(**{"bind": "tcp://127.0.0.1:0"} | settings), token=token
        )
        self.raised: BaseException | None = None
        self.context = zmq.Context()
        self.dealers: list[Dealer] = []
        self.endpoint = self.bridge.bind()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        try:
            self.bridge.run()
        except ZeroDivisionError as e:
            self.raised = e
        finally:
            self.bridge.close()

    def __enter__(self) -> "Served":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            assert self.stop() < 2.0
        finally:
            for dealer in self.dealers:
                dealer.socket.close(linger=0)
            self.context.term()

    def stop(self) -> float:
        """Stop the bridge; return the seconds that took."""
        started = time.monotonic()
        self.bridge.stop()
        self._thread.join(TIMEOUT_MS / 1000)
        assert not self._thread.is_alive()
        return time.monotonic() - started

    def client(self, **options: int | bytes) -> "Dealer":
        self.dealers.append(Dealer(self.context, self.endpoint, **options))
        return self.dealers[-1]


class Dealer:
    """A bare client: sends records, reads records."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, **options: int | bytes
    ) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        self.socket.setsockopt(zmq.SNDTIMEO, TIMEOUT_MS)
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.socket.connect(endpoint)

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def ask(self, request: Request) -> Record:
        """Send a request and return the next record."""
        self.send(pack(request))
        return self.read()

    def read(self) -> Record:
        record: Record = msgspec.msgpack.decode(self.socket.recv())
        return record

    def read_to_end(self) -> list[Record]:
        """Read records to the first terminal one."""
        records = [self.read()]
        while records[-1]["type"] in STREAMED:
            records.append(self.read())
        return records

    def hears_nothing(self, ms: int = 50) -> bool:
        return self.socket.poll(ms) == 0


def ping(request_id: str = "p") -> Ping:
    return Ping(id=request_id)


def say(text: str, request_id: str = "s") -> Say:
    return Say(id=request_id, npc="mara", text=text)


def hello(token: str | None = None) -> Hello:
    return Hello(id="h", protocol=PROTOCOL_VERSION, token=token)


HANDSHAKE = bytes(Zmtp(0).out) + framed(b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER", 4)


class Raw:
    """A connection by hand, with a handshake and without a token."""

    def __init__(self, served: Served, *, shake: bool = True) -> None:
        address = served.endpoint.removeprefix("tcp://").split(":")
        self.socket = socket.create_connection((address[0], int(address[1])), TIMEOUT_MS / 1000)
        if shake:
            self.socket.sendall(HANDSHAKE)

    def send(self, *frames: bytes, more: bool = False) -> None:
        self.socket.sendall(b"".join(framed(frame, int(more)) for frame in frames))

    def is_hung_up(self) -> bool:
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(1 << 16):
                pass
        return True

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.001)
