"""rewind and transcript: what is unsaid never was, and the talk as text is what is remembered."""

from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.dialogue.pins import TAKEN
from npc_engine.kvcache.ledger import Kind
from tests.support.rig import CARD, GAME, MakeRig, Rig, TimedLlama, scripted

FACT = "You promised Tom your sword."


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig(window=900, fake=TimedLlama(n_cells=900))


def rewind(rig: Rig, turns: int | None = None, to_turn: int | None = None) -> Any:
    return rig.ask(m.Rewind(id=rig.id(), npc="mara", turns=turns, to_turn=to_turn))


def transcript(rig: Rig, npc: str = "mara", last: int | None = None) -> Any:
    return rig.ask(m.Transcript(id=rig.id(), npc=npc, last=last))


def pin(rig: Rig, text: str | None = None, turn: int | None = None) -> m.Pinned:
    pinned = rig.ask(m.Pin(id=rig.id(), npc="mara", text=text, turn=turn))
    assert isinstance(pinned, m.Pinned), pinned
    return pinned


def talk(rig: Rig, *lines: str) -> list[m.Done]:
    return [rig.talk("mara", line, max_tokens=12) for line in lines]


def snapshot(rig: Rig) -> Any:
    """Ledger and cache, whole."""
    rig.rest()
    dialogue = rig["mara"].dialogue
    segments = [(s.kind, s.tokens, s.text, s.turn, s.pinned) for s in dialogue.ledger.segments]
    return (
        dialogue.turn,
        segments,
        rig.fake.held(dialogue.sequence.slot or 0),
        dialogue.ledger.n_pinned,
    )


# rewind


@pytest.mark.parametrize("keeps_states", [False, True])
@pytest.mark.parametrize("how", [{"turns": 2}, {"to_turn": 2}])
def test_what_is_rewound_never_was(tmp_path: Path, keeps_states: bool, how: dict[str, int]) -> None:
    fake = TimedLlama(n_cells=900, keeps_states=keeps_states, can_shift=not keeps_states)
    rig = Rig(tmp_path, window=900, fake=fake)
    rig.spawn("mara")
    rig.event("It rains.")
    talk(rig, "One.", "Two.")
    before = snapshot(rig)
    first = talk(rig, "Three.", "Four.")
    rig.event("A bell tolls.")
    rig.hear("mara", "Half a li")
    rig.rest()
    rewound = rewind(rig, **how)
    assert rewound == m.Rewound(id=rewound.id, npc="mara", turn=2, n_forgotten=2)
    assert snapshot(rig) == before
    again = talk(rig, "Three.", "Four.")
    assert [(d.text, d.turn) for d in again] == [(d.text, d.turn) for d in first]
    rig.close()


def test_pins_of_what_is_rewound_go_and_those_before_stay(rig: Rig) -> None:
    rig.spawn("mara")
    old = pin(rig, FACT)
    talk(rig, "One.")
    before = snapshot(rig)
    talk(rig, "Two.")
    pin(rig, "Tom is a liar.")
    turn = talk(rig, "Three.")[0].turn
    pin(rig, turn=turn)
    pin(rig, "Tom is dead.")
    rewound = rewind(rig, 2)
    assert (rewound.turn, rewound.n_forgotten) == (2, 2)
    assert snapshot(rig) == before
    assert [t.turn for t in transcript(rig).turns if t.pinned] == [old.turn]
    assert pin(rig, "Tom is a liar.").turn == 3


def test_facts_are_no_turns_of_the_talk(rig: Rig) -> None:
    """One turn back is the last that was spoken, whatever was pinned behind it."""
    rig.spawn("mara", card={**CARD, "first_mes": "Come in."})
    before = snapshot(rig)
    talk(rig, "One.")
    pin(rig, FACT)
    assert rewind(rig, 1).n_forgotten == 1
    assert snapshot(rig) == before
    for _ in range(2):
        assert rewind(rig, 9).n_forgotten == 0
        assert snapshot(rig) == before, "the greeting stays"
    assert rewind(rig, to_turn=0).turn == 0
    assert "Come in." not in rig.heard("mara")
    assert rig["mara"].dialogue.ledger.n_tokens == rig["mara"].dialogue.ledger.n_persona


def test_facts_from_before_the_talk_stay_whatever_is_rewound(rig: Rig) -> None:
    """Also when the greeting, which was the first turn, has left."""
    rig.spawn("mara", card={**CARD, "first_mes": "Come in."})
    fact = pin(rig, FACT)
    talk(rig, *(f"Day {i} is like the day before." for i in range(30)))
    assert "Come in." not in rig.heard("mara")
    assert rewind(rig, 99).turn == fact.turn == 2
    assert entries(transcript(rig))[0] == (2, "event", None, FACT)
    talk(rig, *(f"Day {i} is like the day before." for i in range(30)))
    second = pin(rig, "Tom is a liar.")
    talk(rig, "One.", "Two.")
    assert rewind(rig, 2).turn == second.turn
    assert rewind(rig, 30).turn == fact.turn, "those that have left count, a fact does not"


