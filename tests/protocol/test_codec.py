"""The wire records: golden vectors, and what arbitrary bytes may do (nothing but be refused)."""

import contextlib
import importlib.util
import json
import math
import re
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect as shape

from npc_engine import protocol
from npc_engine.errors import (
    BadMessage,
    ConnectionLost,
    NoRoom,
    RequestError,
    TooLarge,
    UnknownNpc,
)
from npc_engine.protocol import (
    DoneStats,
    Event,
    Gesture,
    Line,
    LoadedNpc,
    NpcInfo,
    Ping,
    Reply,
    Request,
    Say,
    Spawn,
    Text,
    Turn,
    WindowSegment,
    codec,
    error_reply,
    find_id,
    pack,
    unpack,
    unpack_reply,
    validation,
)
from tests.support.paths import ROOT, TESTS

FOLDER = TESTS / "vectors"
DOCUMENT = ROOT / "docs" / "protocol.md"
VALID = sorted(path.stem for path in FOLDER.glob("*.msgpack"))
INVALID = sorted(path.stem for path in (FOLDER / "invalid").glob("*.msgpack"))
RECORDS: list[type[Any]] = [*Request.__subclasses__(), *Reply.__subclasses__()]


def _frame(name: str) -> bytes:
    return (FOLDER / f"{name}.msgpack").read_bytes()


def _meaning(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def _unpacked(name: str) -> Any:
    return (unpack if name.startswith("request-") else unpack_reply)(_frame(name))


def test_the_room_hands_out_every_record() -> None:
    records = [cls.__name__ for cls in RECORDS]
    assert len(set(protocol.__all__)) == len(protocol.__all__)
    assert {*records, "NpcInfo", "WindowSegment", "pack", "unpack"} <= set(protocol.__all__)
    assert [name for name in protocol.__all__ if not hasattr(protocol, name)] == []


# Golden vectors


def test_the_vectors_are_what_their_generator_writes() -> None:
    spec = importlib.util.spec_from_file_location("vectors_make", FOLDER / "make.py")
    assert spec is not None and spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    found = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in [*FOLDER.glob("*.*"), *FOLDER.glob("invalid/*.*")]  # the cards are no frames
        if path.suffix in (".msgpack", ".json")
    }
    assert found == make.files(), "run: python tests/vectors/make.py"


def test_every_record_has_a_vector() -> None:
    tags = {_meaning(name)["type"] for name in VALID}
    assert tags == {cls.__struct_config__.tag for cls in RECORDS}
    for cls in Request.__subclasses__():
        names = {field.encode_name for field in msgspec.structs.fields(cls)}
        seen = [set(_meaning(n)) for n in VALID if _meaning(n)["type"] == cls.__struct_config__.tag]
        required = {f.encode_name for f in msgspec.structs.fields(cls) if f.required}
        assert required | {"type"} in seen, (
            f"no vector of {cls.__name__} has the required keys only"
        )
        assert names | {"type"} in seen, f"no vector of {cls.__name__} has every key"


@pytest.mark.parametrize("name", VALID)
def test_a_frame_means_its_json(name: str) -> None:
    record, meaning = _unpacked(name), _meaning(name)
    assert msgpack.unpackb(_frame(name)) == meaning
    assert record == msgspec.convert(meaning, type(record))
    assert type(record).__struct_config__.tag == meaning["type"]


@pytest.mark.parametrize("name", VALID)
def test_a_record_packs_to_what_it_was_unpacked_from(name: str) -> None:
    record, meaning = _unpacked(name), _meaning(name)
    packed = msgpack.unpackb(pack(record))
    names = {field.encode_name for field in msgspec.structs.fields(record)} | {"type"}
    # Keys that hold their default may be left out, unknown ones are dropped.
    assert {key: packed[key] for key in packed if key in meaning} == {
        key: meaning[key] for key in meaning if key in names and key in packed
    }
    assert (unpack if isinstance(record, Request) else unpack_reply)(pack(record)) == record


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_frame_gets_the_error_it_should(name: str) -> None:
    expected = _meaning(f"invalid/{name}")
    frame = _frame(f"invalid/{name}")
    with pytest.raises(BadMessage) as caught:
        unpack(frame)
    reply = error_reply(caught.value, find_id(frame))
    assert {"code": reply.code, "id": reply.id} == expected
    assert reply.message and reply.help


# The document


