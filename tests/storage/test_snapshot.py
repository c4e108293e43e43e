"""Any file: a whole character, or a SnapshotError; a payload only when it is ours."""

import base64
import copy
import random
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_engine.errors import SnapshotError
from npc_engine.storage import snapshot
from npc_engine.storage.snapshot import CHUNK_BYTES, FORMAT, MAGIC, Snapshot, decode, encode
from tests.support.paths import ROOT

KEY = bytes(range(32))
OTHER_KEY = bytes(32)
HEADER: dict[str, Any] = {
    "npc": "mara",
    "engine": "0.1.0",
    "llama": "0.3.36",
    "fingerprint": "f" * 16,
    "layout": "f16/f16 split",
    "saved_at": 1_700_000_000,
}
STATE: dict[str, Any] = {"tokens": [1, 2, 49_151], "text": "Boots, traveller.", "pinned": True}
PAYLOAD = bytes(range(256))

texts = st.text(max_size=20)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=15,
)
maps = st.dictionaries(texts, plain, max_size=6)


def build(header: Any = HEADER, state: Any = STATE, payload: bytes | None = PAYLOAD) -> bytes:
    return encode(header, state, payload, KEY)


def parts(data: bytes) -> list[bytes]:
    """Magic, header, state, seal, chunks and trailer as another library finds them."""
    found = [data[: len(MAGIC)]]
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(data[len(MAGIC) :])
    at = 0
    while at < len(data) - len(MAGIC):
        unpacker.skip()
        found.append(data[len(MAGIC) + at : len(MAGIC) + unpacker.tell()])
        at = unpacker.tell()
    return found


def sealed(header: bytes, state: bytes, tail: bytes = b"") -> bytes:
    """A file of any header and state, with checksums that match."""
    seal = {"header": snapshot._sha256(header), "state": snapshot._sha256(state)}
    return b"".join([MAGIC, header, state, msgpack.packb(seal), tail])


@settings(max_examples=50)
@given(maps, maps, st.none() | st.binary(min_size=1, max_size=100))
def test_round_trip(header: Any, state: Any, payload: bytes | None) -> None:
    header["npc"] = "mara"
    want = {**header, "format": list(FORMAT)}
    assert decode(encode(header, state, payload, KEY), KEY) == Snapshot(want, state, payload, True)


