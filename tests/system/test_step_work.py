"""A step's work does not grow with those who have nothing to do. Counted, not timed."""

from collections import Counter
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.cards.card import Card
from npc_engine.characters import runnable as awake
from npc_engine.characters.character import Character
from npc_engine.characters.stage import ATTENTION_S
from npc_engine.saving import copying
from npc_engine.saving.journal import journaling
from npc_engine.scheduling.slots import Slots
from tests.support.fake_llama import END, babble
from tests.support.rig import GAME, MakeRig, Rig, TimedLlama

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def make_rig(make_rig: MakeRig) -> MakeRig:
    def make(n: int, **keys: Any) -> Rig:
        rig = make_rig(**{"park_ram": 4096, "max_npcs": 4096, **keys})
        rig.check_every = 10**9
        for i in range(n):
            rig.spawn(f"n{i}", card={"name": f"N{i}", "description": "A villager."})
        rig.rest()
        return rig

    return make


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often characters are looked at, told something, and frozen."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counted(self: Any, *args: Any) -> Any:
            counts[name] += len(args[0]) if name == "assign" else 1
            return real(self, *args)

        monkeypatch.setattr(owner, name, counted)

    count(Character, "advance")
    count(Character, "take")
    count(Character, "cancel")
    count(Character, "drop")
    count(copying, "state_of")
    count(journaling, "state_of")
    count(Slots, "assign")
    return counts


def most_of(rig: Rig, calls: Counter[str], n: int = 20) -> Counter[str]:
    """The most calls of each kind in one step."""
    most: Counter[str] = Counter()
    for _ in range(n):
        calls.clear()
        rig.step()
        most |= calls
    return most


def endless() -> TimedLlama:
    return TimedLlama(mind=lambda t: ord("e") if babble(t) == END else babble(t))


@pytest.mark.parametrize("has_heard", [False, True])
def test_idle_characters_are_not_looked_at(
    make_rig: MakeRig, calls: Counter[str], has_heard: bool
) -> None:
    rig = make_rig(150, fake=endless())
    if has_heard:  # all but the residents want to read, and have no slot to
        rig.event("A bell.")
        rig.rest()
    rig.say("n7", "Tell me all of it.", max_tokens=60)
    rig.step()
    assert most_of(rig, calls)["advance"] <= 2 + rig.fake.n_slots


def test_nobody_is_looked_at_again_who_cannot_read_on(
    make_rig: MakeRig, calls: Counter[str]
) -> None:
    rig = make_rig(150)
    rig.event("A bell.")
    rig.rest()
    assert rig.engine.stage._awake.waiting, "all but the residents want to read"
    assert most_of(rig, calls)["assign"] == 0
    rig.ask(m.Despawn(id="d", npc=rig.engine.stage._slots.residents[0]))  # a slot is free
    rig.rest()
    assert not rig.engine.stage._slots.has_free


def test_a_cancel_looks_at_those_who_have_a_say(make_rig: MakeRig, calls: Counter[str]) -> None:
    rig = make_rig(150, fake=endless())
    rig.event("A bell.")
    rig.rest()
    said, waits = (rig.say("n7", "Tell me all of it.", max_tokens=60) for _ in range(2))
    rig.steps(5)
    calls.clear()
    for target in (waits, said, "nobody's"):
        rig.cancel(target)
    rig.engine.drop(b"another", "cancelled")
    assert calls["cancel"] + calls["drop"] <= 4 + 4 * rig.fake.n_slots
    assert [rig.until(target).reason for target in (said, waits)] == ["cancelled"] * 2


def test_an_event_for_everybody_is_the_work_of_many_steps(
    make_rig: MakeRig, calls: Counter[str]
) -> None:
    rig = make_rig(150, fake=endless())
    rig.say("n7", "Tell me all of it.", max_tokens=60)
    rig.step()
    calls.clear()
    answer = rig.event("A bell.")
    assert calls["take"] == 0
    assert rig.records(answer) == []
    most = most_of(rig, calls)
    assert rig.records(answer)[-1].n_heard == 150
    assert most["advance"] <= 2 * awake.MOST_AT_ONCE + rig.fake.n_slots
    assert most["take"] <= awake.MOST_AT_ONCE
    rig.rest()
    assert all("A bell." in rig.heard(f"n{i}") for i in range(150))


def test_nobody_notices_that_others_hear_it_first(make_rig: MakeRig) -> None:
    rig = make_rig(120)
    rig.event("A bell.")
    rig.talk("n119", "Did you hear that?")
    heard = rig.heard("n119")
    assert heard.index("A bell.") < heard.index("Did you hear that?")
    rig.event("A gong.")
    rig.ask(m.Despawn(id="d", npc="n118"))
    rig.event("A dog.")
    rig.save("s", ["n117"])
    rig.load("s")
    assert "A gong." in rig.heard("n117")
    assert "A dog." in rig.heard("n117")


