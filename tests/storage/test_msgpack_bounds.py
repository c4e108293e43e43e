"""Any bytes: an end and a bound that holds, or a ValueError."""

import gc
import random
import tracemalloc
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npc_engine.storage.msgpack_bounds import MAX_DEPTH, PIECE, measure, n_values

ANY_COST = 1 << 40

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


def nested(depth: int, lead: bytes) -> bytes:
    return lead * depth + b"\xc0"


@given(values, st.binary(max_size=5), st.binary(max_size=5))
def test_the_end_is_where_another_library_put_it(value: Any, before: bytes, after: bytes) -> None:
    packed = msgpack.packb(value)
    assert measure(before + packed + after, len(before), ANY_COST) == len(before) + len(packed)


def counted(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(counted, [*value.keys(), *value.values()]))
    return 1 + sum(map(counted, value)) if isinstance(value, list) else 1


extensions = st.builds(msgpack.ExtType, st.integers(0, 9), st.binary(max_size=300))


@given(st.lists(values | extensions))
@example([msgpack.ExtType(1, bytes(70_000)), "x" * 70_000, bytes(70_000), [0] * 70_000])
def test_values_are_counted(value: Any) -> None:
    packed = msgpack.packb(value)
    assert n_values(packed, 1 << 30) == counted(value)
    assert n_values(packed, 3) == min(4, counted(value))


@given(st.binary(max_size=60))
def test_counting_any_bytes_ends(data: bytes) -> None:
    assert n_values(data, 1 << 30) <= len(data)


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 31, 32, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize("make", [lambda n: "x" * n, bytes, lambda n: [None] * n])
def test_every_width_of_a_count(n: int, make: Any) -> None:
    packed = msgpack.packb({"a": make(n), "b": {f"{i:x}": i for i in range(n % 70_000)}})
    assert measure(packed, 0, ANY_COST) == len(packed)
    for cut in (1, len(packed) // 2, len(packed) - 1):
        with pytest.raises(ValueError, match="cut short"):
            measure(packed[:cut], 0, ANY_COST)


# Bytes at the borders of what UTF-8 allows: overlong, surrogates, beyond U+10FFFF, cut short.
near_utf8 = st.lists(
    st.sampled_from(b"\x00a\x7f\x80\xbf\xc0\xc2\xe0\xa0\x9f\xed\xf0\x90\x8f\xf4\xff")
)
texts = near_utf8.map(bytes).filter(lambda text: len(text) < 32)


@given(st.binary(max_size=60) | texts.map(lambda text: bytes([0xA0 + len(text)]) + text))
@example(b"\xa3\x00\x00\x80")
@example(b"\xa3\xed\xa0\x80")
@example(b"\x81\xa1\xff\xc0")
def test_what_it_lets_through_can_be_built(data: bytes) -> None:
    try:
        end = measure(data, 0, 1 << 20)
    except ValueError:
        return
    msgspec.msgpack.decode(data[:end])


@given(texts)
def test_a_text_is_let_through_if_it_is_utf_8(text: bytes) -> None:
    packed = bytes([0xA0 + len(text)]) + text
    try:
        text.decode()
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="no UTF-8"):
            measure(packed, 0, ANY_COST)
    else:
        assert measure(packed, 0, ANY_COST) == len(packed)


@pytest.mark.parametrize("shift", range(-4, 1))
def test_a_character_between_two_pieces(shift: int) -> None:
    whole = b"x" * (PIECE + shift) + "\U0001f600".encode() + b"x" * 9
    for text, is_text in (
        (whole, True),
        (whole.replace(b"\x80", b"a"), False),
        (whole[:-10], False),
    ):
        packed = b"\xdb" + len(text).to_bytes(4, "big") + text
        if is_text:
            assert measure(packed, 0, ANY_COST) == len(packed)
        else:
            with pytest.raises(ValueError, match="no UTF-8"):
                measure(packed, 0, ANY_COST)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (b"\xc1", "0xc1"),
        (msgpack.packb(msgpack.ExtType(5, b"abc")), "begins nothing"),
        (msgpack.packb(msgpack.Timestamp(1, 2)), "begins nothing"),
        (b"\x81\x01\x02", "no text"),
        (b"\x81\x90\x02", "no text"),
        (b"\xdd\xff\xff\xff\xff", "cut short"),
        (b"\xdf\xff\xff\xff\xff", "cut short"),
        (b"\xc6\xff\xff\xff\xff", "cut short"),
        (b"\xdb\xff\xff\xff\xff" + b"x" * 100, "cut short"),
        (nested(MAX_DEPTH, b"\x91"), "deeper"),
        (nested(1_000_000, b"\x91"), "deeper"),
        (nested(1_000_000, b"\x81\xa1a"), "deeper"),
        (b"\xdd\x00\x01\x00\x00" + b"\x80" * 65_536, "memory"),
        (b"\xdb\x00\x10\x00\x00" + b"x" * (1 << 20), "memory"),
        (b"\xa4\xf0\x9f\x98", "cut short"),
        (b"\xda\xff\xff\xf0\x9f\x98\x80" + b"x" * 65_531, None),
    ],
)
def test_traps(data: bytes, reason: str | None) -> None:
    if reason is None:
        assert measure(data, 0, 300_000) == len(data)
    else:
        with pytest.raises(ValueError, match=reason):
            measure(data, 0, 1 << 20)
    assert measure(nested(MAX_DEPTH - 1, b"\x91"), 0, 1 << 20) == MAX_DEPTH


SHAPES = {
    "empty maps": [{} for _ in range(20_000)],
    "empty lists": [[] for _ in range(20_000)],
    "maps of one": [{"": None} for _ in range(20_000)],
    "lists of one": [[None] for _ in range(20_000)],
    "large numbers": [1 << 40] * 20_000,
    "floats": [0.5] * 20_000,
    "short wide texts": ["\U0001f600a"] * 20_000,
    "one wide text": "x" * 400_000 + "\U0001f600",
    "latin text": "\u00e9" * 400_000,
    "one map": {f"{i:x}": None for i in range(22_000)},
    "one bytes": bytes(400_000),
    "chain of maps": msgspec.msgpack.decode(nested(MAX_DEPTH - 2, b"\x81\xa1a")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bound_holds(shape: str) -> None:
    packed = msgpack.packb(SHAPES[shape])
    gc.collect()
    tracemalloc.start()
    try:
        built = msgspec.msgpack.decode(packed)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert built == SHAPES[shape]
    with pytest.raises(ValueError, match="memory"):
        measure(packed, 0, taken - 1)


def test_random_bytes_raise_nothing_else() -> None:
    rng = random.Random(2)
    leads = bytes([0x81, 0x93, 0xA2, 0xC4, 0xC6, 0xD9, 0xDC, 0xDD, 0xDE, 0xDF, 0xCB, 0x01])
    for _ in range(3_000):
        data = bytes(
            rng.choice(leads) if rng.random() < 0.7 else rng.randrange(256) for _ in range(40)
        )
        try:
            assert 0 < measure(data, 0, 1 << 16) <= len(data)
        except ValueError:
            continue