def test_turns_that_have_left_do_not_come_back_and_count(rig: Rig) -> None:
    rig.spawn("mara")
    talk(rig, "One.")
    pin(rig, turn=1)
    n_turns = talk(rig, *(f"Day {i} is like the day before." for i in range(30)))[-1].turn
    told = transcript(rig)
    there = [turn.turn for turn in told.turns]
    assert there[0] == 1
    assert there[1] > 2
    assert told.n_forgotten == n_turns - len(there)
    rewound = rewind(rig, n_turns - 1)  # all but the one that is pinned
    assert (rewound.turn, rewound.n_forgotten) == (1, len(there) - 1)
    assert [turn.turn for turn in transcript(rig).turns] == [1]
    assert transcript(rig).n_forgotten == 0


def test_it_waits_for_the_line_under_way_and_what_follows_waits_for_it(rig: Rig) -> None:
    rig.fake.mind = scripted("I am Mara. I keep the inn.")
    rig.spawn("mara")
    talk(rig, "One.")
    said = rig.say("mara", "Two.", max_tokens=20)
    rig.steps(3)
    rig.event("A dog barks.")
    asked = rig.send(m.Rewind(id=rig.id(), npc="mara", turns=2))
    rig.event("A bell tolls.")
    assert rig["mara"].generation
    assert not rig.records(asked)
    assert rig.until(said).reason == "length"
    rewound = rig.until(asked)
    assert (rewound.turn, rewound.n_forgotten) == (0, 2)
    rig.rest()
    assert "*A bell tolls.*" in rig.heard("mara")
    assert not [w for w in ("One.", "Two.", "A dog") if w in rig.heard("mara")]


def test_it_is_parked_meanwhile(tmp_path: Path) -> None:
    rig = Rig(tmp_path, window=900, fake=TimedLlama(n_cells=900, n_slots=1))
    rig.spawn("mara")
    talk(rig, "One.", "Two.")
    rig.spawn("bram")
    rig.talk("bram", "Hello.")
    rig.rest()
    sequence = rig["mara"].dialogue.sequence
    assert sequence.slot is None
    assert rewind(rig, 1).n_forgotten == 1
    assert sequence.slot is None
    assert "Two." not in rig.heard("mara")
    talk(rig, "Three.")
    assert sequence.slot == 0
    rig.close()


def test_a_reply_that_was_rewound_cannot_be_cut(rig: Rig) -> None:
    rig.spawn("mara")
    said = rig.say("mara", "One.", max_tokens=12)
    rig.until(said)
    rewind(rig, 1)
    cancelled = rig.until(rig.cancel(said, heard=1))
    assert (cancelled.code, rig["mara"].dialogue.turn) == ("unknown_target", 1)


def test_events_that_end_are_forgotten_in_time_after_it(rig: Rig) -> None:
    rig.spawn("mara")
    rig.event("Smoke rises.", expires_s=5.0)
    talk(rig, "One.")
    rewind(rig, 1)
    rig.event("Smoke rises.", expires_s=5.0)
    rig.rest()
    rig.now += 6.0
    talk(rig, "One.")
    assert "Smoke" not in rig.heard("mara")


@pytest.mark.parametrize(
    ("request_", "code", "help_"),
    [
        ({"turns": 1, "to_turn": 1}, "bad_message", "one of them"),
        ({}, "bad_message", "one of them"),
        ({"to_turn": 3}, "unknown_target", "last one is 2"),
        ({"to_turn": 1 << 62}, "unknown_target", "last one is 2"),
        ({"turns": 1, "npc": "tom"}, "unknown_npc", ""),
    ],
)
def test_what_cannot_be_rewound(rig: Rig, request_: dict[str, Any], code: str, help_: str) -> None:
    rig.spawn("mara")
    talk(rig, "One.", "Two.")
    before = snapshot(rig)
    error = rig.ask(m.Rewind(id=rig.id(), **{"npc": "mara", **request_}))
    assert (error.code, help_ in error.help) == (code, True)
    assert snapshot(rig) == before
    assert rewind(rig, 1 << 62).n_forgotten == 2


def test_nobody_is_rewound_in_a_scene(rig: Rig) -> None:
    for name in ("mara", "bram"):
        rig.spawn(name, card={"name": name.title(), "system_prompt": "Brief."})
    scene = rig.scene("inn", ["mara", "bram"], turns=2)
    error = rewind(rig, 1)
    assert (error.code, "'inn'" in error.message) == ("busy", True)
    rig.until(scene)
    rig.rest()
    n_turns = rig["mara"].dialogue.turn
    assert rewind(rig, 1).n_forgotten == 1
    talk(rig, "Hello.")
    assert rig["mara"].dialogue.turn == n_turns
    cancelled = rig.until(rig.cancel(scene, heard=0))
    assert cancelled.code == "unknown_target", "other turns have these numbers now"
    assert "Hello." in rig.heard("mara")


