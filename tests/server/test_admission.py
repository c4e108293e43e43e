"""Any bytes: a request, or a RequestError; without the token, `unauthorized` and nothing else."""

import contextlib
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.errors import (
    BadMessage,
    ProtocolVersion,
    RequestError,
    TooLarge,
    Unauthorized,
)
from npc_engine.protocol import PROTOCOL_VERSION, Hello, Ping, Request, pack
from npc_engine.server.admission import Admission
from npc_engine.server.connection import Connection

PING = pack(Ping(id="1"))


def hello(token: str | None = None, protocol: int = PROTOCOL_VERSION) -> bytes:
    return pack(Hello(id="h", protocol=protocol, token=token))


@pytest.fixture
def connection() -> Connection:
    return Connection(4, 4)


@pytest.mark.parametrize("chose", [True, False])
def test_a_chosen_routing_id_counts_where_a_token_does(connection: Connection, chose: bool) -> None:
    assert Admission("", 1024).admit([PING], connection, chose_its_id=chose)
    if chose:
        with pytest.raises(Unauthorized):
            Admission("secret", 1024).admit([hello("secret")], connection, chose_its_id=True)
        assert not connection.authorized


def test_the_log_names_the_client(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for token, name in (("wrong", "intruder"), ("secret", "my\ngame" + "x" * 200)):
        frame = pack(Hello(id="h", protocol=PROTOCOL_VERSION, token=token, client=name))
        with contextlib.suppress(Unauthorized):
            Admission("secret", 1024).admit([frame], connection)
    (row,) = caplog.messages
    assert "'my\\ngamex" in row
    assert len(row) < 100


def test_no_token_wanted(connection: Connection) -> None:
    assert isinstance(Admission("", 1024).admit([PING], connection), Ping)
    assert not connection.authorized  # nothing to remember


@pytest.mark.parametrize("token", ["secret", "schlüssel-鍵", "x" * 5000])
def test_the_right_token_opens(connection: Connection, token: str) -> None:
    admission = Admission(token, 1 << 20)
    assert isinstance(admission.admit([hello(token)], connection), Hello)
    assert connection.authorized
    assert isinstance(admission.admit([PING], connection), Ping)


@pytest.mark.parametrize(
    "frame",
    [
        PING,
        hello(),
        hello(""),
        hello("Secret"),
        hello("secre"),
        hello("secret "),
        b"",
        b"\xff",
        b"x" * 9999,
    ],
)
def test_anything_else_does_not(connection: Connection, frame: bytes) -> None:
    with pytest.raises(Unauthorized) as e:
        Admission("secret", 1024).admit([frame], connection)
    shows_one = frame in (hello("Secret"), hello("secre"), hello("secret "))
    assert ("token is wrong" in e.value.message) == shows_one
    assert ("has shown none" in e.value.message) == (not shows_one)
    assert "hello" in e.value.help
    assert "secret" not in str(e.value)
    assert not connection.authorized


def test_a_token_of_bytes_that_are_no_utf8_fits_nothing_and_breaks_nothing(
    connection: Connection,
) -> None:
    with pytest.raises(Unauthorized):
        Admission(b"\xff\xfe".decode("utf-8", "surrogateescape"), 1024).admit(
            [hello("x")], connection
        )


def test_tokens_are_compared_in_constant_time(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    Admission("secret", 1024).admit([hello("secret")], connection)
    assert compared == [(b"secret", b"secret")]


def test_another_protocol_version(connection: Connection) -> None:
    with pytest.raises(ProtocolVersion, match=f"version 7, .* version {PROTOCOL_VERSION}"):
        Admission("secret", 1024).admit([hello("secret", protocol=7)], connection)
    assert not connection.authorized


@pytest.mark.parametrize("frames", [[], [b"", PING], [PING, PING], [PING, b""]])
def test_one_frame_is_one_message(connection: Connection, frames: list[bytes]) -> None:
    with pytest.raises(BadMessage, match="frames"):
        Admission("", 1024).admit(frames, connection)


def test_ids_are_sought_up_to_four_times_the_limit(connection: Connection) -> None:
    admission = Admission("", 1024)
    for n, found in ((1500, "big"), (5000, None)):
        frame = msgspec.msgpack.encode({"type": "ping", "id": "big", "pad": "x" * n})
        with pytest.raises(TooLarge):
            admission.admit([frame], connection)
        assert admission.find_id([frame], Connection(4, 4)) == found
    assert admission.find_id([b"", PING], Connection(4, 4)) == "1"
    assert admission.find_id([], Connection(4, 4)) is None


@given(st.lists(st.binary(max_size=64), max_size=3), st.sampled_from(["", "secret"]))
def test_any_frames(frames: list[bytes], token: str) -> None:
    admission = Admission(token, 32)
    admission.find_id(frames, Connection(4, 4))
    try:
        assert isinstance(admission.admit(frames, Connection(4, 4)), Request)
    except RequestError as e:
        assert not token or isinstance(e, Unauthorized | ProtocolVersion)
