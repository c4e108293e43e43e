"""The server: a ZeroMQ ROUTER between clients and an engine; frames to messages, and the loop.

One thread, no locks. Owns the sockets and who gets which reply; `gate` says what comes in, `peer`
what one client has open. It does not know what a character is: any `EngineLike` can be served.
"""

import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Literal, Protocol

import zmq

from npc_engine.config import Settings
from npc_engine.endpoint import bind_endpoint, release_endpoint
from npc_engine.errors import Internal, RequestError
from npc_engine.gate import Gate
from npc_engine.messages import Reply, Request, error_reply
from npc_engine.peer import Peer

__all__ = ["Bridge", "EngineLike"]

log = logging.getLogger(__name__)

_STOP = "inproc://stop"
# Frames read between two steps: a flood must not keep the engine from its work.
_BURST = 256
# Records libzmq holds for one client. Small, so that a client that does not read is found before
# megabytes have gone its way; what does not fit waits in its Peer, so bursts lose nothing.
_SNDHWM = 256
_RCVHWM = 128
# A game that loads a level may not answer for 20 s: only 30 s of silence mean that it is gone.
_PING_EVERY_MS = 10_000
_GONE_AFTER_MS = 30_000
# libzmq hangs up on a larger frame without a word, so this guards memory and nothing else: the
# frames between max_message_bytes and this get an error.
_LARGEST_FRAME = 64 << 20
# Authorized clients remembered: libzmq does not tell when an idle one disconnects.
_MAX_PEERS = 4096
# A full client is tried again after 10 ms; one that has stopped reading for good, less and less.
_RETRY_MS = 10
_MAX_RETRY_MS = 320
# On Windows no signal interrupts a poll: an idle engine looks up twice a second for Ctrl-C.
_IDLE_MS = 500 if sys.platform == "win32" else None
# How long `close` waits: for clients that read late, then for the kernel to take the last bytes.
_DRAIN_S = 0.25
_LINGER_MS = 250


