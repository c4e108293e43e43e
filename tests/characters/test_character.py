"""One character: barge-in, its inbox, and that a turn is whole however it ends."""

from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.config import N_RECENT
from npc_engine.dialogue.overheard import overhear
from tests.support.rig import GAME, MakeRig, Rig, TimedLlama, scripted

LINE = "*nods* I am Mara. Sit down. Warm yourself by the fire."
OTHER = b"other"


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    rig = make_rig(fake=TimedLlama(mind=scripted(LINE)))
    rig.spawn("mara")
    rig.rest()
    return rig


def speak(rig: Rig, n_lines: int, **keys: Any) -> str:
    """Let Mara speak until she has said so many lines."""
    target = rig.say("mara", "Who are you?", **keys)
    while len(rig.texts(target, m.Line)) < n_lines:
        rig.step()
    return target


def cancelled(rig: Rig, target: str, heard: int | None = None) -> m.Done:
    """Cancel at once, and check that both requests end within one step."""
    cancel = rig.cancel(target, heard)
    rig.step()
    assert rig.records(cancel) == [m.Ok(id=cancel, cancelled=True)]
    done = rig.records(target)[-1]
    assert isinstance(done, m.Done)
    assert done.reason == "cancelled"
    return done


def kinds(rig: Rig) -> list[str]:
    return [s.kind.value for s in rig["mara"].dialogue.ledger.segments]


WHOLE_TURN = ["persona", "open", "said", "close", "reply", "end"]


@pytest.mark.parametrize(
    ("heard", "text"),
    [
        (0, ""),
        (1, "*nods* I"),
        (4, "*nods* I am"),
        (10, "*nods* I am Mara."),
        (13, "*nods* I am Mara. Sit"),
        (15, "*nods* I am Mara. Sit d"),
        (17, "*nods* I am Mara. Sit dow"),
        (20, "*nods* I am Mara. Sit down."),
        (9_999, "*nods* I am Mara. Sit down."),
        (None, None),
    ],
)
def test_a_character_remembers_what_was_heard_and_a_dash(
    rig: Rig, heard: int | None, text: str | None
) -> None:
    target = speak(rig, 2, stream=["text", "line"])
    so_far = "".join(rig.texts(target, m.Text))
    done = cancelled(rig, target, heard)
    assert done.text == (so_far if text is None else text)
    assert rig.last_reply("mara") == done.text + "\u2014"
    assert kinds(rig) == WHOLE_TURN
    rig.rest()
    assert rig.talk("mara", "Go on.").text == LINE


def test_cancel_in_the_middle_of_a_first_line(rig: Rig) -> None:
    target = rig.say("mara", stream=["text"])
    while len("".join(rig.texts(target, m.Text))) < 12:
        rig.step()
    done = cancelled(rig, target)
    assert done.text == "".join(rig.texts(target, m.Text))
    assert LINE.startswith(done.text)
    assert rig.last_reply("mara") == done.text + "\u2014"


def test_cancel_counts_bytes_and_characters_apart(rig: Rig) -> None:
    rig.fake.mind = scripted("Caf\u00e9 na\u00efve \U0001f600 \u4e2d\u6587. Next line here.")
    target = speak(rig, 1)
    done = cancelled(rig, target, heard=7)
    assert done.text == "Caf\u00e9 na"
    assert rig.last_reply("mara") == "Caf\u00e9 na\u2014"


def test_cancel_while_it_waits(rig: Rig) -> None:
    first = rig.say("mara", "One?")
    second = rig.say("mara", "Two?")
    third = rig.say("mara", "Three?")
    rig.steps(4)
    rig.now += 2
    done = cancelled(rig, second, heard=5)
    assert (done.text, done.stats.n_decoded) == ("", 0)
    assert done.stats.queue_ms == done.stats.total_ms == 2000
    assert rig.until(first).reason == "stop"
    assert rig.until(third).reason == "stop"
    assert "Two?" not in rig.heard("mara")


def test_cancel_at_once(rig: Rig) -> None:
    done = cancelled(rig, rig.say("mara", "One?"))
    assert done.text == ""
    assert kinds(rig) == ["persona"]


def test_cancel_while_it_reads(rig: Rig) -> None:
    before = rig["mara"].dialogue.turn
    target = rig.say("mara", "A long question. " * 6)
    rig.step()
    assert rig["mara"].generation is not None
    assert rig["mara"].generation.first is None
    done = cancelled(rig, target)
    assert (done.text, done.stats.n_decoded, done.stats.ttft_ms) == ("", 0, 0)
    assert kinds(rig) == WHOLE_TURN
    assert rig["mara"].dialogue.turn == before + 1
    assert rig.talk("mara").text == LINE


