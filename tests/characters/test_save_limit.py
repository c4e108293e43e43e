"""A card that no save could hold is refused when it comes, and holds up nobody's save."""

from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.cards.card import Card
from npc_engine.characters import save_limit as savable
from npc_engine.characters.save_limit import MAX_CARD_COST, check_card
from npc_engine.config import Sampling
from npc_engine.errors import CardError, ConfigError
from npc_engine.protocol.codec import MAX_VALUES
from npc_engine.saving.serialization import state_of
from npc_engine.storage.snapshot import encode
from tests.support.rig import GAME, MakeRig, Rig, TimedLlama

CARD = {"name": "Mara", "system_prompt": "Keeps the inn."}


@pytest.fixture
def rig(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    return make_rig(fake=TimedLlama(n_slots=3))


def direct(rig: Rig, request: m.Request) -> Any:
    """Ask as an engine in process does: nothing goes over a wire that would refuse it."""
    rig.open.add((GAME, request.id))
    rig.by_id[GAME, request.id] = []
    rig.engine.handle(request, GAME)
    return rig.until(request.id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"extensions": {"lore": [0] * 400_000}}, "extensions"),
        ({"extensions": {"lore": [[]] * 200_000}}, "extensions"),
        ({"character_book": {"entries": [{"id": i, "on": True} for i in range(70_000)]}},
         "character_book"),
        ({"creator_notes": "\u65c5" * 3_000_000}, "creator_notes"),
        ({"extensions": {"n": 2**64}}, "extensions"),
        ({"extensions": {"n": -(2**63) - 1}}, "extensions"),
        ({"extensions": {"text": "half \ud83d"}}, "extensions"),
        ({"extensions": {"half \ud83d": 1}}, "extensions"),
        ({"spec": "chara_card_v2", "data": CARD, "beside": [0] * 400_000}, "beside"),
        ({f"key{i}": [0] * 30_000 for i in range(9)}, ""),
    ],
)  # fmt: skip
def test_what_no_save_could_hold(rig: Rig, more: dict[str, Any], key: str) -> None:
    rig.spawn("bram")
    error = direct(rig, m.Spawn(id="x", npc="mara", card={**CARD, **more}))
    assert isinstance(error, m.Error)
    assert error.code == "bad_card"
    assert error.message.startswith(f"`{key}` of the card" if key else "The card cannot")
    assert len(error.message) < 400
    assert isinstance(rig.save("s"), m.Saved)


def test_what_a_save_can_hold_comes(rig: Rig) -> None:
    big = {"extensions": {"lore": [{"key": f"k{i}", "n": i} for i in range(20_000)]}}
    rig.spawn("mara", card={**CARD, **big, "creator_notes": "x" * 400_000})
    rig.talk("mara")
    assert isinstance(rig.save("s"), m.Saved)


@pytest.mark.slow
def test_what_comes_over_the_wire_is_reckoned_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk over all values takes a second for a card of a megabyte."""
    monkeypatch.setattr(savable, "measure", None)
    filler: list[list[None]] = [[] for _ in range(MAX_VALUES - 20)]
    check_card(Card.from_map({"name": "Mara", "x": filler, "description": "x" * 65_000}))


@pytest.mark.slow
def test_a_card_at_its_bound_leaves_room_for_all_that_grows(rig: Rig) -> None:
    most = MAX_CARD_COST // 100 - 200  # of numbers, beside the card's own fields
    with pytest.raises(CardError):
        check_card(Card.from_map({**CARD, "extensions": {"lore": [0] * (most + 200)}}))
    direct(rig, m.Spawn(id="x", npc="mara", card={**CARD, "extensions": {"lore": [0] * most}},
                        sampling={"stop": ["\u65c5" * 256] * 64}))  # fmt: skip
    rig.ask(m.Pin(id=rig.id(), npc="mara", text="The key is under the stone."))
    for _ in range(6):
        rig.event("\u65c5" * 40, ["mara"])
        rig.talk("mara", "\u65c5" * 40)
    rig.say("mara", "Go on.")
    for i in range(60):
        rig.event(f"{i} " + "\U0001f43a" * 200_000, ["mara"])
    assert isinstance(rig.save("s"), m.Saved)


def test_invalid_text_in_process_makes_no_save_fail(rig: Rig) -> None:
    with pytest.raises(ConfigError, match="valid text"):
        Sampling.parse({"stop": ["\ud800"]})
    rig.spawn("mara")
    rig.say("mara", "Go on.")
    rig.steps(3)
    assert isinstance(direct(rig, m.Event(id="x", npcs="*", text="A bell\ud800 tolls.")), m.Ok)
    assert len(rig["mara"].waiting(m.Event)) == 1
    assert isinstance(rig.save("s"), m.Saved)


def spoil(rig: Rig, npc: str) -> None:
    """Whatever it may be: something that no file can hold."""
    rig[npc].dialogue.extra = {"n": 2**70}
    with pytest.raises(Exception, match="cannot be saved"):
        encode({"npc": npc}, state_of(rig[npc], rig.now), None, b"")


def test_a_save_says_whom_it_cannot_hold(rig: Rig) -> None:
    for name in ("mara", "bram"):
        rig.spawn(name)
    spoil(rig, "bram")
    error = rig.save("s")
    assert error.code == "bad_snapshot"
    assert error.message.startswith("'bram' cannot be saved.")
    assert rig.save("s", ["mara"]).npcs == ["mara"]


def test_an_autosave_leaves_one_out_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    rig = Rig(tmp_path, autosave=60)
    for name in ("mara", "bram", "wren"):
        rig.spawn(name)
    spoil(rig, "bram")
    rig.rest()
    assert "'bram' cannot be saved" in caplog.text
    assert sorted(p.stem for p in (tmp_path / "autosave").glob("*.npc")) == ["mara", "wren"]
    stats = rig.ask(m.Stats(id=rig.id())).stats
    assert stats["journal_error"].startswith("'bram' cannot be saved")
    rig.spawn("lena")
    rig.talk("mara", "Remember.")
    rig.rest()
    rig.now += 100
    rig.talk("mara", "Remember this.")
    rig.rest()
    assert sorted(p.stem for p in (tmp_path / "autosave").glob("*.npc")) == ["lena", "mara", "wren"]
    rig.ask(m.Despawn(id=rig.id(), npc="bram"))
    assert not rig.ask(m.Stats(id=rig.id())).stats["journal_error"]
    rig.spawn("bram")
    rig.rest()
    assert "bram" in {p.stem for p in (tmp_path / "autosave").glob("*.npc")}
    rig.close()
    again = Rig(tmp_path)
    again.load("autosave", ["mara"])
    assert "Remember this." in again.heard("mara")
    again.close()
