"""A slot as it is read ahead: how far, what may lack, and what becomes of an error."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from npc_engine.errors import Internal, NpcError, SnapshotError
from npc_engine.saving.restore.reader import AHEAD, SlotReader
from npc_engine.storage.snapshot import Snapshot


class Shelf:
    """A store of one slot."""

    def __init__(self, sizes: Mapping[str, int], bad: NpcError | Exception | None = None) -> None:
        self.asked: list[list[str]] = []
        self._sizes = sizes
        self._bad = bad

    def sizes(self, _slot: str) -> Mapping[str, int]:
        if self._bad is not None:
            raise self._bad
        return self._sizes

    def read(self, _slot: str, npcs: Sequence[str]) -> dict[str, Snapshot | SnapshotError]:
        self.asked.append(list(npcs))
        damaged = SnapshotError("Damaged.")
        return {
            n: Snapshot({}, {"n": n}, None, True) if n in self._sizes else damaged for n in npcs
        }


def reader(shelf: Shelf, npcs: Sequence[str] | None = None, **keys: Any) -> SlotReader:
    return SlotReader(shelf, lambda job: job(), "s", npcs, **keys)


def taken(of: SlotReader) -> list[str]:
    names = []
    while (found := of.take()) is not None:
        names.append(found[0])
    return names


def test_all_of_a_slot_come_in_order_and_then_it_is_over() -> None:
    of = reader(Shelf({"b": 1, "a": 1}))
    assert not of.is_over
    of.ask_on(100)
    assert (of.has_some, of.n_bytes, of.is_over) == (True, 2, False)
    assert taken(of) == ["a", "b"]
    assert (of.has_some, of.n_bytes, of.is_over) == (False, 0, True)


def test_no_more_are_read_than_there_is_room_for_but_one_is() -> None:
    shelf = Shelf(dict.fromkeys("abc", 60))
    of = reader(shelf)
    of.ask_on(100)
    of.ask_on(40)
    assert shelf.asked == [["a"]]
    assert taken(of) == ["a"]
    of.ask_on(0)
    assert shelf.asked == [["a"], ["b"]]


def test_no_more_than_a_number_of_them_are_read_ahead() -> None:
    shelf = Shelf({f"n{i:02}": 0 for i in range(AHEAD + 5)})
    of = reader(shelf)
    of.ask_on(100)
    assert list(map(len, shelf.asked)) == [AHEAD]


@pytest.mark.parametrize("may_lack", [True, False])
def test_whom_the_slot_does_not_hold_is_left_out_or_an_error(may_lack: bool) -> None:
    of = reader(Shelf({"a": 1}), ["a", "b"], may_lack=may_lack)
    of.ask_on(100)
    if may_lack:
        assert taken(of) == ["a"]
        assert of.is_over
    else:
        with pytest.raises(SnapshotError):
            taken(of)


@pytest.mark.parametrize("bad", [SnapshotError("No."), OSError("A fault of ours.")])
def test_what_is_wrong_with_a_slot_is_raised_where_it_is_asked_for(bad: Exception) -> None:
    of = reader(Shelf({}, bad))
    with pytest.raises(SnapshotError if isinstance(bad, SnapshotError) else Internal):
        of.ask_on(100)


def test_who_has_stopped_reads_no_more() -> None:
    shelf = Shelf({"a": 1})
    of = reader(shelf)
    of.stop()
    of.ask_on(100)
    assert shelf.asked == []