def test_a_say_ends_once(rig: Rig) -> None:
    target = speak(rig, 1)
    rig.cancel(target)
    again = rig.cancel(target)
    rig.step()
    error = rig.records(again)[-1]
    assert isinstance(error, m.Error)
    assert error.code == "unknown_target"
    assert repr(target) in error.message


@pytest.mark.parametrize(
    ("heard", "text"),
    [(0, ""), (13, "*nods* I am Mara. Sit"), (21, "*nods* I am Mara. Sit down. Wa")],
)
def test_a_line_is_mostly_cut_after_its_end(rig: Rig, heard: int, text: str) -> None:
    """It is decoded faster than it is spoken aloud."""
    target = rig.say("mara", "Who are you?")
    rig.until(target)
    rig.event("A bell.")
    rig.hear("mara", "But w")
    rig.rest()
    ok = rig.ask(m.Cancel(id="c", target=target, heard=heard))
    assert ok == m.Ok(id="c", cancelled=False)
    assert rig.last_reply("mara") == text + "\u2014"
    assert kinds(rig) == [*WHOLE_TURN, "open", "event", "said"]
    again = rig.ask(m.Cancel(id="c", target=target, heard=heard))
    assert isinstance(again, m.Error)
    rig.rest()
    assert rig.talk("mara", "But why?").text == LINE
    assert "But w<" not in rig.heard("mara")


def test_a_line_that_was_heard_to_its_end_stays(rig: Rig) -> None:
    target = rig.say("mara", "Who are you?")
    rig.until(target)
    for heard in (9_999, 45):
        ok = rig.ask(m.Cancel(id="c", target=target, heard=heard))
        assert ok == m.Ok(id="c", cancelled=False)
        assert rig.last_reply("mara") == LINE


def test_only_the_last_line_can_be_cut_after_its_end(rig: Rig) -> None:
    first = rig.say("mara", "One?")
    rig.until(first)
    foreign = rig.ask(m.Cancel(id="c", target=first, heard=1), OTHER)
    assert foreign.code == "unknown_target"
    assert rig.ask(m.Cancel(id="c", target=first)).code == "unknown_target"
    speak(rig, 1)
    assert rig.ask(m.Cancel(id="c", target=first, heard=1)).code == "unknown_target"
    rig.rest()
    assert rig.ask(m.Cancel(id="c", target=first, heard=1)).code == "unknown_target"
    assert rig.heard("mara").count(LINE) == 2


def test_cancel_means_the_open_say_of_an_id_that_was_used_before(rig: Rig) -> None:
    rig.spawn("bob")
    rig.ask(m.Say(id="same", npc="mara", text="One?"))
    rig.send(m.Say(id="same", npc="bob", text="Two?"))
    rig.steps(4)
    cancelled(rig, "same", heard=0)
    assert rig.last_reply("mara") == LINE
    assert rig.last_reply("bob") == "\u2014"


def test_a_client_cancels_only_its_own(rig: Rig) -> None:
    target = speak(rig, 1)
    foreign = rig.cancel(target, client=OTHER)
    assert rig.until(foreign, OTHER).code == "unknown_target"
    # the same id, of two clients
    rig.send(m.Say(id=target, npc="mara", text="And I?"), OTHER)
    own = rig.cancel(target, client=OTHER)
    rig.until(own, OTHER)
    assert rig.by_id[OTHER, target][-1].reason == "cancelled"  # type: ignore[attr-defined]
    assert rig.until(target).reason == "stop"


def test_cancel_finds_a_say_and_not_an_event_of_the_same_id(rig: Rig) -> None:
    speak(rig, 1)
    rig.ask(m.Event(id="same", npcs="*", text="A bell."))
    rig.send(m.Say(id="same", npc="mara", text="Hm?"))
    cancelled(rig, "same")
    rig.rest()
    assert "A bell." in rig.heard("mara")
    assert "Hm?" not in rig.heard("mara")


@pytest.mark.parametrize("why", ["slow_client", "cancelled"])
def test_a_client_that_is_dropped(rig: Rig, why: Any) -> None:
    first = speak(rig, 1)
    others = rig.send(m.Say(id="o", npc="mara", text="And I?"), OTHER)
    rig.event("A bell.")
    second = rig.say("mara", "Well?")
    rig.engine.drop(GAME, why)
    assert rig.engine.patience() == 0
    rig.step()
    ended = [rig.records(i)[-1] for i in (first, second)]
    assert [r.reason for r in ended] == [why, why]
    assert rig.until(others, OTHER).reason == "stop"
    rig.rest()
    assert "A bell." in rig.heard("mara"), "it happened, whoever told of it"
    assert "Well?" not in rig.heard("mara")


