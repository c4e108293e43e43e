"""Whatever is asked and answered, each id gets one terminal reply and what waits is bounded."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.errors import BadMessage, Busy
from npc_engine.protocol import Line, Pong, Reply
from npc_engine.server.connection import Connection

MAX_OPEN, MAX_WAITING = 3, 4


def line(request_id: str, seq: int = 0) -> Line:
    return Line(id=request_id, seq=seq, npc="mara", index=seq, text="Hm.")


class Wire:
    """Takes `room` frames, then refuses until more room is given."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.sent: list[dict[str, object]] = []

    def send(self, frame: bytes) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        self.sent.append(msgspec.msgpack.decode(frame))
        return True


@pytest.fixture
def connection() -> Connection:
    return Connection(MAX_OPEN, MAX_WAITING)


def test_order_is_kept_over_a_full_wire(connection: Connection) -> None:
    connection.open("a")
    wire = Wire(room=1)
    for reply in (line("a", 0), line("a", 1), Pong(id="a")):
        assert connection.put(reply)
        connection.flush(wire.send)
    assert connection.n_waiting == 2
    wire.room = 9
    assert connection.flush(wire.send) == 2
    assert [r.get("seq") for r in wire.sent] == [0, 1, None]
    assert connection.is_idle


def test_an_id_is_open_until_its_reply_has_left(connection: Connection) -> None:
    connection.open("a")
    connection.put(Pong(id="a"))
    with pytest.raises(BadMessage, match="'a' is open already"):
        connection.open("a")
    connection.flush(Wire().send)
    connection.open("a")


def test_too_many_open(connection: Connection) -> None:
    for request_id in "abc":
        connection.open(request_id)
    with pytest.raises(Busy, match="3 requests"):
        connection.open("d")


def test_what_is_urgent_fits_as_long_as_its_answer_does(connection: Connection) -> None:
    for request_id in "abc":
        connection.open(request_id)
    for i in range(MAX_WAITING):
        connection.open(f"urgent {i}", urgent=True)
        connection.put(Pong(id=f"urgent {i}"))
    with pytest.raises(Busy):
        connection.open("one too many", urgent=True)
    for request_id in "abc":
        connection.put(Pong(id=request_id))
    wire = Wire()
    assert connection.flush(wire.send) == MAX_WAITING + 3
    assert connection.is_idle
    connection.open("d")


def test_a_second_terminal_reply_is_dropped_and_logged(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(room=0)
    connection.open("a")
    strays: list[Reply] = [Pong(id="a"), line("a"), Pong(id="never"), Pong()]
    assert connection.put(Pong(id="a"))
    for stray in strays:
        assert connection.put(stray)
    connection.flush(wire.send)
    assert connection.n_waiting == 1
    assert len(caplog.records) == len(strays)


def test_a_stream_that_does_not_fit_is_cut_once(connection: Connection) -> None:
    connection.open("a")
    connection.open("b")
    assert [connection.put(line("a", i)) for i in range(MAX_WAITING + 3)].count(False) == 1
    assert connection.put(line("b"))  # cut as well: no second alarm
    assert connection.put(Pong(id="a"))
    assert connection.put(Pong(id="b"))
    wire = Wire()
    connection.flush(wire.send)
    assert [r["type"] for r in wire.sent] == ["line"] * MAX_WAITING + ["pong"] * 2


def test_a_stream_opened_after_a_cut_is_cut_of_itself(connection: Connection) -> None:
    connection.open("a")
    for i in range(MAX_WAITING + 1):
        connection.put(line("a", i))
    connection.open("b")
    assert not connection.put(line("b"))
    connection.flush(Wire().send)
    connection.open("c")
    assert connection.put(line("c"))


def test_an_error_never_carries_an_open_id(connection: Connection) -> None:
    connection.open("a")
    connection.refuse(Busy("No."), "a")
    connection.refuse(Busy("No."), "b")
    wire = Wire()
    connection.flush(wire.send)
    assert [r.get("id") for r in wire.sent] == [None, "b"]
    assert list(connection.unanswered()) == ["a"]


ids = st.sampled_from("abcde")
acts = st.lists(
    st.tuples(st.sampled_from(["open", "urgent", "line", "answer", "refuse", "flush"]), ids),
    max_size=60,
)


@given(acts, st.integers(0, 3))
def test_one_terminal_reply_for_each_opening(script: list[tuple[str, str]], room: int) -> None:
    connection, wire, opened = Connection(MAX_OPEN, MAX_WAITING), Wire(0), Counter[str]()
    for act, request_id in script:
        if act in ("open", "urgent"):
            try:
                connection.open(request_id, urgent=act == "urgent")
                opened[request_id] += 1
            except (BadMessage, Busy):
                pass
        elif act == "refuse":
            connection.refuse(Busy("No."), None)
        elif act == "flush":
            wire.room = room
            connection.flush(wire.send)
        else:
            connection.put(line(request_id) if act == "line" else Pong(id=request_id))
        assert connection.n_waiting <= MAX_WAITING + MAX_OPEN
    for request_id in connection.unanswered():
        connection.put(Pong(id=request_id))
    wire.room = 1000
    connection.flush(wire.send)
    assert connection.is_idle
    assert Counter(r["id"] for r in wire.sent if r["type"] == "pong") == opened
