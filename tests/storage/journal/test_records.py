"""A journal torn anywhere is the journal up to its last whole record; no bytes can do harm."""

import copy
import tracemalloc
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_engine.storage.delta import diff
from npc_engine.storage.journal import records as journal
from npc_engine.storage.journal.records import MAX_BYTES, begin, examine, image_of, record
from npc_engine.storage.snapshot import Snapshot, decode, encode
from tests.support.journal_files import BASE, HEADER, STATES, meaning, segment, state, written

KEY = bytes(32)


def snapshot(of: dict[str, Any] = STATES[0], payload: bytes | None = b"kv") -> Snapshot:
    return Snapshot(HEADER, copy.deepcopy(of), payload, trusted=True)


def loaded(of: Snapshot, data: bytes) -> Snapshot:
    return examine(of, data).loaded


def test_all_of_it_comes_back() -> None:
    data, _ = written()
    found = loaded(snapshot(), data)
    assert meaning(found.state) == meaning(STATES[-1])
    assert found.journal == "4 changes since the save are from its journal."
    assert (found.header, found.payload, found.notice) == (HEADER, b"kv", None)


def test_torn_anywhere_it_is_what_was_whole() -> None:
    data, ends = written()
    for n in range(len(data)):
        found = loaded(snapshot(), data[:n])
        n_whole = sum(end <= n for end in ends) - 1
        assert meaning(found.state) == meaning(STATES[max(0, n_whole)]), n
        whole = n in ends and n_whole >= 0
        assert (found.journal is None) == (n in (0, ends[0])), n
        assert ("no whole entry" in str(found.journal)) == (not whole and n_whole >= 0), n


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4096, b"\xff", b"\x80", b"\xdf\xff\xff\xff\xff"])
def test_what_a_power_cut_leaves_behind_it_is_left_out(tail: bytes) -> None:
    data, _ = written()
    found = loaded(snapshot(), data + tail)
    assert meaning(found.state) == meaning(STATES[-1])
    assert f"ends in {len(tail)} bytes" in str(found.journal)


def test_a_byte_changed_anywhere_ends_it_there() -> None:
    data, ends = written()
    for n in range(len(data)):
        bad = bytearray(data)
        bad[n] ^= 0x41
        found = loaded(snapshot(), bytes(bad))
        n_whole = max(0, sum(end <= n for end in ends) - 1)
        assert meaning(found.state) == meaning(STATES[n_whole]), n
        assert found.journal, n


def test_a_record_out_of_its_place_does_not_count() -> None:
    data, ends = written()
    first = data[ends[0] : ends[1]]
    for n in (1, 3):
        found = loaded(snapshot(), data[: ends[n]] + first)
        assert meaning(found.state) == meaning(STATES[n])


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"npc": "mara", "snapshot": "6b" * 16}, "another save"),
        ({"npc": "mara"}, "another save"),
        ({"npc": "bob", "snapshot": BASE}, "another save"),
    ],
)
def test_a_journal_of_another_save_is_left_out(header: dict[str, Any], why: str) -> None:
    old = replace(snapshot(), header=header)
    found = loaded(old, written()[0])
    assert why in str(found.journal)
    assert replace(found, journal=None) == old


def test_a_newer_major_version_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FORMAT", (2, 0))
    data = begin("mara", BASE)[0]
    monkeypatch.undo()
    assert "format is [2, 0]" in str(loaded(snapshot(), data).journal)


def test_one_that_is_too_long_is_left_out() -> None:
    found = loaded(snapshot(), written()[0] + bytes(MAX_BYTES))
    assert str(MAX_BYTES) in str(found.journal)
    assert found.state == STATES[0]


# What becomes of the payload


def cells(found: Snapshot) -> list[tuple[int, int, int]]:
    return [(s["turn"], s["start"], s["n_cached"]) for s in found.state["segments"]]


def after(*turns: int, of: dict[str, Any] = STATES[0], payload: bytes | None = b"kv") -> Snapshot:
    data, check = begin("mara", BASE)
    part, _ = record(diff(image_of(of), image_of(state(*turns))), check)
    return loaded(snapshot(of, payload), data + part)


def test_what_is_unchanged_keeps_its_cells() -> None:
    found = after(1, 2, 3, 4)
    assert cells(found) == [(0, 0, 2), (1, 2, 2), (2, 4, 2), (3, 6, 2), (4, 0, 0)]
    assert found.state["holes"] == [[8, -1]]


def test_what_has_left_leaves_a_hole() -> None:
    found = after(1, 3, 4)
    assert cells(found) == [(0, 0, 2), (1, 2, 2), (3, 6, 2), (4, 0, 0)]
    assert found.state["holes"] == [[8, -1], [4, 6]]


def test_behind_something_new_all_is_read_again() -> None:
    found = after(1, 9, 3)
    assert cells(found) == [(0, 0, 2), (1, 2, 2), (9, 0, 0), (3, 0, 0)]
    assert found.state["holes"] == [[8, -1], [4, -1]]