def _sections() -> dict[str, str]:
    """Return the parts of docs/protocol.md by their headings."""
    parts = re.split(r"^##+ (.+)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("cls", Request.__subclasses__())
def test_the_document_has_every_key_of_a_request(cls: type[Any]) -> None:
    section = _sections()[cls.__struct_config__.tag]
    found = re.findall(r"^\| (?:\*\*)?`(\w+)`(\*\*)? \|", section, flags=re.MULTILINE)
    rows = dict(reversed(found))  # the first table of a section is the request's
    for field in msgspec.structs.fields(cls):
        if field.name == "id":
            continue
        assert (rows[field.encode_name] == "**") == field.required, field.name


@pytest.mark.parametrize("cls", Reply.__subclasses__())
def test_the_document_names_every_key_of_a_reply(cls: type[Any]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    tag = cls.__struct_config__.tag
    assert f"`{tag}`" in text or f"`{tag}{{" in text
    parts = (DoneStats, NpcInfo, LoadedNpc, WindowSegment)
    for record in (cls, *parts):
        for field in msgspec.structs.fields(record):
            assert re.search(rf"[`{{ ]{field.encode_name}\b", text), field.encode_name


def test_the_document_has_every_error_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", _sections()["Errors"], flags=re.MULTILINE)
    assert set(rows) == {cls.code for cls in RequestError.__subclasses__()}


# Limits


@pytest.mark.parametrize("filler", [b"\x01", b"\x90", b"\x80", b"\xc0", b"\xa0"])
def test_of_too_many_values_none_is_built(filler: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    n = codec.MAX_VALUES
    card = b"\x82\xa4name\xa4Mara\xa1x\xdd" + n.to_bytes(4, "big") + filler * n
    head = b"\x84\xa4type\xa5spawn\xa2id\xa1s\xa3npc\xa4mara\xa4card"
    monkeypatch.setattr(codec, "_requests", None)
    with pytest.raises(TooLarge, match=r"131072 values, most of them in 'card\.x'"):
        codec.unpack(head + card)


def test_in_a_map_without_end_nothing_is_sought() -> None:
    keys = b"".join(b"\xa4%04x\xc0" % i for i in range(0xFFFF)) + b"\xa2id\xa1a"
    assert codec.find_id(b"\xdf\0\0\xff\xff" + keys[: -len(b"\xa2id\xa1a")]) is None
    assert codec.find_id(b"\xdf\0\0\0\x01\xa2id\xa1a") == "a"
    assert codec.find_id(b"\xdf\0\1\0\0" + keys) is None
    frame = b"\x81\xa4card\xdf\0\1\0\0" + keys
    assert validation.heaviest(frame) == "card"


def test_a_frame_over_the_limit_is_too_large() -> None:
    frame = pack(Say(id="1", npc="mara", text="x" * 1000))
    assert unpack(frame, len(frame)).text == "x" * 1000
    with pytest.raises(TooLarge, match=str(len(frame))):
        unpack(frame, len(frame) - 1)
    with pytest.raises(TooLarge):
        unpack(b"\xc0" * ((1 << 20) + 1))


@pytest.mark.parametrize(
    ("card", "where"),
    [
        ({"data": {"name": "Mara", "description": "x" * 2000}}, "'card.data.description'"),
        ({"name": "Mara", "tags": ["x"] * 2000}, "'card.tags'"),
        ({"name": "Mara", **{f"k{i}": "x" * 100 for i in range(20)}}, "'card'"),
        ({"name": "Mara", "k" * 9999: "x" * 9000}, "'card"),
    ],
)
def test_a_message_that_is_too_large_says_where(card: dict[str, Any], where: str) -> None:
    with pytest.raises(TooLarge) as error:
        unpack(pack(Spawn(id="1", npc="mara", card=card)), 1000)
    assert f"most of them in {where}" in error.value.message
    assert len(error.value.message) < 200


def test_an_error_never_repeats_a_whole_message() -> None:
    frame = msgpack.packb({"type": "x" * 100_000, "id": "1"})
    with pytest.raises(BadMessage) as caught:
        unpack(frame)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("value", ["\ud800", 2**64, -(2**63) - 1, object()])
def test_what_msgpack_cannot_hold_is_a_bad_message(value: object) -> None:
    with pytest.raises(BadMessage):
        pack(Spawn(id="1", npc="mara", card={"name": value}))


def test_a_map_within_itself_is_a_bad_message() -> None:
    card: dict[str, Any] = {}
    card["self"] = card
    with pytest.raises(BadMessage):
        pack(Spawn(id="1", npc="mara", card=card))


def test_defaults_are_as_documented() -> None:
    say = unpack(msgpack.packb({"type": "say", "id": "1", "npc": "mara", "text": "Hi."}))
    assert (say.speaker, say.priority, say.max_tokens) == ("Player", "player", None)
    assert (say.stream, say.notes) == (["line", "gesture"], [])
    event = unpack(msgpack.packb({"type": "event", "id": "1", "npcs": "*", "text": "Rain."}))
    assert (event.importance, event.expires_s) == (0.5, None)


def test_only_what_streams_is_not_terminal_and_has_a_seq() -> None:
    streamed = {r for r in Reply.__subclasses__() if not r.terminal}
    assert streamed == {Text, Line, Gesture, Turn}
    counted = {r for r in Reply.__subclasses__() if "seq" in r.__struct_fields__}
    assert counted == streamed


def test_errors_that_are_no_request_errors_are_internal() -> None:
    assert error_reply(UnknownNpc("No.", "Spawn."), "1").code == "unknown_npc"
    for error in (NoRoom("Full."), ConnectionLost("Gone.")):
        assert error_reply(error, None).code == "internal"


def test_a_reply_of_another_version_is_a_bad_message() -> None:
    with pytest.raises(BadMessage, match="same protocol version"):
        unpack_reply(msgpack.packb({"type": "sung", "id": "1"}))


class Raising:
    """A decoder that raises as one version or another of msgspec does."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def decode(self, frame: bytes) -> object:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        msgspec.DecodeError("Invalid UTF-8 encoded string"),
        UnicodeDecodeError("utf-8", b"\x80", 0, 1, "invalid start byte"),
        TypeError("unhashable type: 'dict'"),
        OverflowError("int too big to convert"),
        RecursionError("maximum recursion depth exceeded"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_any_msgspec_raises_is_a_bad_message(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    for decoder in ("_requests", "_replies", "_raw_values"):
        monkeypatch.setattr(codec, decoder, Raising(error))
    with pytest.raises(BadMessage):
        unpack(b"\x80")
    with pytest.raises(BadMessage):
        unpack_reply(b"\x80")
    assert codec.find_id(b"\x80") is None


def test_an_id_is_found_whatever_is_wrong_elsewhere() -> None:
    for bad in (b"\xa2\xc3\x28", b"\xd7\xff" + b"\xff" * 8, b"\x81\x80\x01"):
        frame = b"\x83\xa4type\xa4ping\xa2id\xa11\xa4text" + bad
        assert find_id(frame) == "1"
    assert find_id(b"\x82\x01\x02\xa2id\xa11") == "1"
    assert find_id(b"\x81\xa2id\xa2\xc3\x28") is None
    assert find_id(b"\x91\xa2id") is None


# Properties


def _bounded(kind: type[Any], low: Any, high: Any) -> st.SearchStrategy[Any]:
    if kind is int:
        return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
    return st.floats(low, high, allow_nan=False)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=20)
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def _values(kind: shape.Type) -> st.SearchStrategy[Any]:  # noqa: C901
    """Return a strategy for the values that a field of this type may hold."""
    match kind:
        case shape.StrType(pattern=str(pattern)):
            return st.from_regex(pattern, fullmatch=True)
        case shape.StrType():
            return st.text(min_size=kind.min_length or 0, max_size=kind.max_length or 40)
        case shape.IntType():
            return _bounded(int, kind.ge, kind.le)
        case shape.FloatType():
            return _bounded(float, kind.ge, kind.le)
        case shape.BoolType():
            return st.booleans()
        case shape.NoneType():
            return st.none()
        case shape.LiteralType():
            return st.sampled_from(kind.values)
        case shape.ListType():
            return st.lists(_values(kind.item_type), max_size=4)
        case shape.DictType():
            return st.dictionaries(st.text(max_size=8), PLAIN, max_size=4)
        case shape.UnionType():
            return st.one_of([_values(one) for one in kind.types])
        case shape.StructType():
            return _records(kind.cls)
    raise AssertionError(f"no strategy for {kind}")


def _records(cls: type[Any]) -> st.SearchStrategy[Any]:
    info = shape.type_info(cls)
    assert isinstance(info, shape.StructType)
    return st.builds(cls, **{field.name: _values(field.type) for field in info.fields})


@pytest.mark.parametrize("cls", RECORDS)
def test_every_record_survives_the_wire(cls: type[Any]) -> None:
    @settings(max_examples=15, deadline=None)
    @given(_records(cls))
    def survives(record: Any) -> None:
        read = unpack if isinstance(record, Request) else unpack_reply
        assert read(pack(record)) == record
        assert msgpack.unpackb(pack(record))["type"] == cls.__struct_config__.tag

    survives()


def _is_refused_or_a_request(frame: bytes) -> None:
    request_id = find_id(frame)
    assert request_id is None or 1 <= len(request_id) <= 64
    try:
        request = unpack(frame, 1 << 16)
    except (BadMessage, TooLarge) as error:
        pack(error_reply(error, request_id))  # what goes back can be packed
        return
    assert isinstance(request, Request)
    packed = pack(request)
    assert pack(unpack(packed)) == packed  # not ==, for a NaN in a card differs from itself


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(frame: bytes) -> None:
    _is_refused_or_a_request(frame)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_request_is_a_request_or_refused(data: st.DataObject) -> None:
    frame = bytearray(_frame(data.draw(st.sampled_from([n for n in VALID if "request" in n]))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        frame[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _is_refused_or_a_request(bytes(frame))


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["type", "id", "npc", "npcs", "text", "card", "slot", "stream", "heard"]),
        st.sampled_from([cls.__struct_config__.tag for cls in RECORDS]) | PLAIN,
    )
)
def test_any_map_is_a_request_or_refused(message: dict[str, Any]) -> None:
    _is_refused_or_a_request(msgpack.packb(message))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_refused(frame: bytes) -> None:
    with contextlib.suppress(BadMessage):
        assert isinstance(unpack_reply(frame), Reply)


def test_not_a_number_is_no_importance() -> None:
    with pytest.raises(BadMessage):
        unpack(pack(Event(id="1", npcs="*", text="Rain.", importance=math.nan)))


def test_a_later_key_wins_and_unknown_ones_are_ignored() -> None:
    frame = b"\x84\xa4type\xa4ping\xa2id\xa11\xa2id\xa12\xa1z\x81\x01\xc0"
    assert unpack(frame) == Ping(id="2")
