"""What is taken back, whenever it comes: unheard talk leaves everybody, and no answer is lost."""

import re
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.dialogue.overheard import Cue, Overheard
from tests.support.rig import GAME
from tests.support.troupe import MakeTroupe, Troupe

THREE = ("mara", "bram", "wren")
PLAIN = {name: [f"k{name}{i} is so." for i in range(40)] for name in (*THREE, "tom")}


@pytest.fixture
def make(make_troupe: MakeTroupe) -> MakeTroupe:
    def make(lines: dict[str, list[str]] | None = None, **keys: Any) -> Troupe:
        return make_troupe(lines or {k: list(v) for k, v in PLAIN.items()}, **keys)

    return make


def entries(troupe: Troupe, npc: str) -> list[tuple[str, str]]:
    turns = troupe.ask(m.Transcript(id=troupe.id(), npc=npc)).turns
    return [(entry.kind, entry.text) for turn in turns for entry in turn.entries]


def known(troupe: Troupe, npc: str) -> list[str]:
    """The words of the scripts that it remembers, in their order."""
    return re.findall(r"\bk[a-z]+\d+\b", troupe.talk_of(npc))


# A scene is cancelled, and a member is spoken to


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("heard", [0, 15, 10_000])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("order", ["say", "cancel", "steps between"])
def test_an_answered_line_is_never_taken_back(
    make: MakeTroupe, order: str, late: bool, heard: int, recurrent: bool
) -> None:
    troupe = make(recurrent=recurrent)
    scene = troupe.scene("inn", list(THREE), turns=6)
    troupe.until(scene) if late else troupe.until_line(scene, 4)
    lines = troupe.texts(scene, m.Line)
    if order == "say":
        said = troupe.say("mara", "Where is zanzibar?")
        cancel = troupe.cancel(scene, heard=heard)
    else:
        cancel = troupe.cancel(scene, heard=heard)
        troupe.steps(3 if order == "steps between" else 0)
        said = troupe.say("mara", "Where is zanzibar?")
    assert troupe.until(cancel).cancelled is not late
    done = troupe.until(said)
    troupe.rest()
    assert entries(troupe, "mara")[-2:] == [("said", "Where is zanzibar?"), ("reply", done.text)]
    begin = 0
    for line in lines:
        word = line.split()[0]
        for npc in THREE:
            if begin >= heard:
                assert word not in troupe.talk_of(npc)
            elif begin + len(word) <= heard:
                assert word in troupe.talk_of(npc)
        begin += len(line)


def test_a_turn_that_broke_off_unheard_takes_no_answer_with_it(make: MakeTroupe) -> None:
    """It has no line, so it lies behind all that was heard."""
    troupe = make()
    scene = troupe.scene("inn", list(THREE), turns=9)
    troupe.until_line(scene, 3)
    while not (troupe["mara"].is_speaking and troupe["mara"].dialogue.reply.tokens):
        troupe.step()
    said = troupe.say("mara", "Where is zanzibar?")
    troupe.cancel(scene, heard=len(troupe.spoken(scene)))
    done = troupe.until(said)
    assert entries(troupe, "mara")[-2:] == [("said", "Where is zanzibar?"), ("reply", done.text)]
    assert known(troupe, "mara")[:3] == ["kmara0", "kbram0", "kwren0"]


