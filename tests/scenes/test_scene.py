"""A scene: who speaks next, what each of those present hears, and how it ends."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npc_engine import protocol as m
from npc_engine.dialogue.overheard import Cue, Overheard
from npc_engine.scheduling.batching import Priority
from tests.support.rig import GAME, TimedLlama
from tests.support.troupe import MakeTroupe, Troupe

THREE = ("mara", "bram", "wren")
PLAIN = {name: [f"k{name[0]}{i} is so. And k{name[0]}{i}x." for i in range(20)] for name in THREE}


@pytest.fixture
def make(make_troupe: MakeTroupe) -> MakeTroupe:
    def make(lines: dict[str, list[str]] | None = None, **keys: Any) -> Troupe:
        return make_troupe(lines or {k: list(v) for k, v in PLAIN.items()}, **keys)

    return make


def of(reply: m.Reply) -> m.SceneDone:
    assert isinstance(reply, m.SceneDone), reply
    return reply


# Who speaks next


def test_who_is_silent_longest_speaks_next(make: MakeTroupe) -> None:
    troupe = make()
    assert troupe.speakers(troupe.play(*THREE, turns=7)) == [*THREE, *THREE, "mara"]
    again = troupe.play(*THREE, turns=4, first="wren")
    assert troupe.speakers(again) == ["wren", "mara", "bram", "wren"]


def test_who_is_spoken_to_by_name_speaks_next(make: MakeTroupe) -> None:
    troupe = make(
        {
            "mara": ["Wren, have you seen Bram?"],
            "bram": ["No.", "Mara knows."],
            "wren": ["I saw Wren the post girl in the mirror.", "Bram!"],
        }
    )
    target = troupe.play(*THREE, turns=5)
    # Wren names herself only, so Bram, who was silent longest; he names nobody.
    assert troupe.speakers(target) == ["mara", "wren", "bram", "mara", "wren"]


def test_who_was_mentioned_last_speaks_next(make: MakeTroupe) -> None:
    troupe = make({"mara": ["Bram owes Wren."], "bram": ["Hm."], "wren": ["So mara says."]})
    assert troupe.speakers(troupe.play(*THREE, turns=4)) == ["mara", "wren", "mara", "wren"]


def test_one_who_says_nothing_has_spoken(make: MakeTroupe) -> None:
    troupe = make({"mara": ["\n" * 20], "bram": ["Hm."]})
    target = troupe.play("mara", "bram", turns=3)
    assert troupe.texts(target, m.Turn) == ["", "Hm.", ""]
    assert troupe.speakers(target) == ["mara", "bram", "mara"]
    assert "Mara: ...|" in troupe.talk_of("bram")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nobody_speaks_twice_in_a_row(tmp_path: Path, data: st.DataObject) -> None:
    words = st.sampled_from(["Bram, ", "wren", "Mara! ", "hm ", "I saw Wren. ", "*nods*", "\n"])
    line = st.lists(words, max_size=4).map("".join)
    lines = {name: data.draw(st.lists(line, min_size=1, max_size=3)) for name in THREE}
    troupe = Troupe(tmp_path, lines, window=700)
    speakers = troupe.speakers(troupe.play(*THREE, turns=9, max_tokens=24))
    assert len(speakers) == 9
    assert all(a != b for a, b in pairwise(speakers))
    troupe.rest()
    troupe.close()


# The records


def test_records_have_one_order_and_lines_one_count(make: MakeTroupe) -> None:
    troupe = make({"mara": ["*nods* One. Two."], "bram": ["Three."]})
    target = troupe.play("mara", "bram", turns=3)
    *streamed, done = troupe.records(target)
    assert done == m.SceneDone(id=target, scene="inn", n_turns=3, reason="turns")
    lines = [r for r in streamed if isinstance(r, m.Line)]
    assert [(r.npc, r.index, r.text) for r in lines] == [
        ("mara", 0, "One."), ("mara", 1, "Two."), ("bram", 2, "Three."),
        ("mara", 3, "One."), ("mara", 4, "Two."),
    ]  # fmt: skip
    assert [(r.npc, r.text) for r in streamed if isinstance(r, m.Gesture)] == [("mara", "nods")] * 2
    turns = [r for r in streamed if isinstance(r, m.Turn)]
    assert [(r.npc, r.text, r.turn) for r in turns] == [
        ("mara", "*nods* One. Two.", 1), ("bram", "Three.", 1), ("mara", "*nods* One. Two.", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("stream", [[], ["text"], ["line"]])
def test_only_what_was_asked_for_is_streamed(make: MakeTroupe, stream: list[str]) -> None:
    troupe = make()
    target = troupe.play("mara", "bram", turns=2, stream=stream)
    kinds = {str(r.__struct_config__.tag) for r in troupe.records(target)[:-1]}
    assert kinds == {*stream, "turn"}


def test_a_turn_can_be_pinned(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.play("mara", "bram", turns=2)
    turn = next(r for r in troupe.records(target) if isinstance(r, m.Turn))
    assert isinstance(troupe.ask(m.Pin(id="p", npc=turn.npc, turn=turn.turn)), m.Pinned)


def test_endless_replies_are_bounded(make: MakeTroupe) -> None:
    troupe = make({"mara": ["na " * 2000], "bram": ["no " * 2000]}, window=400)
    target = troupe.play("mara", "bram", turns=6, max_tokens=150)
    assert troupe.speakers(target) == ["mara", "bram"] * 3


# What they hear


@pytest.mark.parametrize("recurrent", [False, True])
def test_everyone_hears_everything_once(make: MakeTroupe, recurrent: bool) -> None:
    troupe = make(recurrent=recurrent)
    target = troupe.play(*THREE, turns=8, about="the k1 bread")
    troupe.rest()
    said = re.findall(r"k\w+", " ".join(troupe.texts(target, m.Turn)))
    assert len(said) == len(set(said)) == 16
    for npc in THREE:
        found = re.findall(r"\bk\w+", troupe.heard(npc))
        assert found == ["k1", *said], npc  # in this order, none of them twice


def test_what_is_heard_is_read_once_and_ahead(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.scene("inn", list(THREE), turns=6)
    n_left = []
    n_turns = 0
    while (GAME, target) in troupe.open:
        troupe.step()
        if len(troupe.speakers(target)) > n_turns:
            n_turns += 1
            n_left.append(max(troupe[npc].dialogue.sequence.n_pending for npc in THREE))
    troupe.rest()
    n_read = sum(len(tokens) for batch in troupe.fake.batches for _, _, tokens, _ in batch)
    assert n_read == sum(len(troupe.tokens(npc)) for npc in THREE), "something was read twice"
    # When a line ends, at most its last sentence waits (and the end of the speaker's own turn).
    assert max(n_left[1:]) < 20, n_left


def test_a_listener_reads_ahead_but_not_beside_the_player(make: MakeTroupe) -> None:
    troupe = make(PLAIN | {"tom": ["Well. " * 20]})
    target = troupe.scene("inn", ["mara", "bram"])
    troupe.until_line(target, 1)
    troupe.say("tom")
    troupe.step()
    assert troupe["tom"].claim.priority is Priority.PLAYER
    before = troupe["bram"].dialogue.ledger.n_cells
    for _ in range(10):
        troupe.step()
        assert troupe["bram"].dialogue.ledger.n_cells == before
    troupe.cancel(target)


def test_who_listens_does_not_read_its_window_again_meanwhile(make: MakeTroupe) -> None:
    """A look at a recurrent state is for pauses: it reads all of the window again."""
    troupe = make(recurrent=True)
    troupe.rest()
    target = troupe.scene("inn", list(THREE), turns=4)
    troupe.until_line(target, 1)
    drift = troupe["wren"].dialogue.drift
    assert drift is not None
    drift.next_look = 0
    while (GAME, target) in troupe.open:
        troupe.step()
        speaks = any(troupe[npc].is_speaking for npc in THREE)
        assert not (speaks and troupe["wren"].dialogue.sequence.is_reading_again)
    troupe.rest()
    assert drift.n_reread == 1


def test_what_is_read_again_waits_while_others_speak(make: MakeTroupe) -> None:
    troupe = make(recurrent=True)
    troupe.talk("wren", "A long story. " * 30)
    troupe.rest()
    sequence = troupe["wren"].dialogue.sequence
    sequence.read_again()
    target = troupe.scene("inn", list(THREE), turns=2)
    troupe.step()
    n_cells = sequence.ledger.n_cells
    troupe.until_line(target, 2)
    assert sequence.ledger.n_cells == n_cells
    assert sequence.is_reading_again
    troupe.until(target)


def test_a_scene_takes_no_more_than_its_share(make: MakeTroupe) -> None:
    """Steps in which others listen, and in which a line ends, count like any other."""
    troupe = make(ambient_share=0.5)
    troupe.rest()
    assert isinstance(troupe.fake, TimedLlama)
    troupe.fake.seconds = 0.02
    began, n_before = troupe.now, len(troupe.fake.batches)
    troupe.play(*THREE, turns=6)
    busy = 0.02 * (len(troupe.fake.batches) - n_before)
    assert busy / (troupe.now - began) < 0.51


def test_a_name_of_another_ends_the_reply(make: MakeTroupe) -> None:
    troupe = make({"mara": ["Well.\nBram: I say so, too."], "bram": ["Hm."]})
    target = troupe.play("mara", "bram", turns=1)
    assert troupe.texts(target, m.Turn) == ["Well."]


def test_an_event_between_line_and_answer(make: MakeTroupe) -> None:
    """The line that is answered stands last, and is there once."""
    troupe = make({"mara": ["One. " + "Two. " * 9], "bram": ["Hm."]})
    target = troupe.scene("inn", ["mara", "bram"], turns=2)
    troupe.until_line(target, 3)
    troupe.event("A kbell.")
    troupe.hear("bram", "Half a wor")
    troupe.until(target)
    talk = troupe.talk_of("bram")
    assert talk.count("One.") == talk.count("kbell") == 1
    assert talk.count("Two.") == 9
    assert "Half" not in talk
    assert re.search(r"\*A kbell.\*\nMara: One.( Two.){9}\|\n\|assistant\nBram: Hm.\|", talk), talk


def test_a_flood_of_events_does_not_drown_what_was_said(make: MakeTroupe) -> None:
    troupe = make(max_events=2)
    target = troupe.scene("inn", list(THREE), turns=4)
    troupe.until_line(target, 2)
    n_before = troupe.ask(m.Stats(id=troupe.id())).stats["n_events_dropped"]
    for what in ("A bell", "A horn", "A drum"):
        troupe.event(what, ["wren"])
        troupe.step()
    assert "Mara: km0 is so." in troupe.talk_of("wren")
    assert "A bell" not in troupe.talk_of("wren")
    assert "A horn" in troupe.talk_of("wren")
    # That the scene began is an event, too.
    assert troupe.ask(m.Stats(id=troupe.id())).stats["n_events_dropped"] == n_before + 2
    troupe.cancel(target)


def test_a_line_that_was_heard_before_another_answer_is_not_heard_twice(make: MakeTroupe) -> None:
    """The game speaks to Bram just as it is his turn: what he would answer stands before that."""
    troupe = make()
    target = troupe.scene("inn", ["mara", "bram"], turns=3)
    troupe._loop(lambda: len(troupe.speakers(target)) == 1)
    assert not troupe["bram"].is_speaking
    troupe.say("bram", "Psst.", priority="near", client=b"other")
    troupe.until(target)
    troupe.rest()
    talk = troupe.talk_of("bram")
    assert talk.count("km0 is so.") == 1
    assert "km0x.\nPsst.|" in talk
    assert "*Bram speaks.*|" in talk


def test_a_small_window_forgets_what_was_heard_first(make: MakeTroupe) -> None:
    troupe = make(window=300)
    target = troupe.play(*THREE, turns=30)
    troupe.rest()
    assert len(troupe.speakers(target)) == 30
    assert all("kw9x" in troupe.heard(npc) for npc in THREE)


def test_long_names_in_a_small_window(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One. Two."], "bram": ["Hm. " * 30]}, window=300)
    for npc in ("tom", "tim"):
        troupe.lines[npc], troupe.n_said[npc] = ["So. " * 20], 0
        long = {"name": npc.capitalize() * 60, "system_prompt": f"I am {npc.capitalize()}."}
        troupe.spawn(npc, card=long)
    target = troupe.play("mara", "tom", "bram", "tim", turns=12)
    assert troupe.speakers(target) == ["mara", "tom", "bram", "tim"] * 3


def test_more_members_than_slots(make: MakeTroupe) -> None:
    troupe = make(n_slots=1)
    target = troupe.play(*THREE, turns=9)
    assert troupe.speakers(target) == [*THREE] * 3


# The player


def test_no_turn_begins_while_the_player_waits(make: MakeTroupe) -> None:
    troupe = make(PLAIN | {"tom": ["Well. " * 30]})
    target = troupe.scene("inn", list(THREE))
    troupe.until_line(target, 2)
    troupe._loop(lambda: len(troupe.speakers(target)) == 1)
    said = troupe.say("tom")
    while (GAME, said) in troupe.open:
        troupe.step()
        assert len(troupe.speakers(target)) == 1
        assert not any(troupe[npc].generation for npc in THREE)
    assert of(troupe.until(target)).reason == "turns"


def test_a_line_under_way_pauses_for_the_player_at_once(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One. " * 40], "bram": ["Hm."], "tom": ["Yes."]})
    target = troupe.scene("inn", ["mara", "bram"])
    troupe.until_line(target, 2)
    troupe.say("tom", "k " * 60)
    before = len(troupe["mara"].dialogue.reply.tokens)
    while not troupe["tom"].claim.speaking:
        troupe.step()
    assert len(troupe["mara"].dialogue.reply.tokens) <= before + 1
    assert troupe.until(troupe.cancel(target)).cancelled


def test_the_player_joins_by_speaking(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One.", "kyes."], "bram": ["Two."], "wren": ["Three.", "Four."]})
    target = troupe.scene("inn", list(THREE), turns=5)
    troupe._loop(lambda: troupe.speakers(target) == ["mara", "bram"])
    said = troupe.say("mara", "kask?", client=b"other", speaker="Tom")
    assert troupe.until(said, b"other").text == "kyes."
    assert of(troupe.until(target)).n_turns == 5
    troupe.rest()
    for npc in ("bram", "wren"):
        talk = troupe.talk_of(npc)
        assert talk.count("kask?") == talk.count("kyes.") == 1
        assert "*Tom says to Mara: kask?*\nMara: kyes." in talk
    assert "Tom: kask?|" in troupe.talk_of("mara")
    assert troupe.speakers(target) == ["mara", "bram", "wren", "bram", "mara"]


def test_a_member_breaks_off_for_the_player(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One. Two. Three. Four.", "Yes?"], "bram": ["Hm."]})
    target = troupe.scene("inn", ["mara", "bram"], turns=3)
    troupe.until_line(target, 2)
    said = troupe.say("mara", "Wait!")
    troupe.step()
    assert troupe.texts(target, m.Turn) == ["One. Two."]  # within one step
    assert troupe["mara"].generation is not None
    assert troupe.until(said).reason == "stop"
    troupe.until(target)
    assert "Mara: One. Two.\u2014\n*Player says to Mara: Wait!*\nMara: " in troupe.talk_of("bram")
    assert "One. Two.\u2014|" in troupe.talk_of("mara")


def test_a_reply_to_the_player_that_is_cut_is_cut_for_all(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One. Two. Three."], "bram": ["Hm."], "wren": ["So."]})
    target = troupe.scene("inn", list(THREE), first="wren", turns=2)
    troupe._loop(lambda: troupe.speakers(target) == ["wren"])
    said = troupe.say("mara", "Well?")
    troupe._loop(lambda: len(troupe.texts(said, m.Line)) == 2)
    troupe.cancel(said, heard=2)
    troupe.until(target)
    troupe.rest()
    assert "Mara: On\u2014" in troupe.talk_of("wren")
    assert "Two" not in troupe.talk_of("wren") + troupe.talk_of("bram")


def test_a_reply_to_the_player_that_is_cut_after_its_end(make: MakeTroupe) -> None:
    troupe = make({"mara": ["One. Two."], "bram": ["Hm."], "wren": ["So."], "tom": ["T. " * 30]})
    target = troupe.scene("inn", list(THREE), first="wren", turns=2)
    troupe._loop(lambda: troupe.speakers(target) == ["wren"])
    other = troupe.say("tom")  # so that the scene waits
    said = troupe.say("mara", "Well?")
    troupe.until(said)
    assert troupe.until(troupe.cancel(said, heard=4)).cancelled is False
    assert (GAME, other) in troupe.open
    troupe.until(target)
    for npc in ("bram", "wren"):
        assert "Two" not in troupe.talk_of(npc)
        assert "Mara: One.\u2014" in troupe.talk_of(npc)


# Ends


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_line_that_is_cut_is_cut_for_everybody(make: MakeTroupe, recurrent: bool) -> None:
    troupe = make({"mara": ["One. Two. Three."], "bram": ["Hm."]}, recurrent=recurrent)
    target = troupe.scene("inn", ["mara", "bram"], turns=4)
    troupe.until_line(target, 2)
    answer = troupe.cancel(target, heard=6)
    troupe.step()
    assert of(troupe.records(target)[-1]).reason == "cancelled"  # within one step
    assert troupe.records(answer) == [m.Ok(id=answer, cancelled=True)]
    assert troupe.texts(target, m.Turn) == ["One. Tw"]
    troupe.rest()
    assert troupe.talk_of("mara").endswith("One. Tw\u2014|\n")
    assert troupe.talk_of("bram").endswith("Mara: One. Tw\u2014")
    assert troupe.until(troupe.cancel(target)).code == "unknown_target"


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_turns_that_were_not_heard_were_never_said(
    make: MakeTroupe, at_the_end: bool, recurrent: bool
) -> None:
    troupe = make(recurrent=recurrent)
    target = troupe.scene("inn", list(THREE), turns=8)
    if at_the_end:
        troupe.until(target)
    else:
        troupe.until_line(target, 11)
    lines = troupe.texts(target, m.Line)
    heard = len("".join(lines[:2])) + 3  # in the second turn
    assert troupe.until(troupe.cancel(target, heard=heard)).cancelled is not at_the_end
    troupe.rest()
    second = lines[2][:3] + "\u2014"
    assert troupe.talk_of("bram").endswith(
        f"Mara: {lines[0]} {lines[1]}|\n|assistant\nBram: {second}|\n"
    )
    for npc in ("mara", "wren"):
        assert troupe.talk_of(npc).endswith(f"Bram: {second}")
        for line in lines[3:]:
            assert line not in troupe.heard(npc)
    # And they talk on from there.
    assert troupe.talk("mara", "And then?").reason == "stop"
    assert troupe.until(troupe.cancel(target, heard=1)).code == "unknown_target"


@pytest.mark.parametrize("heard", [0, 10_000])
def test_all_or_nothing_was_heard(make: MakeTroupe, heard: int) -> None:
    troupe = make()
    target = troupe.play(*THREE, turns=5)
    before = {npc: len(troupe.heard(npc)) for npc in THREE}
    assert troupe.until(troupe.cancel(target, heard=heard)).cancelled is False
    troupe.rest()
    for npc in THREE:
        if heard:
            assert len(troupe.heard(npc)) >= before[npc]
        else:
            assert not re.search(r"k[mbw]\d", troupe.heard(npc))


def test_a_pinned_turn_is_not_taken_back(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.play(*THREE, turns=5)
    turn = next(r for r in troupe.records(target) if isinstance(r, m.Turn) and r.npc == "bram")
    troupe.ask(m.Pin(id="p", npc="bram", turn=turn.turn))
    troupe.until(troupe.cancel(target, heard=0))
    troupe.rest()
    assert turn.text in troupe.heard("bram")
    assert turn.text not in troupe.heard("mara")


def test_what_was_said_before_the_player_spoke_stays(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.scene("inn", list(THREE), turns=6)
    troupe._loop(lambda: len(troupe.speakers(target)) == 2)
    troupe.talk("mara", "Oh?")
    troupe.until(target)
    n = len(troupe.texts(target, m.Turn))
    troupe.cancel(target, heard=0)
    troupe.rest()
    first, second, third = troupe.texts(target, m.Turn)[:3]
    assert n == 6
    assert first in troupe.heard("wren") and second in troupe.heard("wren")
    assert third not in troupe.heard("mara")


def test_what_is_over_does_not_come_back_with_a_turn(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.scene("inn", list(THREE), turns=6)
    troupe.until_line(target, 2)
    troupe.event("It rains", ["bram"], expires_s=10)
    troupe.event("It thunders", ["bram"], expires_s=30)
    troupe.until_line(target, 5)
    assert "bram" in troupe.speakers(target)
    troupe.now += 20
    troupe.event("It snows", ["bram"])
    troupe.step()
    troupe.cancel(target, heard=len(troupe.texts(target, m.Line)[0]))
    troupe.rest()
    assert "It rains" not in troupe.heard("bram")
    assert "It thunders" in troupe.heard("bram")
    troupe.now += 20
    troupe.event("It hails", ["bram"])
    troupe.rest()
    assert "It thunders" not in troupe.heard("bram")


def test_what_was_answered_behind_an_event_was_heard_all_the_same(make: MakeTroupe) -> None:
    """The answer is taken back, and not the line that it answers, which then stands elsewhere."""
    troupe = make()
    target = troupe.scene("inn", ["mara", "bram"], turns=4)
    troupe.until_line(target, 2)
    troupe.event("It rains", ["bram"])
    troupe.until_line(target, 4)
    assert "*It rains*\nMara: km0 is so." in troupe.talk_of("bram")
    troupe.cancel(target, heard=sum(map(len, troupe.texts(target, m.Line)[:2])))
    troupe.rest()
    assert "Mara: km0 is so. And km0x." in troupe.talk_of("bram")
    assert "kb0" not in troupe.talk_of("bram")


def test_too_late_to_take_back(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.play(*THREE, turns=3)
    troupe.talk("bram")
    assert troupe.until(troupe.cancel(target, heard=0)).code == "unknown_target"
    target = troupe.play(*THREE, turns=3)
    troupe.ask(m.Despawn(id="d", npc="bram"))
    assert troupe.until(troupe.cancel(target, heard=0)).code == "unknown_target"


@pytest.mark.parametrize("why", ["cancelled", "slow_client"])
def test_a_client_that_goes_ends_its_scenes(make: MakeTroupe, why: Any) -> None:
    troupe = make()
    mine = troupe.scene("inn", ["mara", "bram"])
    troupe.until_line(mine, 3)
    troupe.engine.drop(b"another", why)
    troupe.step()
    assert (GAME, mine) in troupe.open
    troupe.engine.drop(GAME, why)
    troupe.step()
    assert of(troupe.records(mine)[-1]).reason == why
    assert troupe["mara"].audience is troupe["bram"].audience is None


def test_an_engine_that_closes_ends_its_scenes(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.scene("inn", list(THREE))
    troupe.until_line(target, 3)
    troupe.note(troupe.engine.close())
    assert of(troupe.records(target)[-1]).reason == "cancelled"


@pytest.mark.parametrize("when", [0, 30])
def test_a_turn_that_fails_ends_the_scene_with_an_error(make: MakeTroupe, when: int) -> None:
    troupe = make()
    target = troupe.scene("inn", list(THREE))
    troupe.steps(when)
    troupe.fake.n_failures = 1
    error = troupe.until(target)
    assert isinstance(error, m.Error) and error.code == "internal" and error.id == target
    troupe.rest()
    assert troupe["mara"].audience is None
    assert of(troupe.records(troupe.play(*THREE, turns=2))[-1]).n_turns == 2


# Who comes and goes


def test_who_joins_hears_what_is_said_from_then_on(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.scene("inn", ["mara", "bram"], turns=6)
    troupe._loop(lambda: len(troupe.speakers(target)) == 2)
    assert troupe.ask(m.Join(id="j", scene="inn", npc="wren")) == m.Ok(id="j")
    assert troupe.ask(m.Join(id="j", scene="inn", npc="wren")) == m.Ok(id="j")
    troupe.until(target)
    troupe.rest()
    first, second, *rest = troupe.texts(target, m.Turn)
    assert "wren" in troupe.speakers(target)
    for npc in THREE:
        assert troupe.heard(npc).count("*Wren joins Mara and Bram.*") == 1
    assert first not in troupe.heard("wren") and second not in troupe.heard("wren")
    assert all(troupe.heard("wren").count(text) == 1 for text in rest)


def test_one_who_joins_and_is_spoken_to_at_once(make: MakeTroupe) -> None:
    """It has not heard what it would answer, so it is not told it either."""
    troupe = make({"mara": ["Where is Wren?"], "bram": ["Hm."], "wren": ["Here."]})
    target = troupe.scene("inn", ["mara", "bram"], turns=2)
    troupe._loop(lambda: len(troupe.speakers(target)) == 1)
    troupe.send(m.Join(id="j", scene="inn", npc="wren"))
    troupe.until(target)
    assert troupe.speakers(target) == ["mara", "wren"]
    assert "Where is" not in troupe.heard("wren")


def test_who_leaves_hears_no_more_and_breaks_off(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.scene("inn", list(THREE), turns=6)
    troupe.until_line(target, 3)
    assert troupe["bram"].generation
    assert troupe.ask(m.Leave(id="l", scene="inn", npc="bram")) == m.Ok(id="l")
    done = of(troupe.until(target))
    assert (done.reason, done.n_turns) == ("turns", 6)
    troupe.rest()
    assert troupe.speakers(target)[:2] == ["mara", "bram"]
    assert set(troupe.speakers(target)[2:]) == {"mara", "wren"}
    assert "kw0" not in troupe.heard("bram")
    assert "*Bram leaves Wren and Mara.*" in troupe.heard("wren")


def test_who_leaves_before_its_turn_amid_another_reply(make: MakeTroupe) -> None:
    """Its cue waits behind a line of the game, and the others hear what it answers to that."""
    troupe = make()
    target = troupe.scene("inn", list(THREE), turns=6, first="bram")
    troupe.until_line(target, 1)
    for _ in range(3):
        troupe.say("mara", priority="near")
    while not (troupe["mara"].is_speaking and troupe["mara"].waiting(Cue)):
        troupe.step()
    troupe.ask(m.Leave(id=troupe.id(), scene="inn", npc="mara"))
    assert of(troupe.until(target)).n_turns == 6
    assert "mara" not in troupe.speakers(target)


@pytest.mark.parametrize("how", ["leave", "despawn"])
def test_one_alone_ends_the_scene(make: MakeTroupe, how: str) -> None:
    troupe = make()
    target = troupe.scene("inn", ["mara", "bram"])
    troupe.until_line(target, 1)
    gone: m.Request = m.Despawn(id="x", npc="mara")
    if how == "leave":
        gone = m.Leave(id="x", scene="inn", npc="mara")
    troupe.ask(gone)
    assert of(troupe.until(target)).reason == "alone"
    assert troupe["bram"].audience is None
    assert troupe.ask(m.Leave(id="y", scene="inn", npc="bram")).code == "unknown_target"


def test_one_who_is_no_more_is_missed(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.scene("inn", list(THREE), turns=5)
    troupe.until_line(target, 3)
    troupe.ask(m.Despawn(id="d", npc="bram"))
    assert of(troupe.until(target)).n_turns == 5
    assert "*Bram leaves Wren and Mara.*" in troupe.heard("mara")


def test_saved_and_loaded_in_the_middle(make: MakeTroupe) -> None:
    troupe = make(ambient_share=0.05)
    target = troupe.scene("inn", list(THREE), turns=64)
    troupe.until_line(target, 5)
    assert isinstance(troupe.fake, TimedLlama)
    troupe.fake.seconds = 0.05  # long pauses: a slow disk must not outlast the scene
    assert isinstance(troupe.save("s"), m.Saved)
    troupe.fake.seconds = 0.0
    assert (GAME, target) in troupe.open
    troupe.until_line(target, len(troupe.texts(target, m.Line)) + 4)
    assert isinstance(troupe.load("s", ["bram"]), m.Loaded)
    assert troupe["bram"].audience is None
    assert "km0x." in troupe.heard("bram")
    troupe.event("A bell.")
    n_turns = len(troupe.speakers(target))
    troupe.until_line(target, len(troupe.texts(target, m.Line)) + 6)
    assert set(troupe.speakers(target)[n_turns:]) == {"mara", "wren"}
    assert isinstance(troupe.load("s"), m.Loaded)
    assert of(troupe.until(target)).reason == "alone"
    troupe.event("A gong.")
    troupe.rest()
    for npc in THREE:
        assert troupe.talk_of(npc).endswith(".\n*A gong.*\n"), "a heard line lost its end"
    assert troupe.talk("wren").reason == "stop"


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_save_amid_an_answer_keeps_what_it_answers(make: MakeTroupe, recurrent: bool) -> None:
    """It was heard, as by all others; only the answer is as if not yet said."""
    troupe = make(recurrent=recurrent)
    target = troupe.scene("inn", ["mara", "bram"], turns=4)
    troupe.until_line(target, 3)
    assert troupe["bram"].is_speaking
    troupe.save("a")
    troupe.cancel(target)
    troupe.load("a")
    assert "Mara: km0 is so. And km0x." in troupe.talk_of("bram")
    assert "Bram: kb0" not in troupe.talk_of("bram")
    troupe.talk("bram")
    assert "Mara: km0 is so. And km0x.\nHello." in troupe.talk_of("bram")


def test_a_save_keeps_what_is_on_its_way_to_one_who_speaks(make: MakeTroupe) -> None:
    troupe = make()
    target = troupe.scene("inn", list(THREE), turns=4)
    troupe.until_line(target, 1)
    troupe.say("bram", priority="near")
    troupe.until_line(target, 2)
    while not troupe["bram"].waiting(Overheard):
        troupe.step()
    assert troupe["bram"].is_speaking
    troupe.save("a")
    troupe.cancel(target)
    troupe.load("a")
    assert "Mara: km0 is so.\nMara: And km0x.\n" in troupe.talk_of("bram") + "\n"


def test_a_save_right_behind_a_cancel_keeps_nothing_that_was_not_heard(make: MakeTroupe) -> None:
    """As a game does that the player leaves: no step comes between."""
    troupe = make()
    target = troupe.scene("inn", ["mara", "bram"], turns=4)
    troupe.until_line(target, 4)
    troupe.cancel(target, heard=len(troupe.texts(target, m.Line)[0]))
    troupe.send(m.Save(id="save", slot="a"))
    troupe.load("a")
    for npc in ("mara", "bram"):
        assert "kb0" not in troupe.heard(npc)
        assert "km0 is so." in troupe.heard(npc)
        assert "km0x" not in troupe.heard(npc)