def test_an_event_is_not_lost_at_the_end(make_rig: MakeRig) -> None:
    rig = make_rig(100)
    rig.save("s", mode="journal")
    rig.event("A last bell.")
    rig.close()
    fresh = make_rig(0)
    fresh.load("s")
    assert all("A last bell." in fresh.heard(f"n{i}") for i in range(100))


def test_events_end_for_those_whom_nobody_looks_at(make_rig: MakeRig) -> None:
    rig = make_rig(3)
    rig.event("A flash.", ["n0"], expires_s=5)
    rig.rest()
    assert "A flash." in rig.heard("n0")
    rig.now += 6
    rig.ask(m.Ping(id="p"))
    assert "A flash." not in rig.heard("n0")


def test_an_event_that_ends_late_is_noted_once_however_much_comes_behind_it(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(2)
    rig.event("The gate is open.", expires_s=86_400.0)
    for i in range(50):
        rig.event(f"Step {i}.")
        rig.rest()
    assert len(rig.engine.stage._awake._ends) == 2


def test_who_waits_for_a_slot_gets_one_that_becomes_free(make_rig: MakeRig) -> None:
    rig = make_rig(12, fake=TimedLlama(n_slots=3), park_ram=0)
    assert (
        sum(c.dialogue.sequence.slot is not None for c in rig.engine.stage.characters.values()) == 3
    )
    residents = list(rig.engine.stage._slots.residents)
    for name in residents:
        rig.ask(m.Despawn(id=f"d{name}", npc=name))
    rig.rest()
    assert len(rig.engine.stage._slots.residents) == 3


def test_a_despawn_amid_a_save_copies_one(make_rig: MakeRig, calls: Counter[str]) -> None:
    rig = make_rig(60)
    rig.talk("n50", "Remember this.")
    saves = [rig.send(m.Save(id=rig.id(), slot=slot)) for slot in ("s", "t")]
    rig.step()
    calls.clear()
    rig.send(m.Despawn(id=rig.id(), npc="n50"))
    assert calls["state_of"] == len(saves)
    assert {(GAME, save) for save in saves} <= rig.open
    for save in saves:
        assert len(rig.until(save).npcs) == 60
    for slot in ("s", "t"):
        rig.load(slot)
        assert "Remember this." in rig.heard("n50")
        rig.ask(m.Despawn(id=rig.id(), npc="n50"))


def test_saves_are_written_in_their_order_whoever_leaves(make_rig: MakeRig) -> None:
    rig = make_rig(5)
    first = rig.send(m.Save(id="1", slot="s"))
    second = rig.send(m.Save(id="2", slot="s", npcs=["n3"]))
    rig.send(m.Despawn(id="d", npc="n3"))
    rig.until(first)
    rig.until(second)
    order = [reply.id for _, reply in rig.replies if reply.id in ("1", "2")]
    assert order == ["1", "2"]
    assert len(rig.load("s").npcs) == 5


def test_a_card_is_copied_once(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make_rig(2)
    n_copies = 0
    to_map = Card.to_map

    def counted(card: Card) -> dict[str, Any]:
        nonlocal n_copies
        n_copies += 1
        return to_map(card)

    monkeypatch.setattr(Card, "to_map", counted)
    rig.save("s", mode="journal")
    for turn in range(3):
        rig.talk("n0", f"Turn {turn}.")
        rig.rest()
    assert n_copies == 2


def wanting_positions(make_rig: MakeRig) -> Rig:
    """One whose positions are to be won back in the next pause."""
    rig = make_rig(1, fake=TimedLlama(n_cells=300, n_batch=512, n_pos=900), window=300)
    rig.check_every = 1
    ledger = rig["n0"].dialogue.ledger
    for turn in range(200):
        if ledger.wants_renumbering:
            return rig
        rig.talk("n0", f"And {turn}?", max_tokens=16)
    raise AssertionError("it never wants to")


@pytest.mark.parametrize("how", ["attend", "hear"])
def test_no_renumbering_while_somebody_is_about_to_be_spoken_to(
    make_rig: MakeRig, how: str
) -> None:
    rig = wanting_positions(make_rig)
    if how == "attend":
        rig.send(m.Attend(id=rig.id(), npc="n0"))
    else:
        rig.hear("n0", "Half a wo")
    rig.rest()
    ledger = rig["n0"].dialogue.ledger
    assert ledger.n_renumbered == 0
    assert rig.ask(m.Stats(id=rig.id())).stats["n_renumberings"] == 0
    rig.now += ATTENTION_S + 1  # they have thought better of it
    rig.ask(m.Ping(id="p"))
    rig.rest()
    assert ledger.n_renumbered == 1
    assert rig.ask(m.Stats(id=rig.id())).stats["n_renumberings"] == 1


def test_a_pause_behind_a_line_is_used(make_rig: MakeRig) -> None:
    rig = wanting_positions(make_rig)
    rig.send(m.Attend(id=rig.id(), npc="n0"))
    n = rig["n0"].dialogue.ledger.n_renumbered
    rig.talk("n0", "Go on.")
    rig.rest()
    assert rig["n0"].dialogue.ledger.n_renumbered > n