def test_a_turn_that_broke_off_is_cut_to_what_was_heard(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One. Two. Three. Four.", "Yes?"], "bram": ["Hm."]})
    scene = troupe.scene("inn", ["mara", "bram"])
    troupe.until_line(scene, 3)
    said = troupe.say("mara", "Wait!")
    troupe.cancel(scene, heard=6)
    troupe.until(said)
    troupe.rest()
    assert "Mara: One. Tw\u2014|" in troupe.talk_of("mara")
    assert "Three" not in troupe.talk_of("mara")
    assert troupe.talk_of("bram").endswith("Mara: One. Tw\u2014")


def test_a_rewind_before_the_cancel_is_carried_out_before_it(make: MakeTroupe) -> None:
    """In one batch: else it would forget a turn more, one from before the scene."""
    troupe = make()
    first = troupe.talk("mara", "Where is zanzibar?")
    scene = troupe.play("mara", "bram", turns=4)
    troupe.send(m.Rewind(id="back", npc="mara", turns=1))
    troupe.cancel(scene, heard=0)
    troupe.rest()
    assert troupe.records("back")[-1].n_forgotten == 1
    assert known(troupe, "mara") == [first.text.split()[0]]


def test_a_rewind_behind_the_line_that_waits_forgets_that(make: MakeTroupe) -> None:
    troupe = make()
    troupe.talk("mara", "Where is zanzibar?")
    scene = troupe.play("mara", "bram", turns=4)
    troupe.say("mara", "And ophir?")
    troupe.send(m.Rewind(id="back", npc="mara", turns=1))
    troupe.cancel(scene, heard=0)
    troupe.rest()
    assert "zanzibar" in troupe.talk_of("mara")
    assert "ophir" not in troupe.talk_of("mara")


def test_a_rewind_after_the_scene_is_an_end_to_taking_back(make: MakeTroupe) -> None:
    troupe = make()
    scene = troupe.play("mara", "bram", turns=4)
    troupe.ask(m.Rewind(id="back", npc="mara", turns=1))
    done = troupe.talk("mara", "Where is zanzibar?")
    assert troupe.until(troupe.cancel(scene, heard=0)).code == "unknown_target"
    assert entries(troupe, "mara")[-1] == ("reply", done.text)


@pytest.mark.parametrize("late", [False, True])
def test_a_fact_that_is_pinned_meanwhile_stays(make: MakeTroupe, late: bool) -> None:
    troupe = make()
    scene = troupe.scene("inn", ["mara", "bram"], turns=5)
    troupe.until_line(scene, 3)
    troupe.send(m.Pin(id="fact", npc="mara", text="The mill burns."))
    troupe.until_line(scene, 4)
    if late:
        troupe.until(scene)
        troupe.ask(m.Pin(id="more", npc="mara", text="The inn burns."))
    assert troupe.until(troupe.cancel(scene, heard=0)).cancelled is not late
    troupe.rest()
    assert not known(troupe, "mara") and not known(troupe, "bram")
    assert "The mill burns." in troupe.talk_of("mara")
    assert ("The inn burns." in troupe.talk_of("mara")) is late


def test_the_scene_before_is_taken_back_amid_the_next(make: MakeTroupe) -> None:
    troupe = make()
    first = troupe.play("mara", "bram", turns=2)
    second = troupe.scene("mill", ["wren", "mara"], turns=2)
    troupe.until_line(second, 1)
    while troupe["mara"].is_speaking:
        troupe.step()
    troupe.cancel(first, heard=0)
    troupe.until(second)
    troupe.rest()
    assert known(troupe, "mara") == ["kwren0"] or "kmara1" in known(troupe, "mara")
    for npc in ("mara", "wren"):
        assert "kwren0" in known(troupe, npc)


def test_twice_is_once(make: MakeTroupe) -> None:
    troupe = make()
    scene = troupe.play(*THREE, turns=6)
    troupe.cancel(scene, heard=0)
    said = troupe.say("mara", "Where is zanzibar?")
    again = troupe.cancel(scene, heard=0)
    troupe.until(said)
    troupe.rest()
    assert troupe.records(again)[-1].code == "unknown_target"
    assert "zanzibar" in troupe.talk_of("mara")


def test_once_also_where_numbers_are_given_out_again(make: MakeTroupe) -> None:
    """Tom has spoken as often then as at the scene's end, and all the same he has spoken since."""
    troupe = make()
    scene = troupe.scene("inn", ["tom", "wren"], turns=8, first="tom")
    troupe.until_line(scene, 2)
    while not (troupe["tom"].is_speaking and troupe["tom"].dialogue.reply.tokens):
        troupe.step()
    troupe.cancel(scene, heard=len(troupe.spoken(scene)))
    troupe.rest()
    before = troupe.talk_of("wren")
    troupe.talk("tom", "Where is zanzibar?")
    again = troupe.cancel(scene, heard=3)
    assert troupe.until(again).code == "unknown_target"
    assert "ktom0 is so." in troupe.talk_of("tom")
    assert troupe.talk_of("wren") == before


# Whoever has left


@pytest.mark.parametrize("late", [False, True])
def test_who_has_left_forgets_it_too(make: MakeTroupe, late: bool) -> None:
    troupe = make()
    scene = troupe.scene("inn", list(THREE), turns=8)
    troupe.until_line(scene, 5)
    troupe.ask(m.Leave(id="l", scene="inn", npc="wren"))
    if late:
        troupe.until(scene)
    heard = len("".join(troupe.texts(scene, m.Line)[:2]))
    troupe.cancel(scene, heard=heard)
    troupe.rest()
    for npc in THREE:
        assert known(troupe, npc) == ["kmara0", "kbram0"], npc


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("when", ["before", "under way", "waits"])
def test_who_has_left_keeps_what_was_said_to_it_since(
    make: MakeTroupe, when: str, recurrent: bool
) -> None:
    troupe = make(recurrent=recurrent)
    scene = troupe.scene("inn", list(THREE), turns=12)
    troupe.until_line(scene, 5)
    troupe.event("A kbell1.", ["wren"])
    troupe.ask(m.Leave(id="l", scene="inn", npc="wren"))
    said = troupe.say("wren", "Where is zanzibar?", client=b"other", priority="near")
    if when == "before":
        troupe.until(said, b"other")
    elif when == "under way":
        while not troupe["wren"].claim.speaking:
            troupe.step()
    troupe.cancel(scene, heard=0)
    done = troupe.until(said, b"other")
    troupe.rest()
    assert [kind for kind, text in entries(troupe, "wren") if "zanzibar" in text] == ["said"]
    assert ("reply", done.text) in entries(troupe, "wren")
    assert known(troupe, "wren").count("kbell1") == 1
    assert set(known(troupe, "wren")) == {"kbell1", done.text.split()[0]}
    assert not known(troupe, "mara")
    assert troupe.talk("wren", "And ophir?").reason == "stop"


def test_numbers_that_are_given_out_again_are_other_turns(make: MakeTroupe) -> None:
    """Wren leaves, goes back, and talks on: her turn has the number of one that is gone."""
    troupe = make()
    scene = troupe.scene("inn", list(THREE), turns=12)
    troupe.until_line(scene, 4)
    troupe.ask(m.Leave(id="l", scene="inn", npc="wren"))
    taken = next(r for r in troupe.records(scene) if isinstance(r, m.Turn) and r.npc == "wren")
    troupe.ask(m.Rewind(id="back", npc="wren", turns=1))
    done = troupe.talk("wren", "Where is zanzibar?", priority="near")
    assert done.turn == taken.turn
    troupe.cancel(scene, heard=taken.text.find(" "))
    troupe.rest()
    assert entries(troupe, "wren")[-2:] == [("said", "Where is zanzibar?"), ("reply", done.text)]


def test_who_left_amid_a_line_keeps_no_more_than_it_heard(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One. Two. Three."], "bram": ["Hm."], "wren": ["So."]})
    scene = troupe.scene("inn", list(THREE))
    troupe.until_line(scene, 1)
    troupe.step()
    troupe.ask(m.Leave(id="l", scene="inn", npc="wren"))
    troupe.until_line(scene, 3)
    troupe.cancel(scene, heard=7)
    troupe.rest()
    assert "Mara: One." in troupe.talk_of("wren") and "Tw" not in troupe.talk_of("wren")
    assert "Mara: One. Two\u2014" in troupe.talk_of("bram")


# A save while it waits to be taken back


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("how", ["left", "member"])
@pytest.mark.parametrize("heard", [0, 15, 10_000])
def test_a_save_amid_a_line_holds_no_more_than_was_heard(
    make: MakeTroupe, heard: int, how: str, late: bool, recurrent: bool
) -> None:
    """Wren tells a tale meanwhile, and so can forget nothing yet."""
    lines = {name: list(PLAIN[name]) for name in THREE}
    troupe = make(lines, recurrent=recurrent)
    scene = troupe.scene("inn", list(THREE), turns=8)
    troupe.until_line(scene, 5)
    if how == "left":
        troupe.ask(m.Leave(id="l", scene="inn", npc="wren"))
    if late:
        troupe.until(scene)
    lines["wren"][:] = ["A tale. " * 30]
    said = troupe.say("wren", "Where is zanzibar?", priority="near")
    while not troupe["wren"].claim.speaking:
        troupe.step()
    if late and how == "member":
        assert troupe.until(troupe.cancel(scene, heard=heard)).code == "unknown_target"
        return
    troupe.cancel(scene, heard=heard)
    assert troupe["wren"].is_speaking
    troupe.send(m.Save(id="save", slot="a"))
    assert isinstance(troupe.until("save"), m.Saved)
    troupe.until(said)
    troupe.rest()
    after = {npc: known(troupe, npc) for npc in THREE}
    troupe.load("a")
    assert {npc: known(troupe, npc) for npc in THREE} == after
    assert "zanzibar" not in troupe.talk_of("wren"), "the line was not under way"
    assert troupe.talk("wren").reason == "stop"


def test_a_journal_amid_a_line_holds_nothing_unheard(make: MakeTroupe) -> None:
    troupe = make({"mara": ["kmara0."], "bram": ["kbram0."], "wren": ["kwren0.", "W. " * 60]})
    troupe.save("a", mode="journal")
    scene = troupe.scene("inn", list(THREE), turns=9)
    troupe.until_line(scene, 5)
    troupe.ask(m.Leave(id="l", scene="inn", npc="wren"))
    troupe.say("wren", "A tale?", priority="near")
    while not troupe["wren"].claim.speaking:
        troupe.step()
    assert {"kmara0", "kbram0"} <= set(known(troupe, "wren"))
    troupe.cancel(scene, heard=0)
    journaling = troupe.engine._saving._journaling
    follow = journaling.table.of("a", "wren")
    assert follow is not None and troupe["wren"].is_speaking
    state = journaling._frozen(follow) or {}
    texts = " ".join(segment["text"] for segment in state["segments"])
    assert not re.findall(r"\bk[a-z]+\d+\b", texts)


def test_a_save_amid_a_line_holds_what_was_cut_once(make: MakeTroupe) -> None:
    """Half of it had come in when she began, and the rest was on its way."""
    troupe = make({"mara": ["One. Two. Three."], "bram": ["Hm."], "wren": ["So.", "W. " * 60]})
    scene = troupe.scene("inn", list(THREE), first="wren", turns=8)
    troupe._loop(lambda: troupe.speakers(scene) == ["wren"])
    said = troupe.say("mara", "Well?")
    troupe._loop(lambda: "One." in troupe.talk_of("wren"))
    troupe.say("wren", "A tale?", priority="near")
    troupe.until(said)
    assert troupe["wren"].is_speaking and troupe["wren"].waiting(Overheard)
    troupe.cancel(said, heard=6)
    troupe.send(m.Save(id="save", slot="a"))
    troupe.until("save")
    troupe.cancel(scene)
    troupe.load("a")
    assert troupe.talk_of("wren").count("One.") == 1
    assert "Three" not in troupe.talk_of("wren")


# A say to a member is cut after its end, and others have heard the answer


def answered(make: MakeTroupe, **keys: Any) -> tuple[Troupe, str, str]:
    """A scene in which Mara has answered the player, and Wren has heard it."""
    lines = {"mara": ["One. Two. Three."], "bram": ["Hm."], "wren": ["So."], "tom": ["T. " * 30]}
    troupe = make(lines, **keys)
    scene = troupe.scene("inn", list(THREE), first="wren", turns=8)
    troupe._loop(lambda: troupe.speakers(scene) == ["wren"])
    said = troupe.say("mara", "Well?")
    troupe.until(said)
    return troupe, scene, said


def test_a_late_cut_reaches_those_who_have_not_answered(make: MakeTroupe) -> None:
    troupe, scene, said = answered(make)
    while "bram" not in troupe.speakers(scene):  # he has answered it, and Wren has not
        troupe.step()
    assert troupe.until(troupe.cancel(said, heard=6)).cancelled is False
    troupe.cancel(scene)
    troupe.rest()
    assert "One. Tw\u2014|" in troupe.talk_of("mara")
    assert "Mara: One. Tw\u2014" in troupe.talk_of("wren")
    assert "Mara: One. Two. Three.|" in troupe.talk_of("bram")


def test_an_answer_that_is_taken_back_leaves_the_line_cut(make: MakeTroupe) -> None:
    troupe, scene, said = answered(make)
    heard = len(troupe.spoken(scene))
    while "bram" not in troupe.speakers(scene):
        troupe.step()
    troupe.cancel(said, heard=6)
    troupe.cancel(scene, heard=heard)
    troupe.rest()
    assert troupe.talk_of("bram").endswith("Mara: One. Tw\u2014")


@pytest.mark.parametrize("how", ["over", "left", "speaker left"])
def test_a_late_cut_reaches_those_who_are_gone(make: MakeTroupe, how: str) -> None:
    troupe, scene, said = answered(make)
    if how == "over":
        troupe.cancel(scene)
    else:
        npc = "wren" if how == "left" else "mara"
        troupe.send(m.Leave(id="l", scene="inn", npc=npc))
        troupe.cancel(scene)
    troupe.rest()
    assert troupe.until(troupe.cancel(said, heard=6)).cancelled is False
    troupe.rest()
    for npc in ("bram", "wren"):
        assert "Mara: One. Tw\u2014" in troupe.talk_of(npc), npc
        assert "Three" not in troupe.talk_of(npc)


def test_a_speaker_that_leaves_amid_an_answer_is_cut_for_all(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One. Two. Three."], "bram": ["Hm."], "wren": ["So."]})
    scene = troupe.scene("inn", list(THREE), first="wren")
    troupe._loop(lambda: troupe.speakers(scene) == ["wren"])
    said = troupe.say("mara", "Well?")
    troupe._loop(lambda: len(troupe.texts(said, m.Line)) == 2)
    troupe.send(m.Leave(id="l", scene="inn", npc="mara"))
    troupe.cancel(said, heard=6)
    troupe.cancel(scene)
    troupe.rest()
    assert "One. Tw\u2014|" in troupe.talk_of("mara")
    for npc in ("bram", "wren"):
        assert "Mara: One. Tw\u2014" in troupe.talk_of(npc), npc


@pytest.mark.parametrize("heard", [0, 6])
def test_a_late_cut_of_what_is_on_its_way(make: MakeTroupe, heard: int) -> None:
    """Bram speaks with the game meanwhile: the answer, and his cue, wait in his inbox."""
    troupe = make({"mara": ["One. Two."], "bram": ["B. " * 9, "Hm."], "wren": ["So."]})
    scene = troupe.scene("inn", list(THREE), first="wren")
    troupe._loop(lambda: troupe.speakers(scene) == ["wren"])
    troupe.say("bram", "A tale?", priority="near")
    said = troupe.say("mara", "Well?")
    troupe.until(said)
    while not troupe["bram"].waiting(Cue):
        troupe.step()
    assert troupe["bram"].is_speaking and troupe["bram"].waiting(Overheard)
    troupe.cancel(said, heard=heard)
    assert troupe["bram"].inbox.lines()[1:] == (["Mara: One. Tw\u2014"] if heard else [])
    while troupe.speakers(scene)[-1:] != ["bram"]:
        troupe.step()
    assert "Two." not in troupe.talk_of("bram")
    assert ("One. Tw\u2014|" in troupe.talk_of("bram")) is bool(heard)
    troupe.cancel(scene)


def test_a_line_to_a_listener_in_the_same_batch_is_answered_without_it(make: MakeTroupe) -> None:
    troupe, scene, said = answered(make)
    troupe.cancel(scene)
    troupe.rest()
    asked = troupe.say("wren", "What did she say?")
    troupe.cancel(said, heard=6)
    troupe.until(asked)
    assert "Mara: One. Tw\u2014\nWhat did she say?" in troupe.talk_of("wren")


def test_a_reply_from_before_the_scene_is_cut_behind_what_is_taken_back(make: MakeTroupe) -> None:
    troupe, scene, said = answered(make)
    heard = len(troupe.spoken(scene))
    while "bram" not in troupe.speakers(scene):
        troupe.step()
    troupe.cancel(scene, heard=heard)
    assert troupe.until(troupe.cancel(said, heard=6)).cancelled is False
    troupe.rest()
    assert "One. Tw\u2014|" in troupe.talk_of("mara")
    for npc in ("bram", "wren"):
        assert troupe.talk_of(npc).endswith("Mara: One. Tw\u2014"), npc


# What a player says is heard each time


@pytest.mark.parametrize("max_events", [1, 64])
def test_equal_lines_of_the_player_are_heard_each_time(make: MakeTroupe, max_events: int) -> None:
    troupe = make(max_events=max_events)
    scene = troupe.scene("inn", list(THREE), turns=2, priority="ambient")
    before = troupe.ask(m.Stats(id="s")).stats
    for _ in range(3):
        troupe.talk("mara", "Go on.")
    after = troupe.ask(m.Stats(id="t")).stats
    assert troupe.talk_of("wren").count("*Player says to Mara: Go on.*\nMara: kmara") == 3
    for key in ("n_events_coalesced", "n_events_dropped"):
        assert after[key] == before[key]
    troupe.event("Player says to Mara: Go on.", ["wren"])
    troupe.step()
    assert troupe.talk_of("wren").count("Go on.") == 4
    troupe.cancel(scene)


def test_equal_lines_on_their_way_are_heard_each_time(make: MakeTroupe) -> None:
    troupe = make({"mara": ["Hm."], "bram": ["B. " * 30], "wren": ["So."]}, max_events=2)
    scene = troupe.scene("inn", list(THREE), turns=2)
    troupe.say("bram", "A tale?", priority="near")
    for _ in range(4):
        troupe.talk("mara", "Go on.")
    assert troupe["bram"].is_speaking
    assert troupe["bram"].inbox.lines().count("*Player says to Mara: Go on.*") == 4
    troupe.save("a")
    troupe.cancel(scene)
    troupe.rest()
    assert troupe.talk_of("bram").count("*Player says to Mara: Go on.*\nMara: Hm.") == 4
    troupe.load("a")
    for what in ("A bell", "A horn", "A drum"):
        troupe.event(what, ["bram"])
    troupe.rest()
    assert (GAME, scene) not in troupe.open
    assert troupe.talk_of("bram").count("*Player says to Mara: Go on.*\nMara: Hm.") == 4


# An id that is used again


def ask(troupe: Troupe, request_id: str, npc: str, **keys: Any) -> str:
    return troupe.send(m.Say(id=request_id, npc=npc, text="Well?", **keys))


@pytest.mark.parametrize(("first", "second"), [("mara", "bram"), ("bram", "mara")])
def test_a_late_cut_is_of_whom_the_id_meant_last(make: MakeTroupe, first: str, second: str) -> None:
    troupe = make()
    whole = troupe.until(ask(troupe, "7", first)).text
    troupe.until(ask(troupe, "7", second))
    assert troupe.until(troupe.cancel("7", heard=3)).cancelled is False
    assert f" {whole}|" in troupe.talk_of(first)
    assert f" k{second[:2]}\u2014|" in troupe.talk_of(second)


@pytest.mark.parametrize("how", ["refused", "cancelled", "failed", "speaks again"])
def test_an_id_that_came_to_nothing_means_nobody(make: MakeTroupe, how: str) -> None:
    troupe = make()
    whole = troupe.until(ask(troupe, "7", "mara")).text
    if how == "cancelled":
        troupe.say("bram")
    ask(troupe, "7", "nobody" if how == "refused" else "bram")
    if how == "cancelled":
        troupe.cancel("7")
    troupe.fake.n_failures = how == "failed"
    troupe.until("7")
    if how == "speaks again":
        troupe.until(ask(troupe, "8", "bram"))
    troupe.rest()
    assert troupe.until(troupe.cancel("7", heard=3)).code == "unknown_target"
    assert f" {whole}|" in troupe.talk_of("mara")


def test_a_scene_and_a_line_of_one_id(make: MakeTroupe) -> None:
    troupe = make()
    scene = m.Scene(id="7", scene="inn", npcs=["mara", "bram"], turns=2)
    troupe.until(ask(troupe, "7", "wren"))
    troupe.until(troupe.send(scene))
    assert troupe.until(troupe.cancel("7", heard=0)).cancelled is False
    troupe.rest()
    assert [known(troupe, npc) for npc in THREE] == [[], [], ["kwren0"]]
    troupe.until(troupe.send(scene))
    troupe.until(ask(troupe, "7", "wren"))
    assert troupe.until(troupe.cancel("7", heard=3)).cancelled is False
    troupe.rest()
    assert [len(known(troupe, npc)) for npc in THREE] == [2, 2, 1]


def test_an_id_of_another_client_is_another(make: MakeTroupe) -> None:
    troupe = make()
    troupe.until(ask(troupe, "7", "mara"))
    troupe.until(troupe.send(m.Say(id="7", npc="bram", text="Well?"), b"other"), b"other")
    assert troupe.until(troupe.cancel("7", heard=3)).cancelled is False
    assert " kma\u2014|" in troupe.talk_of("mara")
    assert known(troupe, "bram") == ["kbram0"]
