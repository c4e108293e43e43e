"""The server between clients and an engine: messages to requests, replies to bytes, and the loop.

One thread; the one lock is for `stop`. Owns who gets which reply; `stream_socket` has the sockets,
`admission` says what comes in, `connection` what one client has open. It does not know what a
character is: any `EngineLike` can be served.
"""

import logging
import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Literal, Protocol

import zmq

from npc_engine.config import Settings
from npc_engine.errors import Internal, RequestError
from npc_engine.protocol import Cancel, Ping, Reply, Request, error_reply
from npc_engine.server.admission import Admission
from npc_engine.server.connection import Connection
from npc_engine.server.endpoint import bind_endpoint, release_endpoint
from npc_engine.server.stream_socket import BEAT_S, Connections, Gone
from npc_engine.server.zmtp import Message

__all__ = ["Bridge", "EngineLike"]

log = logging.getLogger(__name__)

_STOP = "inproc://stop"
# What is read between two steps, at most: a flood must not keep the engine from its work.
_RECEIVE_S = 0.004
_BURST = 256
# Refusals that a client without the token is told; then nobody listens to it any more.
_MAX_REFUSALS = 64
# Authorized clients, and those with open requests, at most.
_MAX_CLIENTS = 4096
# A full client is tried again after 10 ms; one that has stopped reading for good, less and less.
_RETRY_MS = 10
_MAX_RETRY_MS = 320
# On Windows no signal interrupts a poll: an idle engine looks up twice a second for Ctrl-C.
_IDLE_MS = 500 if sys.platform == "win32" else None
# How long `close` waits: for clients that read late, then for the kernel to take the last bytes.
_DRAIN_S = 0.25
_LINGER_MS = 250


class EngineLike(Protocol):
    """What the bridge needs of an engine. See `engine.EngineCore`."""

    def handle(self, message: Request, client: bytes, /) -> None:
        """Take a request in; never raises for a bad one."""

    def step(self) -> Iterable[tuple[bytes, Reply]]:
        """Do a bounded piece of work; return replies with the client each goes to."""

    def patience(self) -> float | None:
        """Seconds the loop may block for messages: 0 = there is work, None = for ever."""

    def drop(self, client: bytes, reason: Literal["cancelled", "slow_client"], /) -> None:
        """End every stream of a client."""

    def close(self) -> Iterable[tuple[bytes, Reply]]:
        """Answer whatever is open, and end."""


