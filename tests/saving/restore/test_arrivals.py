"""A load holds up nobody but whom it brings, comes whole or not at all, and keeps the order."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.saving.restore import reader as reading
from npc_engine.saving.restore.arrivals import MOST_AT_ONCE
from npc_engine.saving.restore.restoring import Restoring
from npc_engine.saving.saving import POLL_S
from npc_engine.storage.store import Store
from tests.support.fake_llama import END, babble
from tests.support.rig import CARD, GAME, MakeRig, Rig, TimedLlama

pytestmark = pytest.mark.usefixtures("no_fsync")
OTHER = b"another"
WAIT_S = 20.0


@pytest.fixture
def make_rig(make_rig: MakeRig) -> MakeRig:
    def make(names: str = "abc", **keys: Any) -> Rig:
        rig = make_rig(**keys)
        for name in names:
            rig.spawn(name, card={"name": name.upper(), "system_prompt": f"Lives at {name}."})
            rig.talk(name, f"First, {name}.")
        if names:
            rig.rest()
            rig.save("s")
        return rig

    return make


class Gate:
    """Holds up whoever reads, until `go`; `threads` are those who did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.threads: set[int] = set()
        self.n_read = 0
        read = Store.read

        def held_up(store: Store, slot: str, npcs: Sequence[str] | None = None) -> Any:
            self.threads.add(threading.get_ident())
            assert self.go.wait(WAIT_S)
            found = read(store, slot, npcs)
            self.n_read += len(found)
            return found

        monkeypatch.setattr(Store, "read", held_up)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def load(rig: Rig, npcs: list[str] | None = None, client: bytes = GAME) -> str:
    return rig.send(m.Load(id=rig.id(), slot="s", npcs=npcs), client)


def endless(tokens: Sequence[int]) -> int:
    token = babble(tokens)
    return ord("e") if token == END else token


def damage(folder: Path, npc: str) -> None:
    path = folder / "s" / f"{npc}.npc"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data[:300])


def test_others_talk_while_it_is_read(make_rig: MakeRig, gate: Gate) -> None:
    rig = make_rig()
    target = load(rig, ["a"])
    assert rig.talk("b", "Still here?").reason == "stop"
    assert (GAME, target) in rig.open
    gate.go.set()
    assert isinstance(rig.until(target), m.Loaded)
    assert threading.get_ident() not in gate.threads


