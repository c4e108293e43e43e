"""A line of the player waits for nothing that is less urgent: no line, slot, pause or queue."""

from typing import Any

import pytest

from npc_engine import protocol as m
from tests.support.rig import GAME, MakeRig, Rig, TimedLlama, scripted

LINES = "One is here. Two is there. And three"


@pytest.fixture
def make(make_rig: MakeRig) -> MakeRig:
    def make(*, share: float = 0.05, n_slots: int = 4, n_batch: int = 256, **keys: Any) -> Rig:
        fake = TimedLlama(
            n_slots=n_slots, n_batch=n_batch, n_cells=2000, mind=scripted(LINES, end=False)
        )
        fake.seconds = 0.01
        keys = {"max_tokens": 300, "window": 2000, **keys}
        rig = make_rig(fake=fake, ambient_share=share, **keys)
        rig.check_every = 10
        return rig

    return make


def crowd(rig: Rig, *npcs: str) -> None:
    for npc in npcs:
        rig.spawn(npc)
    rig.rest()


def play(rig: Rig, n: int) -> None:
    """Step `n` times; where the loop would wait, the clock goes on."""
    for _ in range(n):
        rig.now += rig.engine.patience() or 0
        rig.step()


def n_steps_of(rig: Rig, target: str) -> int:
    n = 0
    while (GAME, target) in rig.open:
        play(rig, 1)
        n += 1
        assert n < 2000
    return n


@pytest.mark.parametrize("priority", ["ambient", "near"])
@pytest.mark.parametrize("n_tokens", [2, 20, 31])
def test_it_breaks_off_at_its_whole_lines(make: MakeRig, priority: str, n_tokens: int) -> None:
    rig = make()
    crowd(rig, "mara")
    chatter = rig.say("mara", "Chatter.", priority=priority)
    while rig["mara"].generation is None or len(rig["mara"].dialogue.reply.tokens) < n_tokens:
        play(rig, 1)
    lines = rig.texts(chatter, m.Line)
    assert len(lines) == n_tokens // 15
    began = rig.now
    said = rig.say("mara", "Help me!", max_tokens=1)
    assert n_steps_of(rig, said) == 1
    assert rig.now - began < 0.011, "it waited through a pause"
    done = rig.records(chatter)[-1]
    assert (done.reason, done.text, done.turn) == ("cancelled", " ".join(lines), 1)
    assert rig.records(said)[-1].turn == 2
    turns = rig.ask(m.Transcript(id="t", npc="mara")).turns
    said_to_it = [e.text for turn in turns for e in turn.entries if e.kind == "said"]
    assert said_to_it == ["Chatter.", "Help me!"]


def test_what_waits_in_front_gets_one_line(make: MakeRig) -> None:
    rig = make()
    crowd(rig, "mara")
    spoken = rig.say("mara", "First.", priority="ambient")
    play(rig, 4)
    waiting = [rig.say("mara", f"{p}.", priority=p) for p in ("near", "ambient", "near")]
    said = rig.say("mara", "Help me!", max_tokens=1)
    behind = rig.say("mara", "Later.", priority="ambient", max_tokens=1)
    began, n_before = rig.now, len(rig.fake.batches)
    rig.until(said)
    n_batches = len(rig.fake.batches) - n_before
    assert n_batches < 4 * 20
    assert rig.now - began == pytest.approx(0.01 * n_batches), "it waited through pauses"
    one = LINES[: LINES.index(" Two")]
    assert [rig.records(i)[-1].text for i in waiting] == [one] * 3
    assert [rig.records(i)[-1].reason for i in [spoken, *waiting]] == ["cancelled"] * 4
    assert [rig.records(i)[-1].turn for i in [spoken, *waiting, said]] == [1, 2, 3, 4, 5]
    assert rig.until(behind).reason == "length"
    heard = rig.heard("mara")
    assert heard.index("First.") < heard.index("ambient.") < heard.index("Help me!")


