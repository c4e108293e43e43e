"""The stage: names and limits, who sits, who is parked, and that nobody else is disturbed."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.characters.requests import Requests
from npc_engine.characters.stage import Stage
from npc_engine.config import Settings
from npc_engine.errors import Busy, NpcExists, TooLarge, UnknownNpc, UnknownTarget
from tests.support.fake_llama import FakeLlama
from tests.support.rig import CARD, MakeRig, Rig, TimedLlama, scripted

Sent = list[tuple[bytes, m.Reply]]


def make_stage(sent: Sent, fake: FakeLlama | None = None, **settings: object) -> Stage:
    fake = fake or FakeLlama()
    return Stage(
        fake,
        fake.chat_format(),
        Settings.parse(settings),
        lambda *reply: sent.append(reply),
        lambda: 0.0,
    )


def spawn(stage: Stage, name: str) -> None:
    npc, _ = stage.create(m.Spawn(id="s", npc=name, card=CARD))
    stage.add(npc)


@pytest.mark.parametrize(
    ("n_cells", "n_pos", "asked", "window"),
    [(512, 4096, 300, 300), (256, 4096, 300, 256), (512, 200, 300, 200)],
)
def test_the_window_is_what_the_model_can_do(
    n_cells: int, n_pos: int, asked: int, window: int
) -> None:
    fake = FakeLlama(n_cells=n_cells, n_pos=n_pos)
    assert make_stage([], fake, window=asked).window == window


def test_create_puts_nobody_on_the_stage() -> None:
    stage = make_stage([])
    stage.create(m.Spawn(id="s", npc="mara", card=CARD))
    assert stage.characters == {}
    with pytest.raises(TooLarge):
        stage.create(m.Spawn(id="s", npc="mara", card=CARD, window=10_000))


def test_find_names_who_is_there() -> None:
    stage = make_stage([])
    with pytest.raises(UnknownNpc, match="Spawned: none"):
        stage.find("mara")
    spawn(stage, "bob")
    with pytest.raises(UnknownNpc, match="Spawned: bob"):
        stage.find("mara")
    with pytest.raises(NpcExists):
        spawn(stage, "bob")


def test_room_counts_names_once() -> None:
    stage = make_stage([], max_npcs=2)
    spawn(stage, "a")
    stage.check_room(["a", "b"])
    with pytest.raises(Busy, match="3"):
        stage.check_room(["a", "b", "c"])


def test_an_event_with_an_unknown_name_changes_nothing() -> None:
    stage = make_stage([])
    spawn(stage, "mara")
    before = stage.counts()
    with pytest.raises(UnknownNpc):
        Requests(stage).event(b"", m.Event(id="e", npcs=["mara", "bob"], text="A bell."))
    assert stage.counts() == before
    Requests(stage).event(b"", m.Event(id="e", npcs=["mara"], text="A bell."))
    assert stage.counts()["n_waiting_events"] == 1


def test_replacing_a_character_ends_what_it_said_and_frees_its_slot() -> None:
    sent: Sent = []
    fake = FakeLlama(n_slots=1)
    stage = make_stage(sent, fake)
    spawn(stage, "mara")
    Requests(stage).say(b"c", m.Say(id="1", npc="mara", text="Hi"))
    Requests(stage).say(b"c", m.Say(id="2", npc="mara", text="Hi"))
    assert len(stage.claims()) == 1
    npc, _ = stage.create(m.Spawn(id="s", npc="twin", card=CARD))
    npc.name = "mara"
    stage.add(npc)
    assert [(c, r.id, r.reason) for c, r in sent if isinstance(r, m.Done)] == [
        (b"c", "1", "cancelled"),
        (b"c", "2", "cancelled"),
    ]
    assert fake.slots == [{}]
    assert len(stage.claims()) == 1
    assert npc.sequence.slot == 0
    with pytest.raises(UnknownTarget):
        Requests(stage).cancel(b"c", m.Cancel(id="x", target="1"))


def test_removing_who_is_not_there_does_nothing() -> None:
    sent: Sent = []
    make_stage(sent).remove("mara")
    assert sent == []


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    rig = make_rig(fake=TimedLlama(n_slots=2, mind=scripted("Words upon words. " * 3)))
    for name in "abcd":
        rig.spawn(name)
    return rig


def states(rig: Rig) -> str:
    """R for resident, p for parked, - for never read; in the order of names."""
    sequences = [rig[name].dialogue.sequence for name in "abcd"]
    return "".join(
        "R" if s.slot is not None else "p" if s.parked is not None else "-" for s in sequences
    )


def test_the_least_recently_used_is_parked(rig: Rig) -> None:
    rig.rest()
    assert states(rig) == "RppR", "all are read, and who came first stays"
    rig.talk("a")
    rig.talk("c")
    assert states(rig) == "RpRp"
    rig.talk("b")
    assert states(rig) == "pRRp"
    rig.talk("d")
    assert states(rig) == "pRpR"
    stats = rig.ask(m.Stats(id="s")).stats
    assert stats["parked_bytes"] == sum(rig[n].dialogue.sequence.n_parked_bytes for n in "ac") > 0
    assert stats["n_resident"] == 2


def test_events_call_nobody_in(rig: Rig) -> None:
    rig.rest()
    n_moves = rig.ask(m.Stats(id="s")).stats["n_parks"]
    rig.event("A bell.", ["c", "d"])
    rig.rest()
    assert states(rig) == "RppR"
    assert rig.ask(m.Stats(id="s")).stats["n_parks"] == n_moves
    assert (rig["c"].dialogue.sequence.n_pending > 0, rig["d"].dialogue.sequence.n_pending) == (
        True,
        0,
    )
    assert "A bell." in rig.heard("c")


# -- personas beyond the slots -----------------------------------------------------------------


def crowded(folder: Path, n: int = 20, keeps_states: bool = False, **settings: Any) -> Rig:
    """So many characters over three slots, who have little in common."""
    fake = TimedLlama(n_slots=3, keeps_states=keeps_states, mind=scripted("Hm."))
    rig = Rig(folder, fake=fake, **settings)
    for i in range(n):
        text = f"{i} is their number, and {i * i} is how many sheep they have."
        rig.spawn(f"n{i}", card={"name": f"N{i}", "system_prompt": text, "first_mes": "Oh."})
    return rig


def n_decoded(rig: Rig) -> int:
    return sum(len(tokens) for batch in rig.fake.batches for _, _, tokens, _ in batch)


def unread(rig: Rig) -> list[str]:
    return [
        name for name, c in rig.engine.stage.characters.items() if c.dialogue.sequence.n_pending
    ]


@pytest.mark.parametrize("keeps_states", [False, True])
def test_all_personas_are_read_before_anybody_speaks(tmp_path: Path, keeps_states: bool) -> None:
    rig = crowded(tmp_path, keeps_states=keeps_states)
    rig.rest()
    assert unread(rig) == []
    assert n_decoded(rig) == sum(len(rig.tokens(f"n{i}")) for i in range(20)), "each token once"
    rig.step()
    assert rig.engine.patience() is None, "it has come to rest"
    for name in ("n19", "n10", "n0"):  # the last read, one that is parked, the likeliest
        known = rig[name].dialogue.ledger.n_cells
        stats = rig.talk(name, "Hello.").stats
        assert stats.n_cached == known
        assert stats.n_prompt - known < len("Player comes: Hello.") + 30
        rig.rest()
    rig.close()


def test_reading_ahead_goes_on_where_a_player_came_in_between(tmp_path: Path) -> None:
    rig = crowded(tmp_path)
    rig.steps(2)
    rig.talk("n7")
    assert unread(rig)
    rig.rest()
    assert unread(rig) == []
    assert rig["n7"].dialogue.sequence.slot is not None, "who was spoken to stays"
    rig.close()


def test_equal_personas_are_all_put_into_slots_in_turn(tmp_path: Path) -> None:
    """What is read already is copied, with no batch in between: no reason to rest early."""
    rig = Rig(tmp_path, fake=TimedLlama(n_slots=2, mind=scripted("Hm.")))
    for i in range(6):
        rig.spawn(f"n{i}", card={"name": "Guard", "system_prompt": "You guard the gate. " * 3})
    rig.rest()
    assert unread(rig) == []
    assert n_decoded(rig) == len(rig.tokens("n0"))
    rig.close()


def test_reading_ahead_sends_nothing_to_disk(tmp_path: Path) -> None:
    rig = crowded(tmp_path, park_ram=0)
    rig.rest()
    assert len(unread(rig)) == 17
    rig.engine.stage.parking.budget = 8_000
    rig.step()
    rig.rest()
    stats = rig.ask(m.Stats(id="s")).stats
    assert 2_000 < stats["parked_bytes"] <= 4_000
    assert stats["parked_disk_bytes"] == 0
    n_left = len(unread(rig))
    assert 0 < n_left < 17
    gone = next(n for n, c in rig.engine.stage.characters.items() if c.dialogue.sequence.copy)
    rig.ask(m.Despawn(id="d", npc=gone))
    rig.rest()
    assert len(unread(rig)) == n_left - 1, "there is room again"
    rig.close()


def test_who_fails_to_be_read_does_not_come_again(tmp_path: Path) -> None:
    rig = crowded(tmp_path)
    rig.fake.n_failures = 3
    rig.rest()
    failed = unread(rig)
    assert failed and all(rig[name].claim.asleep for name in failed)
    assert rig.talk(failed[0]).reason == "stop"
    rig.close()


def test_what_is_parked_comes_back_unread(rig: Rig) -> None:
    rig.talk("a", "One.")
    rig.rest()
    known = rig["a"].dialogue.ledger.n_cells
    for name in "bcd":
        rig.talk(name)
    assert states(rig)[0] == "p"
    assert rig.talk("a", "Two.").stats.n_cached == known
    assert rig["a"].dialogue.ledger.n_cells > known


def test_events_that_leave_while_parked_leave_the_copy_too(rig: Rig) -> None:
    rig.talk("a", "One.")
    rig.event("A smell of smoke.", ["a"], expires_s=10)
    rig.event("A bell.", ["a"])
    rig.rest()
    for name in "bcd":
        rig.talk(name)
    assert states(rig)[0] == "p"
    rig.now += 20
    rig.talk("a", "Two.")
    assert "smoke" not in rig.heard("a")
    assert "A bell." in rig.heard("a")


def test_an_interrupted_speaker_goes_on_where_it_was(rig: Rig) -> None:
    """Two ambient speakers hold all slots; a player's line takes one of them for a while."""
    chatter = [rig.say(name, priority="ambient") for name in "ab"]
    rig.steps(12)
    assert rig["a"].generation and rig["b"].generation
    before = {name: rig[name].dialogue.ledger.n_tokens for name in "ab"}
    player = rig.say("c")
    rig.steps(3)
    assert rig["c"].generation and rig["c"].generation.first is not None
    assert sum(c.claim.speaking for c in rig.engine.stage.characters.values()) == 3
    assert all(rig[n].dialogue.ledger.n_tokens >= before[n] for n in "ab")
    texts = {rig.until(i).text for i in (player, *chatter)}
    assert texts == {("Words upon words. " * 3).strip()}