class EngineLike(Protocol):
    """What the bridge needs of an engine. See `engine.Engine`."""

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
        self._gate = Gate(token, settings.max_message_bytes)
        # By identity, in the order of their last requests. Those that have nothing open and
        # nothing waiting are remembered only if they are authorized.
        self._peers: dict[bytes, Peer] = {}
        # Those whose replies did not all fit; the dict is an ordered set.
        self._full: dict[bytes, None] = {}
        self._retry_ms = _RETRY_MS
        self._stopped = self._closed = False
        self._zmq = zmq.Context()
        self._router = self._zmq.socket(zmq.ROUTER)
        self._wake = self._zmq.socket(zmq.PULL)
        self._wake.bind(_STOP)
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._wake, zmq.POLLIN)

    def bind(self) -> str:
        """Bind `settings.bind` and return the endpoint with its real port; raises BindError."""
        # Without MANDATORY a ROUTER drops what it cannot send, and says nothing.
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.SNDHWM, _SNDHWM)
        self._router.setsockopt(zmq.RCVHWM, _RCVHWM)
        self._router.setsockopt(zmq.HEARTBEAT_IVL, _PING_EVERY_MS)
        self._router.setsockopt(zmq.HEARTBEAT_TIMEOUT, _GONE_AFTER_MS)
        self._router.setsockopt(zmq.HEARTBEAT_TTL, _GONE_AFTER_MS)
        self._router.setsockopt(zmq.MAXMSGSIZE, max(_LARGEST_FRAME, self._gate.seek_id_bytes))
        self.endpoint = bind_endpoint(self._router, self._settings.bind, token=self._token)
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
        # A socket for each call, since ZeroMQ sockets may not be shared between threads.
        with suppress(zmq.ZMQError), self._zmq.socket(zmq.PUSH) as wake:
            wake.setsockopt(zmq.LINGER, 0)
            wake.connect(_STOP)
            wake.send(b"", zmq.NOBLOCK)

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
            self._router.close(linger=_LINGER_MS)
            self._zmq.term()
            release_endpoint(self.endpoint)

    def receive(self, patience: float | None) -> Iterator[tuple[bytes, Request]]:
        """Yield valid requests with their clients, waiting `patience` seconds for the first.

        All others are answered with an error here.
        """
        self._poller.poll(self._timeout_ms(patience))
        for _ in range(_BURST):
            try:
                client, *frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            request = self._admit(client, frames)
            if request is not None:
                yield client, request

    def send(self, client: bytes, reply: Reply) -> None:
        """Send a reply, or let it wait for its client; one that does not read is cut off."""
        peer = self._peers.get(client)
        if peer is None:
            return  # gone since its request
        if not peer.put(reply):
            log.warning("a client does not read its replies: its streams are cut")
            self._drop(client, "slow_client")
        self._flush(client, peer)

    def flush(self) -> None:
        """Try again to send what waits."""
        n_sent = sum(self._flush(client, self._peers[client]) for client in list(self._full))
        hopeless = self._full and not n_sent
        self._retry_ms = min(2 * self._retry_ms, _MAX_RETRY_MS) if hopeless else _RETRY_MS

    def _timeout_ms(self, patience: float | None) -> int | None:
        retry = self._retry_ms if self._full else _IDLE_MS
        if patience is None:
            return retry
        # Rounded up: rounded down to 0, the loop would spin through the last millisecond.
        wait = max(0, math.ceil(patience * 1000))
        return wait if retry is None else min(wait, retry)

    def _admit(self, client: bytes, frames: list[bytes]) -> Request | None:
        """Return the request if the engine may have it; answer it with an error if not."""
        peer = self._peer(client)
        try:
            # libzmq's own ids begin with a zero byte, and no client may choose one that does.
            request = self._gate.admit(frames, peer, chose_its_id=not client.startswith(b"\0"))
            peer.open(request.id)
        except RequestError as e:
            peer.refuse(e, self._gate.find_id(frames))
            self._flush(client, peer)
            return None
        return request

    def _peer(self, client: bytes) -> Peer:
        known = self._peers.pop(client, None)
        if known is None and len(self._peers) >= _MAX_PEERS:
            idle = next((c for c, p in self._peers.items() if p.is_idle), None)
            if idle is not None:
                del self._peers[idle]
        peer = known or Peer(self._settings.max_open_requests, self._settings.max_outbox)
        self._peers[client] = peer
        return peer

    def _flush(self, client: bytes, peer: Peer) -> int:
        """Send what waits for one client; return how many records went."""
        try:
            n_sent = peer.flush(lambda frame: self._transmit(client, frame))
        except _Gone:
            self._forget(client)
            self._drop(client, "cancelled")
            return 0
        if peer.n_waiting:
            self._full[client] = None
        elif peer.is_idle and not peer.authorized:
            self._forget(client)
        else:
            self._full.pop(client, None)
        return n_sent

    def _transmit(self, client: bytes, frame: bytes) -> bool:
        """Hand one frame to libzmq; False if its queue for this client is full."""
        try:
            self._router.send_multipart([client, frame], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as e:
            if e.errno != zmq.EHOSTUNREACH:
                raise
            raise _Gone from None
        return True

    def _forget(self, client: bytes) -> None:
        self._peers.pop(client, None)
        self._full.pop(client, None)

    def _drop(self, client: bytes, reason: Literal["cancelled", "slow_client"]) -> None:
        if not self._closed:
            self._engine.drop(client, reason)

    def _answer_all(self, error: Internal) -> None:
        for client, peer in list(self._peers.items()):
            for request_id in peer.unanswered():
                self.send(client, error_reply(error, request_id))

    def _drain(self) -> None:
        """Give clients that read late a moment to take what waits for them."""
        deadline = time.monotonic() + _DRAIN_S
        while self._full and time.monotonic() < deadline:
            self._router.poll(_RETRY_MS)
            self.flush()


class _Gone(Exception):
    """The client has disconnected."""
