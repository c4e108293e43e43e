"""Whatever bytes come over a connection: messages, or BadPeer; and little is kept of them."""

import contextlib
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.server.zmtp import PING, BadPeer, Message, Zmtp, framed

KEEP = 1000
GREETING = bytes(Zmtp(0).out)
DEALER = b"\x0bSocket-Type\0\0\0\x06DEALER"
COMMAND, MORE = 4, 1


def ready(metadata: bytes = DEALER) -> bytes:
    return framed(b"\x05READY" + metadata, COMMAND)


def fed(connection: Zmtp, data: bytes) -> Iterator[Message]:
    connection.feed(data)
    while (message := connection.next()) is not None:
        yield message


def connected() -> Zmtp:
    connection = Zmtp(KEEP)
    assert list(fed(connection, GREETING + ready())) == []
    assert connection.is_ready
    connection.out.clear()
    return connection


def test_the_handshake() -> None:
    connection = Zmtp(KEEP)
    assert connection.out == GREETING
    connection.out.clear()
    assert list(fed(connection, GREETING[:63])) == []
    assert not connection.out
    assert list(fed(connection, GREETING[63:])) == []
    assert bytes(connection.out) == ready(b"\x0bSocket-Type\0\0\0\x06ROUTER")
    assert not connection.is_ready
    assert list(fed(connection, ready() + framed(b"hello"))) == [Message([b"hello"], 0)]
    assert connection.is_ready
    assert not connection.chose_its_id


def test_a_chosen_id_is_noticed() -> None:
    connection = Zmtp(KEEP)
    list(fed(connection, GREETING + ready(DEALER + b"\x08Identity\0\0\0\x04game")))
    assert connection.chose_its_id


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "ZeroMQ"),
        (GREETING[:10] + b"\x01" + GREETING[11:], "ZMTP 3"),
        (GREETING[:10] + b"\x01", "ZMTP 3"),  # ZMTP 2 says no more before it has an answer
        (GREETING.replace(b"NULL\0", b"PLAIN"), "PLAIN"),
        (GREETING + framed(b"hello"), "before its READY"),
        (GREETING + framed(b"\x05HELLO", COMMAND), "HELLO"),
        (GREETING + framed(b"", COMMAND), "handshake"),
        (GREETING + ready(b"\x0bSocket-Type\0\0\0\x03SUB"), "SUB"),
        (GREETING + ready(b""), "no DEALER"),
        (GREETING + ready(b"\x0bSocket-Type\0\0\0\xffDEALER"), "cut short"),
        (GREETING + ready(DEALER + b"\x01a\0"), "cut short"),
        (GREETING + ready() + b"\x80\0", "flags"),
        (GREETING + ready() + b"\x05\0", "flags"),
        (GREETING + ready() + b"\x06" + struct.pack(">Q", 5000), "5000 bytes"),
        (GREETING + ready() + b"\x02" + struct.pack(">Q", 1 << 40), "bytes"),
    ],
)
def test_what_is_no_client(sent: bytes, why: str) -> None:
    connection = Zmtp(KEEP)
    with pytest.raises(BadPeer, match=why):
        list(fed(connection, sent))


def test_a_ping_is_answered_and_many_are_not_all_kept() -> None:
    connection = connected()
    list(fed(connection, framed(b"\x04PING\0\x07mark", COMMAND)))
    assert bytes(connection.out) == framed(b"\x04PONGmark", COMMAND)
    list(fed(connection, PING * 10_000))
    assert len(connection.out) < 2000


def test_a_long_frame_is_skipped_and_its_length_told() -> None:
    connection = connected()
    assert list(fed(connection, framed(b"x" * KEEP))) == [Message([b"x" * KEEP], 0)]
    head = b"\x02" + struct.pack(">Q", 1 << 20)
    assert list(fed(connection, head)) == []
    for _ in range(1023):
        assert list(fed(connection, bytes(1024))) == []
        assert connection.n_held == 0
    (skipped, after) = fed(connection, bytes(1024) + framed(b"after"))
    assert skipped == Message([b""], 1 << 20)
    assert after == Message([b"after"], 0)


def test_of_parts_the_last_is_kept() -> None:
    connection = connected()
    parts = framed(b"a" * 900, MORE) + framed(b"b", MORE) + framed(b"last") + framed(b"next")
    assert list(fed(connection, parts)) == [Message([b"", b"", b"last"], 0), Message([b"next"], 0)]


@pytest.mark.parametrize("part", [b"", b"x", bytes(1 << 20)])
def test_parts_without_end_are_not_kept(part: bytes) -> None:
    connection = connected()
    frame = framed(part, MORE)
    for _ in range(300):
        for at in range(0, len(frame), 1 << 16):
            assert list(fed(connection, frame[at : at + (1 << 16)])) == []
        assert connection.n_held == 0
    assert connection.muted
    assert list(fed(connection, framed(b"the last one") + framed(b"another"))) == []


def test_what_is_kept_may_grow_between_two_messages() -> None:
    connection = connected()
    long = framed(b"x" * 2 * KEEP)
    got = []
    for message in fed(connection, framed(b"token") + long):
        got.append(message)
        connection.keep = 2 * KEEP
    assert got == [Message([b"token"], 0), Message([b"x" * 2 * KEEP], 0)]


frames = st.builds(framed, st.binary(max_size=1500), st.sampled_from([0, MORE, COMMAND]))
streams = st.lists(frames | st.binary(max_size=20), max_size=12).map(b"".join)


@given(streams, st.integers(1, 400), st.booleans())
def test_any_bytes_in_any_pieces(stream: bytes, size: int, shaken: bool) -> None:
    whole, pieces = Zmtp(KEEP), Zmtp(KEEP)
    stream = GREETING + ready() + stream if shaken else stream
    got: list[list[Message]] = [[], []]
    with contextlib.suppress(BadPeer):
        got[0].extend(fed(whole, stream))
    with contextlib.suppress(BadPeer):
        for at in range(0, len(stream), size):
            got[1].extend(fed(pieces, stream[at : at + size]))
            assert pieces.n_held <= 4096 + 9 + size
            assert len(pieces.out) < 4096
    assert got[1] == got[0] or whole.n_held