@pytest.mark.parametrize("n", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_chunks(n: int) -> None:
    payload = random.Random(n).randbytes(n)
    data = build(payload=payload)
    assert decode(data, KEY).payload == payload
    sizes = [len(msgpack.unpackb(chunk)) for chunk in parts(data)[4:-1]]
    assert sizes == [CHUNK_BYTES] * (n // CHUNK_BYTES) + [n % CHUNK_BYTES] * (n % CHUNK_BYTES > 0)


@pytest.mark.parametrize("payload", [None, b""])
def test_no_payload(payload: bytes | None) -> None:
    found = decode(build(payload=payload), KEY)
    assert (found.payload, found.trusted, found.notice) == (None, True, None)


def test_the_callers_maps_are_left_alone() -> None:
    header, state = copy.deepcopy(HEADER), copy.deepcopy(STATE)
    build(header, state)
    assert (header, state) == (HEADER, STATE)


def test_the_file_is_what_the_document_says() -> None:
    magic, header, state, seal, chunk, trailer = parts(build())
    assert magic == b"\x89NPC\r\n\x1a\n"
    assert msgpack.unpackb(header) == {**HEADER, "format": [*FORMAT]}
    assert msgpack.unpackb(state) == STATE
    assert msgpack.unpackb(chunk) == PAYLOAD
    assert set(msgpack.unpackb(seal)) == {"header", "state"}
    assert set(msgpack.unpackb(trailer)) == {"payload", "hmac"}


# A file that 0.1.0 wrote, with KEY. It must load for as long as the major version is 1.
FIRST = """
iU5QQw0KGgqHo25wY6RtYXJhpmVuZ2luZaUwLjEuMKVsbGFtYaYwLjMuMzarZmluZ2VycHJpbnSwZmZmZmZmZmZmZmZmZmZm
ZqZsYXlvdXStZjE2L2YxNiBzcGxpdKhzYXZlZF9hdM5lU/EApmZvcm1hdJIBAIOmdG9rZW5zkwECzb//pHRleHSxQm9vdHMs
IHRyYXZlbGxlci6mcGlubmVkw4KmaGVhZGVyxCARW1v+KXz60KgpDT4kK7KnW0Bcn/sOK1oMCb7rMToJlKVzdGF0ZcQgSjUp
GArpGKE4RYWbZqNSvcxCpf7XrO3xoBuZ5G0SpjbFAQAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYn
KCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5v
cHFyc3R1dnd4eXp7fH1+f4CBgoOEhYaHiImKi4yNjo+QkZKTlJWWl5iZmpucnZ6foKGio6SlpqeoqaqrrK2ur7CxsrO0tba3
uLm6u7y9vr/AwcLDxMXGx8jJysvMzc7P0NHS09TV1tfY2drb3N3e3+Dh4uPk5ebn6Onq6+zt7u/w8fLz9PX29/j5+vv8/f7/
gqdwYXlsb2FkxCBAr/Lp0tiSLkev1GSOaWdJcVh4X70dqHDnEQJmv5RIgKRobWFjxCC2Hv5YRQ6feuxY8FNxPsOfwQFu8z+O
smjW0oydFoKmVw==
"""


def test_the_first_files_stay_readable() -> None:
    found = decode(base64.b64decode(FIRST), KEY)
    assert found == Snapshot({**HEADER, "format": [1, 0]}, STATE, PAYLOAD, True)


def test_cut_anywhere() -> None:
    data = build()
    at_payload = sum(map(len, parts(data)[:4]))
    for n in range(len(data)):
        if n < at_payload:
            with pytest.raises(SnapshotError):
                decode(data[:n], KEY)
        else:
            found = decode(data[:n], KEY)
            assert (found.state, found.payload, found.trusted) == (STATE, None, False)
            assert found.notice and "damaged" in found.notice


def check_damaged(data: bytes) -> None:
    """Header and state are whole or refused; a payload is the one that was signed."""
    try:
        found = decode(data, KEY)
    except SnapshotError as e:
        assert e.message and e.help
        return
    assert (found.header, found.state) == ({**HEADER, "format": [*FORMAT]}, STATE)
    assert found.payload in (None, PAYLOAD)
    assert found.trusted == (found.payload is not None) == (found.notice is None)


def test_bit_flips() -> None:
    rng = random.Random(5)
    data = build()
    for i in range(2_000):
        damaged = bytearray(data)
        for _ in range(1 if i < 1_500 else 8):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        check_damaged(bytes(damaged))


def test_bytes_lost_doubled_and_swapped() -> None:
    rng = random.Random(6)
    data = build()
    for _ in range(1_000):
        a, b, c = sorted(rng.randrange(len(data) + 1) for _ in range(3))
        for damaged in (data[:a] + data[b:], data[:b] + data[a:], data[:a] + data[b:c] + data[a:b]):
            check_damaged(damaged)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for start in (b"", MAGIC, MAGIC + parts(build())[1]):
        check_damaged(start + data)


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_part_of_another_save(part: int) -> None:
    mine, other = parts(build()), parts(build({**HEADER, "x": 1}, {**STATE, "x": 1}))
    mine[part] = other[part]
    with pytest.raises(SnapshotError, match="checksum does not match"):
        decode(b"".join(mine), KEY)


@pytest.mark.parametrize(
    ("change", "notice"),
    [
        (lambda p: [*p[:4], p[5]], "damaged"),  # payload cut out
        (lambda p: [*p[:4], msgpack.packb(PAYLOAD[::-1]), p[5]], "damaged"),
        (lambda p: [*p[:4], p[4], p[4], p[5]], "damaged"),
        (
            lambda p: [*p[:4], msgpack.packb(PAYLOAD[:9]), msgpack.packb(PAYLOAD[9:]), p[5]],
            "damaged",
        ),
        (lambda p: [*p[:4], b"\xc4\x00", p[5]], "damaged"),
        (lambda p: [*p[:4], b"\xc6\xff\xff\xff\xff", p[5]], "damaged"),
        (lambda p: [*p, b"\xc0"], "damaged"),  # something behind the trailer
        (lambda p: [*p[:5], b"\xc0"], "damaged"),
        (lambda p: [*p[:5], b"\x80"], "damaged"),
        (lambda p: [*p[:5], trailer(p, hmac=None)], "installation"),
        (lambda p: [*p[:5], trailer(p, hmac="x" * 32)], "installation"),
        (lambda p: [*p[:5], trailer(p, hmac=b"")], "installation"),
        (lambda p: [*p[:5], trailer(p, payload=[1])], "damaged"),
    ],
)
def test_a_payload_that_is_not_whole_is_dropped(change: Any, notice: str) -> None:
    found = decode(b"".join(change(parts(build()))), KEY)
    assert (found.state, found.payload, found.trusted) == (STATE, None, False)
    assert found.notice and notice in found.notice


def test_an_empty_chunk_is_no_chunk() -> None:
    found = parts(build(payload=None))
    found.insert(4, b"\xc4\x00")
    assert not decode(b"".join(found), KEY).trusted


def trailer(found: list[bytes], **changes: Any) -> bytes:
    packed: bytes = msgpack.packb({**msgpack.unpackb(found[5]), **changes})
    return packed


@pytest.mark.parametrize("part", [1, 2, 4])
def test_the_signature_covers_every_part(part: int) -> None:
    """Parts of two saves of ours, each whole, with checksums mended: no payload."""
    mine = parts(build())
    other = parts(build({**HEADER, "fingerprint": "0"}, {**STATE, "tokens": [7]}, PAYLOAD[::-1]))
    mine[part] = other[part]
    mended = trailer(mine, payload=snapshot._sha256(msgpack.unpackb(mine[4])))
    data = sealed(mine[1], mine[2], mine[4] + mended)
    found = decode(data, KEY)
    assert (found.payload, found.trusted) == (None, False)
    assert found.notice and "installation" in found.notice


def test_another_installation() -> None:
    found = decode(build(), OTHER_KEY)
    assert (found.state, found.payload, found.trusted) == (STATE, None, False)
    assert found.notice and "installation" in found.notice
    assert not decode(build(payload=None), OTHER_KEY).trusted


def test_a_newer_major_version_is_refused() -> None:
    header = {**HEADER, "format": [2, 1]}
    for tail in (b"", b"\xc1what a later version likes", msgpack.packb(STATE)):
        with pytest.raises(SnapshotError, match=r"format 2\.1; this engine reads 1\.x"):
            decode(MAGIC + msgpack.packb(header) + tail, KEY)


def test_a_newer_minor_version_loads_and_its_keys_survive() -> None:
    header = {**HEADER, "format": [1, 7], "mood": {"of": [1, 2]}}
    state = {**STATE, "dreams": [{"of": "sheep"}]}
    data = sealed(msgpack.packb(header), msgpack.packb(state))
    found = decode(data, KEY)
    assert (found.header, found.state) == (header, state)
    again = decode(encode(found.header, found.state, None, KEY), KEY)
    assert (again.header, again.state) == ({**header, "format": [*FORMAT]}, state)


@pytest.mark.parametrize(
    "header",
    [
        {"npc": "mara"},
        {"npc": "mara", "format": "1.0"},
        {"npc": "mara", "format": [1]},
        {"npc": "mara", "format": [1, 0, 0]},
        {"npc": "mara", "format": [True, False]},
        {"npc": "mara", "format": [1.0, 0]},
        {"npc": "mara", "format": [0, 9]},
        {"format": [1, 0]},
        {"format": [1, 0], "npc": 5},
        {"format": [1, 0], "npc": ""},
        {"format": [1, 0], "npc": "../mara"},
        {"format": [1, 0], "npc": "mara\n"},
        {"format": [1, 0], "npc": "x" * 65},
        {"format": [1, 0], "npc": "m\u0430ra"},
        [],
        None,
        "mara",
    ],
)
def test_a_bad_header_is_refused(header: Any) -> None:
    with pytest.raises(SnapshotError):
        decode(sealed(msgpack.packb(header), msgpack.packb(STATE)), KEY)


@pytest.mark.parametrize(
    "state",
    [
        b"\x93\x01\x02\x03",
        b"\x81\x01\x02",
        b"\x81\xa1a\xc7\x01\x05z",
        b"\x81\xa1a\xa1\xff",
        b"\x81\xa1a" * 5_000 + b"\xc0",
        b"\x81\xa1a\xdd\x7f\xff\xff\xff",
        b"\x81\xa1a\xdd\x00\x10\x00\x00" + b"\x80" * (1 << 20),
    ],
)
def test_a_bad_state_is_refused(state: bytes) -> None:
    with pytest.raises(SnapshotError, match="state"):
        decode(sealed(msgpack.packb({**HEADER, "format": [1, 0]}), state), KEY)


deep: Any = 0
for _ in range(200):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [object(), 1 << 64, "\ud800", deep, {1: 2}, {b"a": 2}, {(1,): 2}, [{}] * 700_000],
    ids=["object", "large", "surrogate", "deep", "int key", "bytes key", "tuple key", "costly"],
)
def test_what_cannot_be_read_back_is_not_written(value: Any) -> None:
    with pytest.raises(SnapshotError, match="cannot be saved"):
        build(state={"a": value})
    with pytest.raises(SnapshotError, match="cannot be saved"):
        build(header={**HEADER, "a": value})


@pytest.mark.parametrize("npc", [None, "", "a/b", "..", ".a", "a" * 65, 7])
def test_a_header_needs_a_name(npc: Any) -> None:
    with pytest.raises(SnapshotError):
        build(header={**HEADER, "npc": npc})


def test_a_file_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = build()
    monkeypatch.setattr(snapshot, "MAX_FILE_BYTES", len(data) - 1)
    with pytest.raises(SnapshotError, match="limit"):
        decode(data, KEY)


def test_the_public_names() -> None:
    assert snapshot.__all__ == sorted(snapshot.__all__)


def test_the_documents_reader_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = ROOT / "docs" / "snapshot-format.md"
    code = document.read_text("utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "saves" / "tavern").mkdir(parents=True)
    payload = bytes(CHUNK_BYTES + 1)
    (tmp_path / "saves" / "tavern" / "mara.npc").write_bytes(build(payload=payload))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["state"] == STATE
    assert b"".join(found["payload"]) == payload
