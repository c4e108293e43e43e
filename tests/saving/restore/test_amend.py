"""spawn {restore}: what it asks for counts, whatever was saved, and the talk goes on."""

from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.saving.restore.amend import Wanted, amend
from npc_engine.saving.serialization import state_of
from tests.support.rig import MakeRig, Rig, TimedLlama, scripted

pytestmark = pytest.mark.usefixtures("no_fsync")

CARD = {"name": "Mara", "system_prompt": "{{char}} keeps the inn.", "tags": ["inn"]}
PATCHED = {**CARD, "system_prompt": "{{char}} keeps the mill now."}


class Other(TimedLlama):
    fact: dict[str, Any] = {}  # noqa: RUF012

    @property
    def about(self) -> dict[str, Any]:
        return {**super().about, **self.fact}


@pytest.fixture
def make_rig(make_rig: MakeRig) -> MakeRig:
    def make(fake: TimedLlama | None = None, **keys: Any) -> Rig:
        fake = fake or TimedLlama()
        fake.mind = scripted("It is so.")
        return make_rig(fake=fake, **keys)

    return make


@pytest.fixture
def saved(make_rig: MakeRig) -> Rig:
    """Mara with a pinned fact and more talk than her window holds, in the slot `s`."""
    rig = make_rig()
    rig.spawn("mara", card=CARD, sampling={"temperature": 0.5, "seed": 3})
    rig.ask(m.Pin(id=rig.id(), npc="mara", text="The key is under the stone."))
    for i in range(9):
        rig.talk("mara", f"Question {i}?")
    rig.event("A bell tolls.")
    rig.save("s")
    return rig


def turns(rig: Rig) -> list[m.TranscriptTurn]:
    reply = rig.ask(m.Transcript(id=rig.id(), npc="mara"))
    assert isinstance(reply, m.TranscriptReply)
    return reply.turns


def test_the_same_again_is_taken_over_whole(make_rig: MakeRig, saved: Rig) -> None:
    rig = make_rig()
    spawned = rig.spawn(
        "mara", card=CARD, sampling={"temperature": 0.5, "seed": 3}, window=400, restore="s"
    )
    assert (spawned.restored, spawned.notice) == (True, None)
    rig.fake.batches.clear()
    assert rig.talk("mara", "And?").text == saved.talk("mara", "And?").text
    assert sum(len(t) for batch in rig.fake.batches for _, _, t, _ in batch) < 120
    assert rig.tokens("mara") == saved.tokens("mara")


def test_what_is_not_asked_for_stays_as_it_was_saved(make_rig: MakeRig, saved: Rig) -> None:
    rig = make_rig(window=512)
    spawned = rig.spawn("mara", card=CARD, restore="s")
    dialogue = rig["mara"].dialogue
    assert (spawned.notice, dialogue.sampling.temperature, dialogue.ledger.window) == (
        None,
        0.5,
        400,
    )


def test_a_patch_reaches_a_saved_character(make_rig: MakeRig, saved: Rig) -> None:
    had = turns(saved)
    saved.ask(m.Despawn(id=saved.id(), npc="mara"))
    spawned = saved.spawn("mara", card=PATCHED, restore="s")
    assert spawned.restored
    assert "its card (system_prompt)" in (spawned.notice or "")
    assert "read again" in (spawned.notice or "")
    fresh = make_rig()
    fresh.spawn("mara", card=PATCHED)
    n = fresh["mara"].dialogue.ledger.n_persona
    assert saved.tokens("mara")[:n] == fresh.tokens("mara")[:n]
    assert "keeps the inn" not in saved.heard("mara")
    kept = turns(saved)
    assert kept[0] == had[0], "the pin"
    assert kept[0].pinned
    assert kept[1:] == had[len(had) - len(kept) + 1 :], "of the talk the newest"
    assert len(kept) >= len(had) - 1, "a longer persona may cost a turn"
    assert saved.talk("mara", "And?").turn == 11
    kept = turns(saved)
    assert saved.save("s").npcs == ["mara"]
    saved.ask(m.Despawn(id=saved.id(), npc="mara"))
    assert saved.spawn("mara", card=PATCHED, restore="s").notice is None
    assert turns(saved) == kept


def test_a_field_that_is_no_part_of_the_persona(make_rig: MakeRig, saved: Rig) -> None:
    rig = make_rig()
    spawned = rig.spawn("mara", card={**CARD, "tags": ["mill"], "first_mes": "Hi."}, restore="s")
    assert spawned.notice == "Not as it was saved: its card (first_mes, tags)."
    assert rig["mara"].dialogue.card.tags == ("mill",)
    assert rig["mara"].dialogue.sequence.copy is not None, "its cells are as good as ever"
    assert rig.tokens("mara") == saved.tokens("mara")


def test_the_saved_card_when_that_is_wanted(make_rig: MakeRig, saved: Rig) -> None:
    rig = make_rig()
    spawned = rig.spawn("mara", card=PATCHED, restore="s", restore_card="saved")
    assert "saved card counts" in (spawned.notice or "")
    assert "system_prompt" in (spawned.notice or "")
    assert rig["mara"].dialogue.card.system_prompt == CARD["system_prompt"]
    assert rig.tokens("mara") == saved.tokens("mara")