class Bridge:
    """Serves one engine to any number of clients.

    `bind`, `run` and `close` belong to one thread; `stop` may be called from anywhere.
    `token`, if not empty, must be shown by each client's first message.
    """

    def __init__(self, engine: EngineLike, settings: Settings, *, token: str = "") -> None:
        self.endpoint = ""
        self._engine = engine
        self._settings = settings
        self._token = token
        self._admission = Admission(token, settings.max_message_bytes)
        # By identity, in the order of their last requests. Those that have nothing open and
        # nothing waiting are remembered only if they are authorized.
        self._clients: dict[bytes, Connection] = {}
        # Those whose replies did not all fit; the dict is an ordered set.
        self._full: dict[bytes, None] = {}
        self._retry_ms = _RETRY_MS
        self._stopped = self._closed = False
        self._waking = threading.Lock()  # held for good from where the context ends
        self._zmq = zmq.Context()
        self._connections = Connections(
            self._zmq,
            stranger_keeps=self._admission.hello_bytes,
            keeps=self._admission.seek_id_bytes,
            wants_trust=bool(token),
        )
        self._beat_at = time.monotonic() + BEAT_S
        self._wake = self._zmq.socket(zmq.PULL)
        self._wake.bind(_STOP)
        self._poller = zmq.Poller()
        self._poller.register(self._connections.socket, zmq.POLLIN)
        self._poller.register(self._wake, zmq.POLLIN)

    def bind(self) -> str:
        """Bind `settings.bind` and return the endpoint with its real port; raises BindError."""
        self.endpoint = bind_endpoint(
            self._connections.socket, self._settings.bind, token=self._token
        )
        return self.endpoint

    def run(self) -> None:
        """Serve until `stop`. What the engine raises comes out once every client has an answer."""
        try:
            while not self._stopped:
                for client, request in self.receive(self._engine.patience()):
                    self._engine.handle(request, client)
                for client, reply in self._engine.step():
                    self.send(client, reply)
                self.flush()
        except Exception:
            log.exception("the engine failed")
            self._answer_all(Internal("The engine failed.", "Its log says why. Start it again."))
            raise

    def stop(self) -> None:
        """Make `run` return after its step. Safe in a signal handler and from other threads."""
        self._stopped = True
        # Without waiting, as a signal comes amid anything: who has it wakes the loop, or ends it.
        if not self._waking.acquire(blocking=False):
            return
        try:
            # A socket for each call, since ZeroMQ sockets may not be shared between threads.
            with suppress(zmq.ZMQError), self._zmq.socket(zmq.PUSH) as wake:
                wake.setsockopt(zmq.LINGER, 0)
                wake.connect(_STOP)
                wake.send(b"", zmq.NOBLOCK)
        finally:
            self._waking.release()

    def close(self) -> None:
        """Close the engine, send the last replies (0.5 s at most), close the sockets."""
        if self._closed:
            return
        self._stopped = self._closed = True
        try:
            for client, reply in self._engine.close():
                self.send(client, reply)
        finally:
            # Open what came too late for the engine, so that it is answered as well.
            for _ in self.receive(0.0):
                pass
            self._answer_all(Internal("The engine is shutting down.", "Start it again."))
            self._drain()
            self._wake.close(linger=0)
            self._connections.close(_LINGER_MS)
            self._waking.acquire()  # a socket of a context that ends aborts the process
            self._zmq.term()
            release_endpoint(self.endpoint)

    def receive(self, patience: float | None) -> Iterator[tuple[bytes, Request]]:
        """Yield valid requests with their clients, waiting `patience` seconds for the first.

        All others are answered with an error here.
        """
        until = math.inf if patience is None else time.monotonic() + patience
        n_requests = 0
        while True:
            in_vain = (
                not self._poller.poll(self._timeout_ms(until)) and self._connections.is_drained
            )
            for client, request in self._read():
                n_requests += 1
                yield client, request
            self._beat()
            # Of handshakes and refusals the engine need not know; but a slow client waits, too.
            if n_requests or in_vain or self._full or self._stopped or time.monotonic() >= until:
                return

    def _read(self) -> Iterator[tuple[bytes, Request]]:
        """Yield the requests that are there, as far as the time goes."""
        until = time.monotonic() + _RECEIVE_S
        for arrival in islice(self._connections.arrivals(), _BURST):
            if arrival is not None:
                client, message = arrival
                if message is None:
                    self._lose(client)
                elif (request := self._admit(client, message)) is not None:
                    yield client, request
            elif self._connections.is_drained:
                return
            if time.monotonic() >= until:
                return

    def _beat(self) -> None:
        if time.monotonic() >= self._beat_at:
            for client in self._connections.beat():
                self._lose(client)
            self._beat_at = time.monotonic() + BEAT_S

    def send(self, client: bytes, reply: Reply) -> None:
        """Send a reply, or let it wait for its client; one that does not read is cut off."""
        connection = self._clients.get(client)
        if connection is None:
            return  # gone since its request
        if not connection.put(reply):
            log.warning("a client does not read its replies: its streams are cut")
            self._drop(client, "slow_client")
        self._flush(client, connection)

    def flush(self) -> None:
        """Try again to send what waits."""
        n_sent = sum(self._flush(client, self._clients[client]) for client in list(self._full))
        hopeless = self._full and not n_sent
        self._retry_ms = min(2 * self._retry_ms, _MAX_RETRY_MS) if hopeless else _RETRY_MS

    def _timeout_ms(self, until: float) -> int | None:
        if not self._connections.is_drained:
            return 0
        if self._connections.n:
            until = min(until, self._beat_at)
        retry = self._retry_ms if self._full else _IDLE_MS
        if until == math.inf:
            return retry
        # Rounded up: rounded down to 0, the loop would spin through the last millisecond.
        wait = max(0, math.ceil((until - time.monotonic()) * 1000))
        return wait if retry is None else min(wait, retry)

    def _admit(self, client: bytes, message: Message) -> Request | None:
        """Return the request if the engine may have it; answer it with an error if not."""
        connection = self._connection(client)
        known = self._admission.knows(connection)
        try:
            request = self._admission.admit(
                message.frames,
                connection,
                chose_its_id=self._connections.chose_its_id(client),
                n_skipped=message.n_skipped,
            )
            connection.open(request.id, urgent=isinstance(request, Cancel | Ping))
        except RequestError as e:
            self._refuse(client, connection, e, message)
            return None
        if not known:
            self._connections.trust(client)
        return request

    def _refuse(
        self, client: bytes, connection: Connection, error: RequestError, message: Message
    ) -> None:
        if not connection.is_full:
            connection.refuse(error, self._admission.find_id(message.frames, connection))
        if (
            not self._admission.knows(connection)
            and self._connections.refused(client) >= _MAX_REFUSALS
        ):
            self._connections.mute(client)
        self._flush(client, connection)

    def _lose(self, client: bytes) -> None:
        """Forget a client that is gone."""
        if client in self._clients:
            self._forget(client)
            self._drop(client, "cancelled")

    def _connection(self, client: bytes) -> Connection:
        known = self._clients.pop(client, None)
        if known is None and len(self._clients) >= _MAX_CLIENTS:
            idle = next((c for c, p in self._clients.items() if p.is_idle), None)
            if idle is not None:
                del self._clients[idle]
                self._connections.hang_up(idle)
        connection = known or Connection(
            self._settings.max_open_requests, self._settings.max_outbox
        )
        self._clients[client] = connection
        return connection

    def _flush(self, client: bytes, connection: Connection) -> int:
        """Send what waits for one client; return how many records went."""
        try:
            n_sent = connection.flush(lambda frame: self._connections.send(client, frame))
        except Gone:
            self._lose(client)
            return 0
        if connection.n_waiting:
            self._full[client] = None
        elif connection.is_idle and not connection.authorized:
            self._forget(client)
        else:
            self._full.pop(client, None)
        return n_sent

    def _forget(self, client: bytes) -> None:
        self._clients.pop(client, None)
        self._full.pop(client, None)

    def _drop(self, client: bytes, reason: Literal["cancelled", "slow_client"]) -> None:
        if not self._closed:
            self._engine.drop(client, reason)

    def _answer_all(self, error: Internal) -> None:
        for client, connection in list(self._clients.items()):
            for request_id in connection.unanswered():
                self.send(client, error_reply(error, request_id))

    def _drain(self) -> None:
        """Give clients that read late a moment to take what waits for them."""
        deadline = time.monotonic() + _DRAIN_S
        while self._full and time.monotonic() < deadline:
            time.sleep(_RETRY_MS / 1000)
            self.flush()