def test_despawn_ends_what_is_said(rig: Rig) -> None:
    first = speak(rig, 1)
    second = rig.send(m.Say(id="o", npc="mara", text="And I?"), OTHER)
    rig.event("A bell.")
    slot = rig["mara"].dialogue.sequence.slot
    assert slot is not None
    rig.ask(m.Despawn(id="d", npc="mara"))
    assert rig.until(first).reason == "cancelled"
    assert rig.until(second, OTHER).reason == "cancelled"
    assert rig.fake.slots[slot] == {}
    rig.spawn("mara")
    rig.rest()
    assert "Who are you?" not in rig.heard("mara")
    assert "A bell." not in rig.heard("mara")


def test_close_ends_what_is_said(rig: Rig) -> None:
    first = speak(rig, 1)
    second = rig.say("mara", "And?")
    rig.close()
    assert rig.records(first)[-1].reason == "cancelled"
    assert rig.records(first)[-1].text.startswith("*nods* I am Mara.")
    assert rig.records(second)[-1].reason == "cancelled"
    assert rig.fake.closed


def test_notes_count_for_their_turn_alone(rig: Rig) -> None:
    seen: list[bool] = []

    def mind(tokens: Any) -> int:
        seen.append(b"It is raining" in bytes(t for t in tokens if t < 256))
        return scripted("Hm.")(tokens)

    rig.fake.mind = mind
    rig.talk("mara", notes=["It is raining."])
    assert all(seen)
    seen.clear()
    rig.talk("mara")
    assert not any(seen)
    rig.rest()


def test_speakers_are_told_apart(rig: Rig) -> None:
    rig.talk("mara", "Hello.", speaker="Eve")
    rig.talk("mara", "Hello.")
    heard = rig.heard("mara")
    assert "Eve: Hello." in heard
    assert "Player:" not in heard
    rig.fake.mind = scripted("Well.\nEve: I am here.")
    assert rig.talk("mara", "Hm?", speaker="Eve").text == "Well."


def test_seeds_differ_by_turn_and_recent_words_are_given(rig: Rig) -> None:
    rig.talk("mara")
    rig.talk("mara")
    first, second = rig.fake.samplers
    assert first.seed != second.seed
    assert first.recent == []
    assert bytes(second.recent) == LINE.encode()[-N_RECENT:]
    for _ in range(N_RECENT // len(LINE) + 1):
        rig.talk("mara")
    recent = bytes(rig.fake.samplers[-1].recent)
    assert 2 * len(LINE) < len(recent) <= N_RECENT
    assert (LINE * 9).encode().endswith(recent)


def test_what_may_be_repeated_is_the_card_the_player_and_the_pins(rig: Rig) -> None:
    """Not what it said itself, and not what others say to each other: they would echo for ever."""
    rig.talk("mara", "The word is heron.")
    done = rig.talk("mara", "Remember this.")
    rig.ask(m.Pin(id="pin", npc="mara", turn=done.turn))
    rig.event("A bell rings.")
    overhear(rig["mara"].dialogue, 99, "Bram", "Wolves again!")
    rig.talk("mara", "Again?")
    texts = list(rig.fake.samplers[-1].quotable())
    said = "\n".join(texts)
    for quoted in ("Mara keeps", "word is heron", "A bell rings.", "Again?"):
        assert quoted in said
    assert "Wolves" not in said
    assert said.count(done.text) == 1  # the pinned one


def test_a_seed_of_the_cards_own_decides(tmp_path: Path) -> None:
    seeds = []
    for seed in (7, 7, 8):
        rig = Rig(tmp_path)
        rig.spawn("mara", sampling={"seed": seed})
        rig.talk("mara")
        seeds.append(rig.fake.samplers[0].seed)
        rig.close()
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize("cut_at", range(1, 40, 3))
def test_wherever_it_is_cut_the_next_turn_is_well_formed(rig: Rig, cut_at: int) -> None:
    target = rig.say("mara", "Who? " * 9)
    rig.steps(cut_at)
    if (GAME, target) in rig.open:
        cancelled(rig, target, cut_at // 2)
    rig.event("A bell.")
    rig.talk("mara", "And now?")
    assert kinds(rig) == [*WHOLE_TURN, "open", "event", *WHOLE_TURN[2:]]