@pytest.mark.parametrize("window", [250, 500])
def test_sampling_and_window(make_rig: MakeRig, saved: Rig, window: int) -> None:
    rig = make_rig(window=512)
    spawned = rig.spawn(
        "mara", card=CARD, sampling={"temperature": 0, "seed": 3}, window=window, restore="s"
    )
    dialogue = rig["mara"].dialogue
    assert (dialogue.ledger.window, dialogue.sampling.temperature) == (window, 0)
    assert spawned.notice == (
        f"Not as it was saved: its sampling (temperature), its window (400 tokens, now {window})."
    )
    assert dialogue.sequence.copy is not None
    rig.talk("mara", "And?")
    assert (len(turns(rig)) < len(turns(saved))) == (window == 250)


@pytest.mark.parametrize("keys", [{"card": PATCHED}, {"card": CARD, "window": 300}])
def test_told_anew_it_is_as_asked_for_too(
    make_rig: MakeRig, saved: Rig, keys: dict[str, Any]
) -> None:
    fake = Other()
    fake.fact = {"vocab": "other"}
    rig = make_rig(fake)
    spawned = rig.spawn("mara", restore="s", **keys)
    assert "told anew" in (spawned.notice or "")
    assert "Not as it was saved" in (spawned.notice or "")
    assert rig["mara"].dialogue.card.system_prompt == keys["card"]["system_prompt"]
    assert rig["mara"].dialogue.ledger.window == keys.get("window", 400)
    assert turns(rig)[-1] == turns(saved)[-1]


def test_a_world_that_is_new_is_known_then(make_rig: MakeRig, saved: Rig) -> None:
    fake = TimedLlama()
    fake.world = "The sea took the old town."
    rig = make_rig(fake, window=500)
    spawned = rig.spawn("mara", card=CARD, restore="s")
    assert "its persona or world" in (spawned.notice or "")
    assert rig.heard("mara").count("The sea took the old town.") == 1
    loaded = rig.load("s").npcs[0]
    assert "before this world" in (loaded.notice or ""), "a load brings back what was saved"
    assert "sea" not in rig.heard("mara")


def test_a_persona_that_leaves_no_room(make_rig: MakeRig, saved: Rig) -> None:
    rig = make_rig(window=512)
    long = {**CARD, "system_prompt": "She keeps the inn. " * 17}
    for keys, code in (
        ({"card": long}, "too_large"),  # of the saved window
        ({"card": CARD, "window": 80}, "too_large"),
        ({"card": CARD, "window": 80, "restore_card": "saved"}, "too_large"),
    ):
        error = rig.ask(m.Spawn(id=rig.id(), npc="mara", restore="s", **keys))
        assert isinstance(error, m.Error)
        assert (error.code, rig.engine.stage.characters) == (code, {})
        assert "larger window" in error.help
    assert rig.spawn("mara", card=long, window=512, restore="s").restored


def test_a_persona_is_measured_in_this_models_tokens(make_rig: MakeRig, saved: Rig) -> None:
    """The other model, which had made the save, needed twice as many."""
    state = state_of(saved["mara"], saved.now)
    for record in state["segments"]:
        record["tokens"] = record["tokens"] * 2
    rig = make_rig()
    new, _ = rig.engine.stage.create(m.Spawn(id="", npc="mara", card=CARD, window=100))
    amended = amend(state, Wanted(new, sampling=False, window=True, card=True))
    assert (amended.window, amended.rereads) == (100, False)


def test_a_window_that_is_smaller_here_is_told(make_rig: MakeRig, saved: Rig) -> None:
    spawned = make_rig(window=300).spawn("mara", card=CARD, restore="s")
    assert spawned.notice == "Not as it was saved: its window (400 tokens, now 300)."


def test_the_journal_beside_it_counts(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("mara", card=CARD)
    rig.save("s", mode="journal")
    rig.talk("mara", "Remember me.")
    rig.rest()
    rig.ask(m.Despawn(id=rig.id(), npc="mara"))
    spawned = rig.spawn("mara", card=PATCHED, restore="s")
    assert "journal" in (spawned.notice or "")
    assert "system_prompt" in (spawned.notice or "")
    assert "Remember me." in rig.heard("mara")
    assert "keeps the mill" in rig.heard("mara")


def test_a_card_of_neither_kind(make_rig: MakeRig) -> None:
    rig = make_rig()
    request = m.Spawn(id="x", npc="mara", card=CARD, restore_card="old")  # type: ignore[arg-type]
    rig.open.add((b"game", "x"))
    rig.by_id[b"game", "x"] = []
    rig.engine.handle(request, b"game")
    error = rig.until("x")
    assert error.code == "bad_message"
    assert "'old'" in error.message


def test_a_patched_character_is_who_it_would_be(make_rig: MakeRig) -> None:
    """As if it had had the new card from the start, and said and heard the same."""
    lines = ["Hello.", "Who are you?", "Where is the key?"]
    rig, twin = (
        make_rig(TimedLlama(n_cells=900), window=900),
        make_rig(TimedLlama(n_cells=900), window=900),
    )
    for one, card in ((rig, CARD), (twin, PATCHED)):
        one.spawn("mara", card=card)
        one.event("A bell tolls.")
        for line in lines:
            one.talk("mara", line)
        one.event("A dog barks.")
        one.rest()
    rig.save("s")
    rig.ask(m.Despawn(id=rig.id(), npc="mara"))
    rig.spawn("mara", card=PATCHED, restore="s")
    assert rig.tokens("mara") == twin.tokens("mara")
    assert rig.talk("mara", "And?").text == twin.talk("mara", "And?").text
    rig.rest()
    twin.rest()
    assert rig.tokens("mara") == twin.tokens("mara")