def test_speakers_of_equal_rank_do_not_push_each_other_out(rig: Rig) -> None:
    ids = [rig.say(name) for name in "abcd"]
    rig.steps(3)
    assert {n for n in "abcd" if rig[n].dialogue.sequence.slot is not None} == {"a", "b"}
    for _ in range(20):
        rig.step()
        assert states(rig) == "RRpp"
    for target in ids:
        rig.until(target)


# -- attend, and parking on disk ---------------------------------------------------------------


def attend(rig: Rig, name: str) -> None:
    request = m.Attend(id=rig.id(), npc=name)
    assert rig.ask(request) == m.Ok(id=request.id)


def test_attend_calls_in_early(rig: Rig) -> None:
    for name in "abcd":
        rig.talk(name)
    rig.rest()
    assert states(rig) == "ppRR"
    rig.event("A bell.", ["a"])
    rig.rest()
    assert rig["a"].dialogue.sequence.n_pending > 0, "an event calls nobody in"
    attend(rig, "a")
    rig.rest()
    assert states(rig) == "RppR", "c was used least recently"
    assert rig["a"].dialogue.sequence.n_pending == 0
    attend(rig, "b")
    assert states(rig) == "RRpp"
    n_calls = rig.ask(m.Stats(id="s")).stats["n_call_ins"]
    for name in "ab":
        rig.talk(name)
    assert rig.ask(m.Stats(id="s")).stats["n_call_ins"] == n_calls, "nothing was left to do"