def test_behind_what_was_read_in_part_all_is_read_again() -> None:
    part = state(1, 2, 3)
    part["segments"][2]["n_cached"] = 1
    part["segments"][3].update(start=0, n_cached=0)
    part["holes"] = [[5, -1]]
    found = after(1, 2, 3, 4, of=part)
    assert cells(found) == [(0, 0, 2), (1, 2, 2), (2, 4, 1), (3, 0, 0), (4, 0, 0)]
    assert found.state["holes"] == [[5, -1]]


def test_without_a_payload_nothing_has_cells() -> None:
    assert {n for _, _, n in cells(after(1, 2, 3, 4, payload=None))} == {0}


# Bytes of strangers


@given(st.binary(max_size=200))
def test_any_bytes_are_a_journal_or_left_out(tail: bytes) -> None:
    for data in (tail, journal.MAGIC + tail, written()[0] + tail):
        found = loaded(snapshot(), data)
        assert isinstance(found.state["segments"], list)


VALUE = st.recursive(
    st.none() | st.integers(-3, 9) | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


DELTA = st.fixed_dictionaries({}, optional=dict.fromkeys(("set", "gone", "splices"), VALUE))


@settings(max_examples=30)
@given(st.lists(DELTA, max_size=4))
def test_any_records_with_right_checks_are_harmless(deltas: list[dict[str, Any]]) -> None:
    data, check = begin("mara", BASE)
    for delta in deltas:
        part, check = record(delta, check)
        data += part
    found = loaded(snapshot(), data)
    assert found.journal is not None or not deltas
    assert snapshot().state == STATES[0]


@given(st.recursive(VALUE, lambda inner: st.fixed_dictionaries({"segments": inner}), max_leaves=3))
def test_a_snapshot_that_is_no_character_stays_as_it_is(value: Any) -> None:
    of = value if isinstance(value, dict) else {"segments": value}
    if isinstance(of.get("segments"), list) and of["segments"]:
        return
    data, check = begin("mara", BASE)
    part, _ = record({"set": {"turn": 3}}, check)
    loaded(Snapshot(HEADER, of, None, trusted=False), data + part)


@pytest.mark.parametrize("holes", [None, 5, "abc", {"a": 1}])
def test_holes_of_a_stranger_are_harmless(holes: Any) -> None:
    found = examine(snapshot({**STATES[0], "holes": holes}, None), written()[0])
    assert (found.n_records, found.problem) == (4, None)
    assert meaning(found.snapshot.state) == meaning(STATES[-1])


def test_what_is_whole_is_known_to_the_byte() -> None:
    data, ends = written()
    for end in ends:
        found = examine(snapshot(), data[:end] + b"torn")
        assert (found.whole, found.n_torn) == (data[:end], 4)
    found = examine(snapshot(), data)
    assert (found.whole, found.n_torn, found.problem) == (data, 0, None)
    foreign = examine(snapshot(), begin("mara", "0" * 32)[0])
    assert (foreign.whole, foreign.problem) == (b"", "it belongs to another save")
    assert examine(snapshot(), b"").notice is None


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_WORK", 20)
    data, check = begin("mara", BASE)
    for _ in range(50):
        part, check = record({"splices": [[0, 0, [segment(0, [1])]]]}, check)
        data += part
    found = loaded(snapshot(), data)
    assert len(found.state["segments"]) < 4 + 10


def test_the_header_of_a_snapshot_names_it() -> None:
    """What `base` is compared with survives the file."""
    data = encode(HEADER, STATES[0], b"kv", KEY)
    found = loaded(decode(data, KEY), written()[0])
    assert meaning(found.state) == meaning(STATES[-1])
    assert found.trusted


def test_read_by_another_library() -> None:
    """As docs/snapshot-format.md describes the bytes."""
    import hashlib

    import msgpack  # type: ignore[import-untyped]

    data, _ = written()
    assert data[:8] == b"\x89NPJ\r\n\x1a\n"
    parts = msgpack.Unpacker(max_buffer_size=0)
    parts.feed(data[8:])
    before, at, maps = b"", 0, []
    while True:
        try:
            maps.append(parts.unpack())
        except msgpack.OutOfData:
            break
        end = 8 + parts.tell()
        check = parts.unpack()
        assert check == hashlib.sha256(before + data[at:end]).digest()[:16]
        before, at = check, 8 + parts.tell()
    assert maps[0] == {"format": [1, 0], "npc": "mara", "base": BASE}
    assert [msgspec.msgpack.encode(m) for m in maps[1:]] != []
    assert len(maps) == len(STATES)


@pytest.mark.slow
def test_a_hostile_journal_takes_little_memory() -> None:
    """Of as many bytes as there may be, empty maps come to most."""
    data, check = begin("mara", BASE)
    empty: list[dict[str, Any]] = [{}] * 80_000
    while True:
        part, check = record({"set": {f"k{len(data)}": empty}}, check)
        if len(data) + len(part) > MAX_BYTES:
            break
        data += part
    tracemalloc.start()
    try:
        found = examine(snapshot(), data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.n_records == 9
    assert peak < 64 << 20
