"""All connections of an engine: one ZeroMQ socket, and a `zmtp.Zmtp` for each client.

Owns the socket and what everybody together may cost: turns, connections, bytes of messages that
were not handed on yet, silence. It knows who is trusted, and not why; and nothing of what a message
says.

Why no ROUTER: libzmq keeps all parts of a message until the last one comes, whatever its limits,
from anybody who connects. Over a STREAM it hands on what it has read, and keeps a few reads.

Rule 1. Messages are handed on in turns, one of each connection, and to whoever is far behind little
        more is read: a flood of small ones makes nobody else wait for more than a turn of it.
Rule 2. Connections take half of the files that the process may open at most, and strangers half of
        these: saves need the others. Of more than 512 strangers the one that came first goes.
Rule 3. Of all that was not handed on yet, 64 MiB are kept; beyond that goes who began first.
Rule 4. Who says nothing for three beats is gone, and so is a handshake that takes as long.
"""

import logging
from collections.abc import Generator, Iterator
from contextlib import suppress

import zmq

from npc_engine.server.zmtp import PING, BadPeer, Message, Zmtp, framed

__all__ = ["BEAT_S", "Connections", "Gone"]

log = logging.getLogger(__name__)

# A game that loads a level may not answer for 20 s: only 30 s of silence mean that it is gone.
BEAT_S = 10.0
_SILENT_BEATS = 3
_MUTED_BEATS = 2
_MAX_CONNECTIONS = 4096
_MAX_STRANGERS = 512
_MAX_HELD_BYTES = 64 << 20
# Bytes that wait for their turns, of one connection, before it is read more slowly.
_MAX_AHEAD_BYTES = 1 << 17
# Beyond so many, and one message, it is hung up: nobody means that.
_MAX_BEHIND_BYTES = 4 << 20
# Records libzmq holds for one client. Small, so that a client that does not read is found before
# megabytes have gone its way; what does not fit waits in its Connection: bursts lose nothing.
_SNDHWM = 256
# Reads libzmq holds of one client, of 8 KiB each, before TCP slows it down.
_RCVHWM = 16


_Arrival = tuple[bytes, Message | None]


class Gone(Exception):
    """The client has disconnected."""