def test_attend_of_who_is_not_there(rig: Rig) -> None:
    error = rig.ask(m.Attend(id="x", npc="nobody"))
    assert isinstance(error, m.Error) and error.code == "unknown_npc"


def test_attend_waits_for_who_speaks(rig: Rig) -> None:
    speech = [rig.say(name, priority="ambient") for name in "ab"]
    rig.steps(10)
    attend(rig, "c")
    rig.steps(5)
    assert states(rig)[:2] == "RR"
    for target in speech:
        rig.until(target)
    rig.rest()
    assert states(rig)[2] == "R"


def test_hear_calls_in_and_is_read_first(rig: Rig) -> None:
    for name in "abcd":
        rig.talk(name)
    for name in "abcd":
        rig.event("A bell.", [name])
    rig.hear("b", "Have you se")
    rig.fake.batches.clear()
    rig.step()
    slot = rig["b"].dialogue.sequence.slot
    assert slot is not None
    assert rig.fake.batches[0][0][0] == slot
    rig.rest()
    assert rig["b"].dialogue.sequence.n_pending == 0


def test_half_a_line_is_read_while_villagers_chatter(rig: Rig) -> None:
    for name in "abcd":
        rig.talk(name)
    chatter = rig.say("a", "Go on.", priority="ambient")
    rig.step()
    rig.event("A bell.", ["d"])
    rig.hear("b", "Have you seen")
    while rig["b"].dialogue.sequence.n_pending:
        rig.step()
    assert rig["a"].is_speaking
    assert rig["d"].dialogue.sequence.n_pending, "it is not about to be spoken to"
    rig.until(chatter)
    rig.talk("b", "Have you seen my dog?")


