"""What goes on beside a load does not come between it and what it was asked to bring."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.characters import runnable as awake
from npc_engine.saving.autosave import AUTOSAVE, BEFORE, GATHER_S
from npc_engine.saving.journal.pace import LOOK_S
from npc_engine.storage.store import Store
from tests.support.journaled import held, journaled, lives, on_disk, size
from tests.support.rig import GAME, MakeRig, Rig, TimedLlama, scripted

pytestmark = pytest.mark.usefixtures("no_fsync")
WAIT_S = 20.0


class Gate:
    """Holds up whoever reads characters, until `go`. `has_begun` when one is about to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.has_begun = threading.Event(), threading.Event()
        read = Store.read

        def held_up(store: Store, slot: str, npcs: Sequence[str] | None = None) -> Any:
            self.has_begun.set()
            assert self.go.wait(WAIT_S)
            return read(store, slot, npcs)

        monkeypatch.setattr(Store, "read", held_up)

    def wait(self, rig: Rig) -> None:
        """Step until somebody is being read."""
        deadline = time.monotonic() + WAIT_S
        while not self.has_begun.is_set():
            assert time.monotonic() < deadline
            rig.step()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def load(rig: Rig, slot: str, npcs: list[str] | None = None) -> str:
    return rig.send(m.Load(id=rig.id(), slot=slot, npcs=npcs))


def test_an_event_for_many_is_heard_before_a_load_that_was_asked_for_behind_it(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(save_kv="no")
    rig.check_every = 10**9
    names = [f"n{i}" for i in range(2 * awake.MOST_AT_ONCE)]
    for name in names:
        rig.spawn(name)
    rig.save("s", mode="journal")
    rig.event("The bell tolls.")
    rig.until(load(rig, "s"))
    assert [name for name in names if "The bell tolls." not in rig.heard(name)] == []


def test_a_journal_does_not_grow_while_it_is_read(make_rig: MakeRig, gate: Gate) -> None:
    rig = make_rig(fake=TimedLlama(mind=scripted("la ", end=False)), max_tokens=300)
    journaled(rig, "ab")
    said = rig.say("a", "Tell me all of it.")
    rig.steps(20)
    target = load(rig, "s", ["a"])
    gate.wait(rig)
    was = size(rig, "a")
    rig.cancel(said)  # it is for the one that is being replaced: what it said has ended
    for _ in range(10):
        rig.now += LOOK_S
        on_disk(rig)
    assert (GAME, target) in rig.open
    assert size(rig, "a") == was
    gate.go.set()
    assert rig.until(target).npcs[0].npc == "a"


def test_after_a_load_that_failed_the_journal_goes_on(
    make_rig: MakeRig, gate: Gate, tmp_path: Path
) -> None:
    rig = make_rig(fake=TimedLlama(mind=scripted("la ", end=False)), max_tokens=60)
    journaled(rig, "ab")
    said = rig.say("a", "Tell me all of it.")
    rig.steps(20)
    target = load(rig, "s")
    gate.wait(rig)
    rig.cancel(said)
    rig.steps(5)
    (tmp_path / "s" / "b.npc").write_bytes(b"no save")
    gate.go.set()
    assert rig.until(target).code == "bad_snapshot"
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


def test_the_autosave_of_newcomers_does_not_take_the_place_of_what_is_loaded(
    make_rig: MakeRig, gate: Gate, tmp_path: Path
) -> None:
    before = make_rig(autosave=60)
    before.spawn("a")
    before.talk("a", "What was long ago.")
    before.rest()
    before.close()
    rig = make_rig(autosave=60)
    for name in "ab":
        rig.spawn(name)
    target = load(rig, AUTOSAVE)
    gate.wait(rig)
    rig.now += 2 * GATHER_S
    newcomers = tmp_path / AUTOSAVE / "b.npc"
    deadline = time.monotonic() + WAIT_S
    while not newcomers.exists():
        assert time.monotonic() < deadline
        rig.step()
    gate.go.set()
    rig.until(target)
    assert "What was long ago." in rig.heard("a")
    rig.rest()
    assert BEFORE in rig.engine._saving._files.store.slots()
    for name in "ab":
        assert held(rig, name, AUTOSAVE) == lives(rig, name)


def test_who_is_saved_into_a_slot_behind_a_load_of_it_is_not_loaded(make_rig: MakeRig) -> None:
    rig = make_rig()
    journaled(rig, "ab")
    rig.spawn("c")
    target = load(rig, "s")
    saved = rig.send(m.Save(id="save", slot="s", npcs=["c"]))
    rig.event("Behind the save.", ["c"])
    loaded = rig.until(target)
    assert [npc.npc for npc in loaded.npcs] == ["a", "b"]
    assert rig.until(saved).npcs == ["c"]
