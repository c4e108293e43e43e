"""The Python client of the wire protocol (docs/protocol.md): the user's verbs over ZeroMQ.

Owns one DEALER socket, the greeting with its token, and noticing that the engine is gone. It knows
frames and records, and no model. Outside of `server` it alone imports zmq.
"""

import time
from typing import Self

import msgspec
import zmq

from npc_engine import protocol as m
from npc_engine.cards.shapes import to_send
from npc_engine.client.verbs import Verbs
from npc_engine.errors import BadMessage, ConnectionLost, ProtocolVersion
from npc_engine.protocol.validation import heaviest

__all__ = ["Client"]

MAX_MESSAGE_BYTES = 1 << 20  # what an engine takes that does not say
LINGER_MS = 500  # a last `cancel` still gets out, and close() never hangs
START_IT = "Start it: npc-engine serve --model q4.gguf"


class Client(Verbs):
    """A connection to an engine; `welcome` tells what it serves.

    Use it from one thread at a time, and close it (or use `with`). It waits up to `timeout` seconds
    for an engine that is still starting. `name` appears in the engine's log.

    Raises ConnectionLost when none answers, Unauthorized for a wrong or missing `token`, and
    ProtocolVersion for an engine of another version. Once the engine is gone every call raises
    ConnectionLost: make a new Client, since a new engine knows no characters.
    """

    def __init__(
        self,
        endpoint: str = "tcp://127.0.0.1:5757",
        *,
        token: str | None = None,
        timeout: float = 10.0,
        name: str = "python",
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self._lost: ConnectionLost | None = None
        self._max_bytes = MAX_MESSAGE_BYTES
        self._connect()
        try:
            self.welcome: m.Welcome = self._greet(name, token, timeout)
            self._max_bytes = self.welcome.limits.get("max_message_bytes", MAX_MESSAGE_BYTES)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect; the engine cancels what this client has open. May be called again."""
        if self._lost is None:
            self._lose(f"The client of {self.endpoint} is closed.", "Make a new Client.", LINGER_MS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _connect(self) -> None:
        # A context of its own, so that closing never waits for another part of the program.
        self._zmq = zmq.Context()
        self._socket = self._zmq.socket(zmq.DEALER)
        self._socket.linger = LINGER_MS
        # An engine that loads its model answers the handshake when it is ready.
        self._socket.handshake_ivl = 0
        self._socket.ipv6 = "[" in str(self.endpoint)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._socket.connect(self.endpoint)
        except (zmq.ZMQError, UnicodeError, TypeError) as e:
            self.close()
            raise ConnectionLost(
                f"{self.endpoint!r} is no endpoint to connect to: {e}.",
                "Use one such as tcp://127.0.0.1:5757.",
            ) from None

    def _greet(self, name: str, token: str | None, timeout: float) -> m.Welcome:
        hello = m.Hello(id=self._new_id(), protocol=m.PROTOCOL_VERSION, client=name, token=token)
        try:
            welcome = self._ask(hello, m.Welcome, timeout)
        except ConnectionLost:
            raise ConnectionLost(f"No engine answers at {self.endpoint}.", START_IT) from None
        if welcome.protocol != m.PROTOCOL_VERSION:
            raise ProtocolVersion(
                f"The engine speaks protocol {welcome.protocol}, this client {m.PROTOCOL_VERSION}.",
                "Use client and engine of the same version.",
            )
        return welcome

    def _send(self, request: m.Request, frame: bytes) -> None:
        if self._lost is not None:
            raise self._lost.with_traceback(None)
        if isinstance(request, m.Spawn):
            frame = m.pack(msgspec.structs.replace(request, card=to_send(request.card)))
        if len(frame) > self._max_bytes:
            raise m.too_large(len(frame), self._max_bytes, heaviest(frame))
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            raise self._lose(
                f"The engine at {self.endpoint} reads nothing any more.", START_IT, 0
            ) from None

    def _receive(self, timeout: float) -> list[m.Reply]:
        """Return every reply that is there. What came before a disconnection is still returned."""
        if self._lost is not None:
            raise self._lost.with_traceback(None)
        deadline = time.monotonic() + timeout
        while True:
            wait_s = min(max(deadline - time.monotonic(), 0.0), 3600.0)
            ready = dict(self._poller.poll(int(wait_s * 1000)))
            replies = self._drain()
            if replies or not ready:
                return replies
            if self._monitor in ready:
                raise self._lose(f"The engine at {self.endpoint} is gone.", START_IT, 0)

    def _drain(self) -> list[m.Reply]:
        replies: list[m.Reply] = []
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return replies
            replies.append(_reply(b"".join(frames)))

    def _lose(self, message: str, help: str, linger_ms: int) -> ConnectionLost:  # noqa: A002
        self._lost = ConnectionLost(message, help)
        self._zmq.destroy(linger_ms)
        return self._lost


def _reply(frame: bytes) -> m.Reply:
    try:
        reply: m.Reply = m.unpack_reply(frame)
    except BadMessage as error:
        return m.error_reply(error, None)
    return reply