def test_half_a_line_that_came_behind_another_still_counts(rig: Rig) -> None:
    first, second = rig.say("a", "One."), rig.say("a", "Two.")
    rig.step()
    rig.hear("a", "And th")
    rig.until(first)
    rig.until(second)
    rig.rest()
    assert rig["a"].claim.expected
    assert rig["a"].dialogue.ledger.segments[-1].text == "And th"
    rig.talk("a", "And then?")
    assert not rig["a"].claim.expected


def test_idle_time_reads_for_the_likeliest_next_speaker_first(tmp_path: Path) -> None:
    fake = TimedLlama(n_slots=4, n_batch=16, mind=scripted("Hm."))
    rig = Rig(tmp_path, fake=fake)
    for name in "abcd":
        rig.spawn(name)
    rig.rest()
    rig.talk("c")
    rig.talk("b")
    rig.rest()
    slots = {rig[name].dialogue.sequence.slot: name for name in "abcd"}
    rig.event("A bell tolls for a while.")
    attend(rig, "d")
    rig.fake.batches.clear()
    rig.rest()
    read = [slots[span[0]] for batch in rig.fake.batches for span in batch]
    assert list(dict.fromkeys(read)) == ["d", "b", "c", "a"]
    rig.close()


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Two slots, four characters, and no RAM for whoever is parked."""
    monkeypatch.setattr("npc_engine.storage.scratch_folder.RESERVE_BYTES", 0)
    fake = TimedLlama(n_slots=2, mind=scripted("Words upon words."))
    rig = Rig(tmp_path / "saves", fake=fake, park_ram=0)
    rig.engine.stage.parking._under = tmp_path / "disk"
    (tmp_path / "disk").mkdir()
    for name in "abcd":
        rig.spawn(name)
        rig.talk(name, f"I am {name}.")
    written(rig)
    yield rig
    rig.close()
    assert list((tmp_path / "disk").iterdir()) == []


def written(rig: Rig) -> None:
    """Wait until the writer has nothing left to do."""
    ready = threading.Event()
    rig.engine._files.run(ready.set)
    assert ready.wait(20)
    rig.step()


def listed(rig: Rig) -> str:
    npcs = rig.ask(m.List(id=rig.id())).npcs
    return "".join(npc.state[0] for npc in npcs)


def test_beyond_the_budget_they_are_parked_on_disk(on_disk: Rig) -> None:
    rig = on_disk
    assert listed(rig) == "ffrr"
    stats = rig.ask(m.Stats(id="s")).stats
    assert (stats["n_parked"], stats["parked_bytes"]) == (2, 0)
    copies = [rig[name].dialogue.sequence.copy for name in "ab"]
    assert stats["parked_disk_bytes"] == sum(copy.size for copy in copies if copy) > 0
    known = rig["a"].dialogue.ledger.n_cells
    assert rig.talk("a", "Two.").stats.n_cached == known, "nothing was read again"
    written(rig)
    assert listed(rig) == "rffr"
    rig.ask(m.Despawn(id="d", npc="b"))
    assert rig.ask(m.Stats(id="s")).stats["n_parked"] == 1


def test_a_save_holds_who_is_parked_on_disk(on_disk: Rig) -> None:
    rig = on_disk
    saved = rig.send(m.Save(id="save", slot="s"))
    tokens = {name: rig.tokens(name) for name in "abcd"}
    attend(rig, "a")  # while it is being saved
    rig.until(saved)
    for name in "abcd":
        rig.ask(m.Despawn(id=rig.id(), npc=name))
    loaded = rig.load("s")
    assert {npc.npc: npc.source for npc in loaded.npcs} == dict.fromkeys("abcd", "payload")
    assert {name: rig.tokens(name) for name in "abcd"} == tokens
    written(rig)
    rig.step()
    written(rig)
    assert rig.ask(m.Stats(id="s")).stats["parked_bytes"] == 0
    for name in "abcd":
        known = rig[name].dialogue.ledger.n_cells
        assert rig.talk(name).stats.n_cached == known


def test_whose_file_is_lost_is_read_again(on_disk: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig = on_disk
    rig.may_lose = True
    for path in (rig.engine.stage.parking._under or Path()).rglob("*"):
        if path.name.isdecimal():
            path.write_bytes(b"garbage")
    saved = rig.save("s")
    assert isinstance(saved, m.Saved), "a save without its cells is a save"
    rig.fake.batches.clear()
    assert rig.talk("a", "Two.").reason == "stop"
    n_read = sum(len(span[2]) for batch in rig.fake.batches for span in batch)
    assert n_read >= rig["a"].dialogue.ledger.n_cells
    assert "I am a." in rig.heard("a")
    assert caplog.text.count("not what was written") == 2, "once for each"
    loaded = {npc.npc: npc.source for npc in rig.load("s").npcs}
    assert loaded == {"a": "tokens", "b": "tokens", "c": "payload", "d": "payload"}


def test_a_full_disk_costs_a_new_reading(
    on_disk: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = on_disk
    rig.may_lose = True

    def fail(fd: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("npc_engine.kvcache.payload.write_all", fail)
    for name in "abcd":
        assert rig.talk(name, "Again.").reason == "stop"
        written(rig)
    stats = rig.ask(m.Stats(id="s")).stats
    assert (stats["parked_bytes"], stats["parked_disk_bytes"]) == (0, 0)
    assert caplog.text.count("found no room") == 1
    for name in "abcd":
        assert f"I am {name}." in rig.heard(name)