def test_a_line_of_the_player_does_not_break_off_for_another(make: MakeRig) -> None:
    rig = make(max_tokens=20)
    crowd(rig, "mara")
    first = rig.say("mara", "One?")
    play(rig, 4)
    second = rig.say("mara", "Two?")
    assert rig.until(first).reason == rig.until(second).reason == "length"


def test_a_line_lifts_what_it_waits_for(make: MakeRig) -> None:
    rig = make(max_tokens=20)
    crowd(rig, "mara")
    chatter = rig.say("mara", "Chatter.", priority="ambient")
    play(rig, 2)
    assert rig["mara"].claim.priority.name == "AMBIENT"
    near = rig.say("mara", "Is it so?", priority="near")
    play(rig, 1)
    assert rig["mara"].claim.priority.name == "NEAR"
    began, n_before = rig.now, len(rig.fake.batches)
    assert rig.until(chatter).reason == rig.until(near).reason == "length"
    n_batches = len(rig.fake.batches) - n_before
    assert rig.now - began == pytest.approx(0.01 * n_batches), "it paused"


def test_who_takes_its_line_back_lifts_no_more(make: MakeRig) -> None:
    rig = make()
    crowd(rig, "mara")
    rig.say("mara", "Chatter.", priority="ambient")
    near = rig.say("mara", "Is it so?", priority="near")
    play(rig, 1)
    assert rig["mara"].claim.priority.name == "NEAR"
    rig.until(rig.cancel(near))
    play(rig, 1)
    assert rig["mara"].claim.priority.name == "AMBIENT"


def test_less_urgent_lines_do_not_fill_the_queue(make: MakeRig) -> None:
    rig = make(max_queue=2, max_tokens=20)
    crowd(rig, "mara")
    rig.say("mara", "Chatter.")
    play(rig, 1)
    says = [
        rig.say("mara", f"Line {i}.", priority=priority)
        for i, priority in enumerate(["ambient", "ambient", "ambient", "near", "player"])
    ]
    play(rig, 1)
    refused = [say for say in says if (GAME, say) not in rig.open]
    assert refused == says[2:3]
    assert rig.records(says[2])[-1].code == "busy"


@pytest.mark.parametrize("n_slots", [1, 2])
def test_a_parked_one_with_an_ambient_line_of_its_own(make: MakeRig, n_slots: int) -> None:
    """It waits for a slot as ambient speech, and its ambient line breaks off unsaid."""
    rig = make(n_slots=n_slots)
    others = [f"a{i}" for i in range(n_slots)]
    crowd(rig, "mara", *others)
    for npc in [*others, "mara"]:
        rig.say(npc, "Chatter.", priority="ambient")
    play(rig, 10)
    assert rig["mara"].dialogue.sequence.slot is None
    began = rig.now
    assert n_steps_of(rig, rig.say("mara", "Help me!", max_tokens=1)) == 1
    assert rig.now - began < 0.011


@pytest.mark.parametrize("n_slots", [1, 2])
@pytest.mark.parametrize(("priority", "most"), [("player", 0.15), ("near", 0.4)])
def test_a_slot_is_kept_however_long_ambient_speech_has_waited(
    make: MakeRig, n_slots: int, priority: str, most: float
) -> None:
    rig = make(n_slots=n_slots, n_batch=8)
    others = [f"a{i}" for i in range(5)]
    crowd(rig, "bram", *others)
    for npc in others:
        rig.say(npc, "Chatter. " * 9, priority="ambient")
    play(rig, 170)
    began, parks = rig.now, rig.ask(m.Stats(id="s")).stats["n_parks"]
    said = rig.say("bram", "Help me! " * 60, priority=priority, max_tokens=1)
    n_least = -(-len("Help me! " * 60) // 8)
    assert n_steps_of(rig, said) <= (1 + most) * n_least
    assert rig.now - began <= (1 + most) * n_least * 0.01, "it waited through pauses"
    assert rig.ask(m.Stats(id="t")).stats["n_parks"] - parks < 30