class Connections:
    """Who is connected. A message of a stranger is handed on up to `stranger_keeps` bytes.

    `keeps` is what counts for those who are trusted: without `wants_trust` everybody, once
    connected. Clients are the names that libzmq gives to connections; none comes twice.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        *,
        stranger_keeps: int,
        keeps: int,
        wants_trust: bool,
    ) -> None:
        self.is_drained = True  # whether all that had come was handed on
        self._keeps = keeps
        self._stranger_keeps = stranger_keeps
        self._wants_trust = wants_trust
        self._all: dict[bytes, Zmtp] = {}
        self._strangers: dict[bytes, int] = {}  # how often each was refused
        self._held: dict[bytes, int] = {}  # bytes of a message that has not ended
        self._n_held = 0
        self._n_silent: dict[bytes, int] = {}  # beats without a word
        self._turns: dict[bytes, None] = {}  # who may have messages, in turns
        self._behind: set[bytes] = set()  # who was too far behind when read, since `arrivals`
        self._paused_for: bytes | None = None  # nothing is read while it is so
        self._unended: set[bytes] = set()  # to be hung up once that can be told to libzmq
        self.socket = context.socket(zmq.STREAM)
        self.socket.setsockopt(zmq.SNDHWM, _SNDHWM)
        self.socket.setsockopt(zmq.RCVHWM, _RCVHWM)
        # A client that takes nothing for as long is not told by its silence: nothing gets to it.
        self.socket.setsockopt(zmq.TCP_MAXRT, int(1000 * BEAT_S * _SILENT_BEATS))
        self._max_connections = _room()
        self._max_strangers = min(_MAX_STRANGERS, max(1, self._max_connections // 2))
        self._arrivals = self._arrive()

    @property
    def n(self) -> int:
        """How many are connected."""
        return len(self._all)

    def arrivals(self) -> Iterator[_Arrival | None]:
        """Yield each message with its client, and None in its place for a client that is gone.

        Endless: it also yields None now and then, so that the caller may look at the clock, and
        when nothing is left to be read (`is_drained`). What is not taken is there the next time.
        """
        self._behind.clear()
        self._paused_for = None
        return self._arrivals

    def send(self, client: bytes, frame: bytes) -> bool:
        """Hand one frame to libzmq; False if its queue for this client is full. Raises Gone."""
        return self._transmit(client, framed(frame))

    def chose_its_id(self, client: bytes) -> bool:
        """Return whether the client gave itself a routing id."""
        return client in self._all and self._all[client].chose_its_id

    def refused(self, client: bytes) -> int:
        """Note that a stranger was refused; return how often it has been."""
        n = self._strangers.get(client, 0) + 1
        if client in self._strangers:
            self._strangers[client] = n
        return n

    def trust(self, client: bytes) -> None:
        """Hand on longer messages of a client, and never hang up for a stranger."""
        self._strangers.pop(client, None)
        if client in self._all:
            self._all[client].keep = self._keeps

    def mute(self, client: bytes) -> None:
        """Hand on nothing of a client any more, and hang up in a while."""
        if client in self._all:
            self._all[client].mute()

    def hang_up(self, client: bytes) -> None:
        """Disconnect a client."""
        self._forget(client)
        self._unended.discard(client)
        with suppress(Gone):
            if not self._transmit(client, b""):  # it reads so little that not even this fits
                self._unended.add(client)

    def beat(self) -> list[bytes]:
        """Ask for a sign of life where none came since the last beat; return who is gone.

        To be called every `BEAT_S`. It counts beats and no time: while the engine reads nothing,
        nobody is silent.
        """
        for client in list(self._unended):
            self.hang_up(client)
        gone = []
        for client, connection in list(self._all.items()):
            n = self._n_silent[client] = self._n_silent.get(client, 0) + 1
            if n > (_MUTED_BEATS if connection.muted else _SILENT_BEATS):
                self.hang_up(client)
                gone.append(client)
            elif n > 1 and connection.is_ready and not connection.muted:
                try:
                    self._transmit(client, PING)
                except Gone:
                    gone.append(client)
        return gone

    def close(self, linger_ms: int) -> None:
        """Close the socket."""
        self._arrivals.close()
        self.socket.close(linger=linger_ms)

    def _arrive(self) -> Generator[_Arrival | None]:
        while True:
            yield from self._take_in()
            for client in list(self._turns):
                yield from self._take_turn(client)

    def _take_in(self) -> Iterator[_Arrival | None]:
        """Take in one read, if there is one and nobody is too far behind for it.

        libzmq hands on one read of each connection in turns. So once it has brought a second one
        of somebody who is far behind, everybody else has been read as well.
        """
        if self._paused_for is not None and self._is_behind(self._paused_for):
            return
        self._paused_for = None
        try:
            client, data = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            self.is_drained = not self._turns
            yield None
            return
        self.is_drained = False
        if data:
            yield from self._feed(client, data)
        elif client in self._all:
            self._forget(client)
            yield client, None
        else:
            yield from self._welcome(client)
            yield None

    def _is_behind(self, client: bytes) -> bool:
        return client in self._turns and self._all[client].n_held > _MAX_AHEAD_BYTES

    def _welcome(self, client: bytes) -> Iterator[_Arrival]:
        if len(self._all) >= self._max_connections:
            self.hang_up(client)
            return
        if len(self._strangers) >= self._max_strangers:
            first = next(iter(self._strangers))
            self.hang_up(first)
            yield first, None
        self._strangers[client] = 0
        keeps = self._stranger_keeps if self._wants_trust else self._keeps
        connection = self._all[client] = Zmtp(keeps)
        with suppress(Gone):
            self._send_out(client, connection)

    def _feed(self, client: bytes, data: bytes) -> Iterator[_Arrival | None]:
        connection = self._all.get(client)
        if connection is None:
            yield None  # what came before it was hung up
            return
        if self._is_behind(client):
            if client in self._behind:
                self._paused_for = client
            self._behind.add(client)
        connection.feed(data)
        self._turns[client] = None
        self._hold(client, connection.n_held)
        if connection.n_held > connection.keep + _MAX_BEHIND_BYTES:
            log.warning("a client that sends faster than it can be served was hung up")
            self.hang_up(client)
            yield client, None
        while self._n_held > max(_MAX_HELD_BYTES, 2 * self._keeps):
            first = next(iter(self._held))
            self.hang_up(first)
            yield first, None

    def _take_turn(self, client: bytes) -> Iterator[_Arrival | None]:
        connection = self._all.get(client)
        if connection is None:
            return  # hung up since
        try:
            message = connection.next()
            self._send_out(client, connection)  # our READY goes before any answer
        except BadPeer as e:
            log.debug("a connection was refused: %s", e)
            self.hang_up(client)
            yield client, None
            return
        except Gone:
            yield client, None
            return
        if message is not None:
            self._hold(client, 0)  # what is behind it has begun now
        self._hold(client, connection.n_held)
        if message is None or not connection.n_held:
            self._turns.pop(client, None)
        if connection.is_ready and not connection.muted:
            self._n_silent[client] = 0
            if not self._wants_trust:
                self.trust(client)
        yield message and (client, message)

    def _send_out(self, client: bytes, connection: Zmtp) -> None:
        if connection.out and self._transmit(client, bytes(connection.out)):
            connection.out.clear()

    def _hold(self, client: bytes, n_bytes: int) -> None:
        self._n_held += n_bytes - self._held.get(client, 0)
        if n_bytes:
            self._held[client] = n_bytes
        else:
            self._held.pop(client, None)

    def _forget(self, client: bytes) -> None:
        self._hold(client, 0)
        self._all.pop(client, None)
        self._turns.pop(client, None)
        self._strangers.pop(client, None)
        self._n_silent.pop(client, None)

    def _transmit(self, client: bytes, data: bytes) -> bool:
        try:
            self.socket.send_multipart([client, data], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as e:
            if e.errno != zmq.EHOSTUNREACH:
                raise
            self._forget(client)
            raise Gone from None
        return True


def _room() -> int:
    """Return how many connections leave enough files to everybody else in this process."""
    try:
        import resource
    except ImportError:  # Windows: sockets are no files there
        return _MAX_CONNECTIONS
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if most == resource.RLIM_INFINITY else min(_MAX_CONNECTIONS, most // 2)