def test_a_second_load_does_not_wait_in_the_engine_s_thread(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    store = rig.engine._saving._files.store
    with store._lock:  # as while a large file is read
        done = threading.Event()
        targets: list[str] = []

        def ask() -> None:
            targets.extend([load(rig), load(rig, ["b"])])
            rig.steps(3)
            done.set()

        threading.Thread(target=ask, daemon=True).start()
        assert done.wait(WAIT_S)
    assert [type(rig.until(target)) for target in targets] == [m.Loaded, m.Loaded]


def test_whom_it_brings_stands_still(make_rig: MakeRig, gate: Gate) -> None:
    rig = make_rig(fake=TimedLlama(mind=endless), max_tokens=50)
    says = [rig.say(name, "Tell me all of it.") for name in "ab"]
    rig.steps(3)
    target = load(rig, ["a"])
    was = rig.tokens("a")
    assert rig.until(says[1]).reason == "length"
    assert rig.tokens("a") == was
    gate.go.set()
    assert isinstance(rig.until(target), m.Loaded)
    assert rig.until(says[0]).reason == "cancelled"
    assert "Tell me" not in rig.heard("a")


def test_what_is_asked_behind_it_is_for_those_that_it_brings(make_rig: MakeRig, gate: Gate) -> None:
    rig = make_rig()
    rig.talk("a", "Soon forgotten.")
    target = load(rig)
    said = rig.say("a", "Remember this.")
    heard = rig.event("A bell.", ["b"])
    by_another = rig.say("c", "And this.", client=OTHER)
    listed = rig.ask(m.List(id=rig.id()))  # asks for nothing of anybody
    assert {npc.npc for npc in listed.npcs} == set("abc")
    rig.steps(5)
    assert {(GAME, target), (GAME, said), (GAME, heard), (OTHER, by_another)} <= rig.open
    gate.go.set()
    assert rig.until(said).reason == "stop"
    assert rig.until(by_another, OTHER).reason == "stop"
    order = [reply.id for _, reply in rig.replies if reply.id in (target, said, heard)]
    assert order[:2] == [target, heard]
    assert "Soon forgotten." not in rig.heard("a")
    assert "First, a." in rig.heard("a")
    assert "Remember this." in rig.heard("a")
    assert "And this." in rig.heard("c")


def test_no_two_requests_of_a_client_for_one_character_change_places(
    make_rig: MakeRig, gate: Gate
) -> None:
    rig = make_rig()
    load(rig, ["a"])
    rig.event("The bell tolls.")
    mine = rig.say("b", "Did you hear that?")
    theirs = rig.say("b", "Hello.", client=OTHER)
    assert rig.until(theirs, OTHER).reason == "stop"
    assert (GAME, mine) in rig.open
    gate.go.set()
    rig.until(mine)
    heard = rig.heard("b")
    assert heard.index("Hello.") < heard.index("The bell") < heard.index("Did you hear")


def test_all_or_nothing(make_rig: MakeRig, gate: Gate, tmp_path: Path) -> None:
    fake = TimedLlama(mind=endless)
    rig = make_rig(fake=fake, max_tokens=50)
    damage(tmp_path, "c")
    target = rig.say("a", "Tell me all of it.")
    rig.steps(3)
    was = {name: rig[name] for name in "abc"}
    n_bytes = rig.engine.stage.parking._n_bytes
    failed = load(rig)
    held = rig.say("b", "Are you there?")
    gate.go.set()
    assert rig.until(failed).code == "bad_snapshot"
    assert {name: rig[name] for name in "abc"} == was
    assert rig.engine.stage.parking._n_bytes == n_bytes, "what was made is kept"
    assert rig.until(target).reason == "length", "it has gone on"
    assert rig.until(held).reason == "length"


@pytest.mark.parametrize("npcs", [None, ["a"]])
def test_a_slot_that_is_not_there(make_rig: MakeRig, npcs: list[str] | None) -> None:
    rig = make_rig("a")
    target = rig.send(m.Load(id="l", slot="nowhere", npcs=npcs))
    said = rig.say("a", "Still here?")
    assert rig.until(target).code == "unknown_slot"
    assert rig.until(said).reason == "stop"
    assert len(rig.records(target)) == 1


def test_what_waits_can_be_cancelled(make_rig: MakeRig, gate: Gate) -> None:
    rig = make_rig()
    target = load(rig, ["a", "b"])
    said = rig.say("a", "Never mind.")
    scene = rig.scene("market", ["a", "b"])
    for waiting in (said, scene):
        assert rig.ask(m.Cancel(id=rig.id(), target=waiting)).cancelled
        assert rig.until(waiting).reason == "cancelled"
    by_another = rig.say("b", "Gone.", client=OTHER)
    rig.engine.drop(OTHER, "slow_client")
    assert rig.until(by_another, OTHER).reason == "slow_client"
    gate.go.set()
    rig.until(target)
    assert "Never mind." not in rig.heard("a")


def test_an_id_that_was_cancelled_while_it_waited_means_nobody(
    make_rig: MakeRig, gate: Gate
) -> None:
    rig = make_rig()
    whole = rig.until(rig.send(m.Say(id="7", npc="b", text="Well?"))).text
    target = load(rig, ["a"])
    rig.send(m.Say(id="7", npc="a", text="Well?"))
    assert rig.ask(m.Cancel(id=rig.id(), target="7")).cancelled
    assert rig.ask(m.Cancel(id=rig.id(), target="7", heard=0)).code == "unknown_target"
    assert rig.last_reply("b").strip() == whole
    gate.go.set()
    rig.until(target)


def test_an_end_answers_all_of_it(make_rig: MakeRig, gate: Gate) -> None:
    rig = make_rig()
    load(rig)
    rig.say("a")
    rig.event("A bell.")
    rig.send(m.Despawn(id="d", npc="b"))
    load(rig, ["c"])
    threading.Timer(0.1, gate.go.set).start()
    rig.close()  # the rig checks that nothing is left open


def test_loads_saves_and_despawns_behind_it(make_rig: MakeRig, gate: Gate) -> None:
    rig = make_rig()
    rig.talk("a", "Soon forgotten.")
    first = load(rig)
    saved = rig.send(m.Save(id=rig.id(), slot="t"))
    gone = rig.send(m.Despawn(id=rig.id(), npc="a"))
    second = load(rig, ["a"])
    rewound = rig.send(m.Rewind(id=rig.id(), npc="b", turns=1))
    gate.go.set()
    answers = [rig.until(each) for each in (first, saved, gone, second, rewound)]
    assert [type(a) for a in answers] == [m.Loaded, m.Saved, m.Ok, m.Loaded, m.Rewound]
    rig.rest()
    assert "First, b." not in rig.heard("b")
    rig.load("t")
    assert "Soon forgotten." not in rig.heard("a")


def test_a_spawn_with_restore_keeps_the_order_too(make_rig: MakeRig, gate: Gate) -> None:
    make_rig()
    rig = make_rig(names="")
    spawns = [rig.send(m.Spawn(id=rig.id(), npc=name, card=CARD, restore="s")) for name in "abz"]
    said = rig.say("a", "You again?")
    rig.steps(3)
    gate.go.set()
    assert [rig.until(each).restored for each in spawns] == [True, True, False]
    assert rig.until(said).reason == "stop"
    heard = rig.heard("a")
    assert heard.index("First, a.") < heard.index("You again?")


def test_a_step_makes_a_few(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    fake = TimedLlama()
    rig = make_rig(names, fake=fake, window=4000, max_tokens=3000)
    fake.mind = endless
    rig.check_every = 10**9
    n_made = 0
    restore = Restoring.restore

    def counted(*args: Any, **keys: Any) -> Any:
        nonlocal n_made
        n_made += 1
        return restore(*args, **keys)

    monkeypatch.setattr(Restoring, "restore", counted)
    for speaks, most in ((False, MOST_AT_ONCE), (True, 1)):
        if speaks:
            rig.say("a", "Tell me all of it.")
            rig.steps(5)
        target = load(rig, list(names[1:]))
        made: list[int] = []
        while (GAME, target) in rig.open:
            n_made = 0
            rig.step()
            made.append(n_made)
            if not n_made:
                time.sleep(POLL_S)  # files are read in real time, and her line is to outlast that
        assert speaks == (rig["a"].generation is not None)
        assert max(made) <= most
        assert sum(made) == len(names) - 1


class Heavy(TimedLlama):
    """Each slot's cells take 100 kB more."""

    def export(self, slot: int) -> bytes:
        return super().export(slot) + b" " * 100_000


@pytest.mark.slow
def test_the_memory_of_a_load_is_that_of_parking(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "AHEAD_BYTES", 250_000)
    monkeypatch.setattr("npc_engine.saving.restore.arrivals.AHEAD_BYTES", 250_000)
    names = "abcdefghijklmnopqrstuvwxyz"
    make_rig(names, fake=Heavy(), save_kv="yes")
    rig = make_rig("", fake=Heavy(), park_ram=0)
    rig.may_lose = True
    parking = rig.engine.stage.parking
    target = load(rig)
    most = 0
    while (GAME, target) in rig.open:
        rig.step()
        arrivals = rig.engine._saving._arrivals._all
        ahead = sum(a.reading.n_bytes for a in arrivals if a.reading)
        most = max(most, ahead + parking._n_bytes + parking.n_writing_bytes)
    assert all(npc.source == "payload" for npc in rig.records(target)[-1].npcs)
    assert (
        most < 1_500_000
    )  # of 2.6 MB: what is ahead, what waits for the disk, what came in a step


def test_what_ends_while_it_waits_for_a_save_is_in_the_journal(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot that goes on by itself holds now, also where it was asked for earlier."""
    rig = make_rig()
    rig.save("s", mode="journal")
    go = threading.Event()
    write = Store.write

    def held_up(*args: Any, **keys: Any) -> int:
        assert go.wait(WAIT_S)
        return write(*args, **keys)

    monkeypatch.setattr(Store, "write", held_up)
    saved = rig.send(m.Save(id=rig.id(), slot="s"))
    rig.steps(5)
    target = load(rig, ["a"])
    assert rig.talk("a", "News.").reason == "stop"  # it has its done: it is not to be lost
    assert (GAME, target) in rig.open
    go.set()
    rig.until(saved)
    rig.until(target)
    assert "News." in rig.heard("a")