def test_a_scene_is_taken_back_behind_a_rewind_that_waits(rig: Rig) -> None:
    for name in ("mara", "bram"):
        rig.spawn(name, card={"name": name.title(), "system_prompt": "Brief."})
    scene = rig.scene("inn", ["mara", "bram"], turns=4)
    rig.until(scene)
    rig.rest()
    asked = rig.send(m.Rewind(id=rig.id(), npc="mara", to_turn=0))
    assert rig.until(rig.cancel(scene, heard=0)).cancelled is False
    assert rig.until(asked).turn == 0
    talk(rig, "Hello.")
    assert [s.turn for s in rig["mara"].dialogue.ledger.segments if s.kind is Kind.SAID] == [1]


def test_too_many_wait(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_queue=2)
    rig.spawn("mara")
    rig.say("mara")
    rig.steps(2)
    asked = [rig.send(m.Rewind(id=rig.id(), npc="mara", turns=1)) for _ in range(3)]
    assert rig.until(asked[2]).code == "busy"
    rig.send(m.Despawn(id=rig.id(), npc="mara"))
    assert [rig.until(one).code for one in asked[:2]] == ["unknown_npc"] * 2
    rig.close()


# transcript


def entries(told: m.TranscriptReply) -> list[tuple[int, str, str | None, str]]:
    return [(t.turn, e.kind, e.speaker, e.text) for t in told.turns for e in t.entries]


def test_the_talk_as_text(rig: Rig) -> None:
    rig.fake.mind = scripted("*nods* Come in.")
    rig.spawn("mara", card={**CARD, "first_mes": "Hm?"})
    pin(rig, FACT)
    rig.event("The bell tolls.")
    rig.event("*A dog* barks.")
    rig.talk("mara", "Player: who are you?\nWell?", notes=["It rains."])
    rig.talk("mara", "So it is.", speaker="Tom: the smith")
    rig.talk("mara", "*waves*")
    rig.event("Rain falls.")
    rig.hear("mara", "Half a li")
    rig.rest()
    told = transcript(rig)
    assert entries(told) == [
        (1, "event", None, "Player comes up to Mara."),
        (1, "reply", None, "Hm?"),
        (2, "event", None, FACT),
        (2, "reply", None, TAKEN),
        (3, "event", None, "The bell tolls."),
        (3, "event", None, "*A dog* barks."),
        (3, "said", "Player", "Player: who are you?\nWell?"),
        (3, "reply", None, "*nods* Come in."),
        (4, "said", "Tom: the smith", "So it is."),
        (4, "reply", None, "*nods* Come in."),
        (5, "said", "Player", "*waves*"),
        (5, "reply", None, "*nods* Come in."),
        (6, "event", None, "Rain falls."),
    ]
    assert [t.pinned for t in told.turns] == [False, True, False, False, False, False]
    assert told.n_forgotten == 0
    newest = transcript(rig, last=2)
    assert newest.turns == told.turns[-2:]
    assert transcript(rig, last=99).turns == told.turns


def test_a_line_under_way_is_not_in_it_and_nothing_waits(rig: Rig) -> None:
    rig.fake.mind = scripted("A long story. " * 9)
    rig.spawn("mara")
    said = rig.say("mara", "Well?", max_tokens=60)
    rig.steps(6)
    assert rig["mara"].generation
    assert entries(transcript(rig)) == [(1, "said", "Player", "Well?")]
    assert (GAME, said) in rig.open
    rig.until(said)
    assert entries(transcript(rig))[-1][1] == "reply"


def test_what_others_said_has_their_names(rig: Rig) -> None:
    rig.fake.mind = scripted("Name: Good day.")  # where its name stands already
    for name in ("mara", "bram", "wren"):
        rig.spawn(name, card={"name": name.title(), "system_prompt": "Brief."})
    rig.until(rig.scene("inn", ["bram", "mara", "wren"], turns=3))
    rig.rest()
    assert entries(transcript(rig, "bram"))[:3] == [
        (1, "event", None, "Bram, Mara and Wren talk with each other."),
        (1, "event", None, "Bram speaks."),
        (1, "reply", None, "Good day."),
    ]
    assert entries(transcript(rig, "wren"))[1:] == [
        (1, "heard", "Bram", "Good day."),
        (1, "said", "Mara", "Good day."),
        (1, "reply", None, "Good day."),
    ]


def test_who_said_it_is_known_after_a_load(rig: Rig) -> None:
    rig.spawn("mara")
    rig.talk("mara", "It is late.", speaker="Tom")
    rig.event("Rain falls.")
    before = transcript(rig).turns
    rig.save("slot")
    rig.talk("mara", "Hello.")
    rig.load("slot")
    assert transcript(rig).turns == before
    assert before[0].entries[0].speaker == "Tom"


def test_one_that_is_too_long_for_a_message(tmp_path: Path) -> None:
    rig = Rig(tmp_path, window=900, fake=TimedLlama(n_cells=900), max_message_bytes=1024)
    rig.spawn("mara")
    talk(rig, *(f"Day {i}. " * 12 for i in range(9)))
    error = transcript(rig)
    assert (error.code, "`last`" in error.help) == ("too_large", True)
    assert "1024" in error.message
    assert len(transcript(rig, last=2).turns) == 2
    assert transcript(rig, "tom").code == "unknown_npc"
    rig.close()
