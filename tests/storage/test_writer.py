"""Every submit comes back, as a size or an error, and nobody waits for a disk."""

import threading
from pathlib import Path
from typing import Any

import pytest

from npc_engine.errors import SnapshotError
from npc_engine.storage.snapshot import encode
from npc_engine.storage.store import Store
from npc_engine.storage.writer import Writer

WAIT = 10.0  # seconds


class SlowStore:
    """Writes nothing; holds each write until `go` is set, and fails as its slot says."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.slots: list[str] = []

    def write(self, slot: str, files: Any, **keys: Any) -> int:
        assert self.go.wait(WAIT)
        self.slots.append(slot)
        if slot == "bad":
            raise SnapshotError("The disk is full.", "Free some space.")
        if slot == "bug":
            raise KeyError(slot)
        if slot == "huge":
            raise MemoryError
        return len(files)


def test_results_come_back_in_order(caplog: pytest.LogCaptureFixture) -> None:
    store = SlowStore()
    writer = Writer(store)
    for i, slot in enumerate(["a", "bad", "bug", "huge", "b"]):
        writer.submit(slot, {"mara": b""}, merge=False, tag=i)
    assert writer.n_pending == 5
    assert writer.finished() == []
    store.go.set()
    assert writer.close(WAIT)
    results = writer.finished()
    assert writer.n_pending == 0
    assert writer.finished() == []
    assert [tag for tag, _ in results] == [0, 1, 2, 3, 4]
    assert store.slots == ["a", "bad", "bug", "huge", "b"]
    errors = {tag: str(error) for tag, error in results if isinstance(error, SnapshotError)}
    assert [result for tag, result in results if tag not in errors] == [1, 1]
    assert "disk is full" in errors[1] and "'bug'" in errors[2] and "memory" in errors[3]
    assert "saving the slot" in caplog.text


def test_close_waits_no_longer_than_told() -> None:
    store = SlowStore()
    writer = Writer(store)
    writer.submit("a", {}, merge=False, tag="a")
    assert not writer.close(0.01)
    writer.submit("b", {}, merge=False, tag="b")
    [(tag, error)] = writer.finished()
    assert tag == "b" and "closing" in str(error)
    store.go.set()
    assert writer.close(WAIT)
    assert writer.finished() == [("a", 0)]
    assert store.slots == ["a"]
    assert writer.n_pending == 0


def test_a_writer_with_nothing_to_do_has_no_thread() -> None:
    n_threads = threading.active_count()
    writer = Writer(SlowStore())
    assert threading.active_count() == n_threads
    assert writer.finished() == []
    assert writer.close(0)


def test_a_real_store(tmp_path: Path) -> None:
    key = bytes(32)
    store = Store(tmp_path, key)
    writer = Writer(store)
    data = encode({"npc": "mara"}, {}, b"kv", key)
    writer.submit("tavern", {"mara": data}, merge=False, tag=1)
    writer.submit(
        "tavern", {"Bob": lambda: encode({"npc": "Bob"}, {}, None, key)}, merge=True, tag=2
    )
    writer.submit("..", {"mara": data}, merge=False, tag=3)
    assert writer.close(WAIT)
    first, second, third = writer.finished()
    assert first == (1, len(data))
    assert second[0] == 2 and isinstance(second[1], int)
    assert third[0] == 3 and isinstance(third[1], SnapshotError)
    assert store.npcs("tavern") == ["Bob", "mara"]


def test_what_comes_before_and_after_a_write() -> None:
    store = SlowStore()
    store.go.set()
    writer = Writer(store)
    done: list[str] = []

    def fail() -> None:
        raise SnapshotError("Not now.")

    for slot, before in (("a", lambda: done.append("before")), ("b", fail), ("bad", fail)):
        then = lambda slot=slot: done.append(f"then {slot}")  # noqa: E731
        writer.submit(slot, {}, merge=False, tag=slot, before=before, then=then)
    writer.submit("bad", {}, merge=False, tag="c", then=lambda: done.append("never"))
    assert writer.close(WAIT)
    assert [type(result) for _, result in writer.finished()] == [int, *[SnapshotError] * 3]
    assert done == ["before", "then a"]
    assert store.slots == ["a", "bad"]
