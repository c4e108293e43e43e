"""One client's connection as bytes: ZMTP 3 with the NULL mechanism, the ROUTER's end of it.

Owns the greeting, the handshake, where a message begins and ends, and how much of it is kept. Bytes
in; messages, and bytes to be sent, out. (https://rfc.zeromq.org/spec/37/)

Rule 1. Of what has been looked at, no more is kept than one frame of `keep` bytes, or one command.
        A longer frame is skipped, and only its length is told.
Rule 2. Of a message in parts only the last is kept. One of too many parts, or too long as a whole,
        ends the listening: from there on everything is skipped unseen (`muted`).
Rule 3. Any bytes lead to messages or to BadPeer; nothing else.

It knows neither sockets nor tokens, and not what a message says.
"""

from typing import NamedTuple

__all__ = ["PING", "BadPeer", "Message", "Zmtp", "framed"]

_MORE, _LONG, _COMMAND = 1, 2, 4
_N_GREETING = 64
_N_VERSION = 10  # bytes before the version
_MECHANISM = b"NULL".ljust(20, b"\0")
_GREETING = (b"\xff" + bytes(8) + b"\x7f\x03\x01" + _MECHANISM).ljust(_N_GREETING, b"\0")
# A READY with its metadata, a PING: what is longer is none of these.
_MAX_COMMAND = 4096
_MAX_PARTS = 256
# A longer frame ends the connection: nobody means that.
_LARGEST_FRAME = 64 << 20
# PONGs that may wait to be sent.
_MAX_PONG_BYTES = 1024
_PEERS = (b"DEALER", b"REQ", b"ROUTER")  # the types that a ROUTER talks to


class BadPeer(Exception):
    """What is at the other end speaks no ZMTP 3, or not to a ROUTER."""


class Message(NamedTuple):
    """One message. `n_skipped`: bytes of its last frame if that was too long, and is not here."""

    frames: list[bytes]
    n_skipped: int


class _Head(NamedTuple):
    flags: int
    size: int
    is_kept: bool


class Zmtp:
    """One connection. `keep`: bytes of the longest frame that is handed on; may change."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.muted = False
        self.is_ready = False
        self.chose_its_id = False
        self.out = bytearray(_GREETING)
        self._in = bytearray()
        self._is_greeted = False
        self._head: _Head | None = None  # of the frame that comes
        self._n_left = 0  # of a frame that is skipped
        self._n_parts = self._n_bytes = 0  # of the message that comes

    @property
    def n_held(self) -> int:
        """Bytes that are kept."""
        return len(self._in)

    def mute(self) -> None:
        """Listen no more."""
        self.muted = True
        self._in.clear()

    def feed(self, data: bytes) -> None:
        """Take in what was read."""
        if not self.muted:
            self._in += data

    def next(self) -> Message | None:
        """Return the next message that has ended, if there is one; raises BadPeer."""
        if not self._is_greeted:
            self._is_greeted = self._read_greeting()
        while self._is_greeted and not self.muted and (head := self._next_head()) is not None:
            if not self._has_body(head):
                break
            self._head = None
            message = self._end_frame(head, self._take(head.size) if head.is_kept else None)
            if message is not None:
                return message
        return None

    def _read_greeting(self) -> bool:
        if self._in and self._in[0] != 0xFF:
            raise BadPeer("it does not speak ZeroMQ")
        # An older peer waits behind these bytes for what suits it.
        if len(self._in) > _N_VERSION and (not self._in[9] & 1 or self._in[_N_VERSION] < 3):
            raise BadPeer("it does not speak ZMTP 3")
        if len(self._in) < _N_GREETING:
            return False
        greeting = self._take(_N_GREETING)
        if greeting[12:32] != _MECHANISM:
            raise BadPeer(f"its security mechanism is {greeting[12:32].rstrip(bytes(1))!a}")
        self.out += framed(_property(b"\x05READY", b"Socket-Type", b"ROUTER"), _COMMAND)
        return True

    def _next_head(self) -> _Head | None:
        n_head = 9 if self._in and self._in[0] & _LONG else 2
        if self._head is None and len(self._in) >= n_head:
            self._head = self._read_head(n_head)
        return self._head

    def _read_head(self, n_head: int) -> _Head:
        head = self._take(n_head)
        flags, size = head[0], int.from_bytes(head[1:], "big")
        is_command = bool(flags & _COMMAND)
        if flags & ~(_MORE | _LONG | _COMMAND) or (is_command and flags & _MORE):
            raise BadPeer(f"its frame has the flags {flags:#x}")
        if size > (_MAX_COMMAND if is_command else max(_LARGEST_FRAME, self.keep)):
            raise BadPeer(f"its frame has {size} bytes")
        if not is_command and not self.is_ready:
            raise BadPeer("it sent a message before its READY")
        is_kept = is_command or (not flags & _MORE and size <= self.keep)
        self._n_left = 0 if is_kept else size
        return _Head(flags, size, is_kept)

    def _has_body(self, head: _Head) -> bool:
        if head.is_kept:
            return len(self._in) >= head.size
        n = min(self._n_left, len(self._in))
        del self._in[:n]
        self._n_left -= n
        return self._n_left == 0

    def _take(self, n: int) -> bytes:
        taken = bytes(self._in[:n])
        del self._in[:n]
        return taken

    def _end_frame(self, head: _Head, body: bytes | None) -> Message | None:
        if head.flags & _COMMAND:
            self._obey(body or b"")
            return None
        self._n_parts += 1
        self._n_bytes += head.size
        if head.flags & _MORE:
            if self._n_parts >= _MAX_PARTS or self._n_bytes > _LARGEST_FRAME:
                self.mute()
            return None
        frames = [b""] * (self._n_parts - 1) + [body or b""]
        self._n_parts = self._n_bytes = 0
        return Message(frames, head.size if body is None else 0)

    def _obey(self, command: bytes) -> None:
        name, rest = command[1 : 1 + command[0]] if command else b"", command[5:]
        if not self.is_ready:
            if name != b"READY":
                raise BadPeer(f"its handshake begins with {name[:16]!a}")
            self._learn(command[6:])
        elif name == b"PING" and len(self.out) < _MAX_PONG_BYTES:
            self.out += framed(b"\x04PONG" + rest[2:18], _COMMAND)

    def _learn(self, metadata: bytes) -> None:
        known = _properties(metadata)
        if known.get(b"socket-type") not in _PEERS:
            raise BadPeer(f"it is a {known.get(b'socket-type', b'')[:16]!a}, and no DEALER")
        self.chose_its_id = bool(known.get(b"identity"))
        self.is_ready = True


def framed(body: bytes, flags: int = 0) -> bytes:
    """Return a frame with its head."""
    if len(body) < 256:
        return bytes((flags, len(body))) + body
    return bytes((flags | _LONG,)) + len(body).to_bytes(8, "big") + body


# With a time to live of 0: the engine has a limit of its own for a client's silence.
PING = framed(b"\x04PING\0\0", _COMMAND)


def _property(before: bytes, name: bytes, value: bytes) -> bytes:
    return before + bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value


def _properties(metadata: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at < len(metadata):
        name = metadata[at + 1 : at + 1 + metadata[at]]
        at += 1 + len(name)
        size = int.from_bytes(metadata[at : at + 4], "big")
        value = metadata[at + 4 : at + 4 + size]
        if not name or len(value) < size or at + 4 > len(metadata):
            raise BadPeer("its READY is cut short")
        found[name.lower()] = value
        at += 4 + size
    return found
