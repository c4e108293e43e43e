"""What comes into the open turn, where it stands, and what half-typed words may cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.overheard import overhear
from npc_engine.dialogue.paragraphs import as_event
from npc_engine.dialogue.taking_back import cut_back
from npc_engine.errors import BackendError
from npc_engine.kvcache.ledger import Kind
from tests.support.chat_templates import GEMMA
from tests.support.dialogues import BEGINNING, answer, fake_of, make, read, told


def test_events_stand_before_the_words_in_one_user_turn() -> None:
    npc = make()
    npc.open_turn.perceive("A wolf howls.")
    assert told(npc) == BEGINNING + "<|im_start|>user\n*A wolf howls.*\n"
    npc.open_turn.perceive("*It rains.*")
    npc.say("Player", "Hm?")
    assert told(npc).endswith(
        "user\n*A wolf howls.*\n*It rains.*\nHm?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_an_event_without_text_is_none() -> None:
    npc = make()
    npc.open_turn.perceive(" \x00\n")
    assert told(npc) == BEGINNING


def test_another_speaker_is_named_and_silence_is_shown() -> None:
    npc = make()
    npc.say("Old\nTom", "Ale!")
    assert "user\nOld Tom: Ale!<|im_end|>" in told(npc)
    answer(npc)
    npc.say("Player", " \n")
    assert "user\n...<|im_end|>" in told(npc)


def test_an_opened_and_emptied_first_turn_is_opened_right_again() -> None:
    for template in (None, GEMMA):
        npc = make(template=template)
        before = told(npc)
        npc.open_turn.perceive("A spark.", expires=5.0)
        npc.open_turn.expire(5.0)
        npc.say("Player", "Hi.")
        opener = "" if template else "<|im_start|>user\n"
        assert told(npc).startswith(before + opener + "Hi.<|im_end|>\n")


def test_words_that_were_heard_are_not_read_again() -> None:
    npc = make()
    npc.open_turn.read_typed("Player", "Who are")
    before = told(npc)
    assert before == BEGINNING + "<|im_start|>user\nWho are"
    n_prompt, n_cached, _ = npc.say("Player", "Who are you?")
    assert n_cached == len(fake_of(npc).held(0)), "all of it is still there"
    assert npc.sequence.n_pending == len(" you?") + len(npc.chat_format.close)
    assert n_prompt == len("Who are you?") + len(npc.chat_format.close)
    assert told(npc).endswith("user\nWho are you?<|im_end|>\n<|im_start|>assistant\n")


def test_words_that_differ_cost_only_the_difference() -> None:
    npc = make()
    npc.open_turn.read_typed("Player", "Who are you and what")
    n_read = len(told(npc).encode())
    npc.open_turn.read_typed("Player", "Who art")
    assert npc.sequence.n_pending == 1
    assert told(npc).endswith("user\nWho art")
    _, n_cached, _ = npc.say("Player", "Hey")
    assert npc.sequence.n_pending == len("Hey") + len(npc.chat_format.close)
    assert n_cached == npc.ledger.n_pinned + len(npc.chat_format.open)
    assert told(npc).endswith("user\nHey<|im_end|>\n<|im_start|>assistant\n")
    assert n_read > n_cached


def test_an_event_goes_before_the_words_that_are_being_typed() -> None:
    npc = make()
    npc.open_turn.perceive("Rain.")
    npc.open_turn.read_typed("Player", "Is that")
    assert told(npc).endswith("user\n*Rain.*\nIs that")
    npc.open_turn.perceive("Thunder.")
    assert told(npc).endswith("user\n*Rain.*\n*Thunder.*\nIs that")
    npc.say("Player", "Is that you?")
    assert told(npc).endswith("*Thunder.*\nIs that you?<|im_end|>\n<|im_start|>assistant\n")


def test_an_event_that_is_over_leaves_also_behind_typed_words() -> None:
    npc = make()
    npc.open_turn.perceive("A spark.", expires=10.0)
    npc.open_turn.perceive("Rain.")
    npc.open_turn.read_typed("Player", "Hm")
    told(npc)
    npc.open_turn.expire(9.9)
    assert "*A spark.*" in told(npc)
    npc.open_turn.expire(10.0)
    npc.say("Player", "Hm?")
    assert told(npc) == BEGINNING + (
        "<|im_start|>user\n*Rain.*\nHm?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_events_of_past_turns_do_not_expire() -> None:
    npc = make()
    npc.open_turn.perceive("A spark.", expires=10.0)
    npc.say("Player", "Hm?")
    answer(npc)
    npc.open_turn.expire(99.0)
    assert "*A spark.*\nHm?" in told(npc)


@settings(max_examples=20, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_what_was_heard_makes_no_difference_to_what_is_read(heard: str, said: str) -> None:
    with_draft, without = make(), make()
    with_draft.open_turn.read_typed("Player", heard)
    read(with_draft)
    for npc in (with_draft, without):
        npc.say("Player", said)
    assert told(with_draft) == told(without)


def test_an_event_beside_a_long_line_being_typed_stays_within_the_window() -> None:
    npc = make(window=300)
    for _ in range(8):
        npc.open_turn.read_typed("Player", "x" * 300)
        npc.open_turn.perceive("y" * 300)
        assert npc.ledger.n_tokens <= 300
        told(npc)


def turns_of(dialogue: Dialogue) -> set[int]:
    return {s.turn for s in dialogue.ledger.segments} - {0, dialogue.turn}


def talk_until_full(dialogue: Dialogue) -> None:
    while not dialogue.ledger.n_evicted:
        dialogue.say("Player", "Where is the cellar key?")
        read(dialogue)
        for token in b"Under the stone.":
            dialogue.speak(token)
        dialogue.finish("Under the stone.", 16, interrupted=False)
        read(dialogue)


LONG = "I was going to tell you of the sea. " * 6


def test_nothing_leaves_for_words_that_are_deleted_again() -> None:
    npc = make(window=500)
    talk_until_full(npc)
    known = turns_of(npc)
    for n in range(0, len(LONG), 20):
        npc.open_turn.read_typed("Player", LONG[:n])
        read(npc)
        assert npc.ledger.n_tokens <= npc.ledger.window
        assert turns_of(npc) == known
    npc.open_turn.read_typed("Player", "")
    assert turns_of(npc) == known


def test_what_was_half_typed_is_said_whole_and_makes_its_room_then() -> None:
    npc, other = make(window=500), make(window=500)
    for one in (npc, other):
        talk_until_full(one)
    npc.open_turn.read_typed("Player", LONG)
    read(npc)
    n_read = len(npc.open_turn.typed.tokens) if npc.open_turn.typed else 0
    assert 0 < n_read < len(LONG), "only its beginning has room"
    known = turns_of(npc)
    for one in (npc, other):
        one.say("Player", LONG)
        read(one)
    assert npc.ledger.tokens() == other.ledger.tokens()
    assert turns_of(npc) < known


def test_typed_words_take_no_room_of_an_event_that_just_has_it() -> None:
    """The user turn is open already, and is not opened a second time."""
    npc = make(window=500)
    while npc.ledger.window - npc.ledger.n_tokens > 60:
        npc.say("Player", "So?")
        read(npc)
        npc.finish("", 0, interrupted=False)
    n_free = npc.ledger.window - npc.ledger.n_tokens - len(npc.chat_format.open)
    npc.open_turn.read_typed("Player", LONG)
    npc.open_turn.perceive("x" * (n_free - len(as_event("x")) + 1))
    assert npc.ledger.n_tokens == npc.ledger.window
    assert npc.ledger.n_evicted == 0


def test_typed_words_take_no_room_of_a_fact_that_just_has_it() -> None:
    """What opens their turn gives way, too."""
    npc = make(window=500)
    while npc.ledger.window - npc.ledger.n_tokens > 90:
        npc.say("Player", "So?")
        read(npc)
        npc.finish("", 0, interrupted=False)
    event = as_event("")
    n_free = npc.ledger.window - npc.ledger.n_tokens
    npc.open_turn.read_typed("Player", LONG)
    npc.insert(event, "x" * (n_free - npc.n_turn(event, "")), pinned=True)
    assert npc.ledger.n_tokens == npc.ledger.window
    assert npc.ledger.n_evicted == 0
    assert npc.open_turn.typed is None


@pytest.mark.parametrize("comes", ["event", "pin", "talk of others", "a cut"])
def test_half_typed_words_give_way_to_whatever_comes(comes: str) -> None:
    """With nothing typed, each of these has room as things are: so nothing leaves for it."""
    npc = make(window=500)
    while npc.ledger.window - npc.ledger.n_tokens > 170:
        npc.say("Player", "So?")
        read(npc)
        for token in b"So it is.":
            npc.speak(token)
        npc.finish("So it is.", 9, interrupted=False)
    npc.open_turn.read_typed("Player", LONG)
    read(npc)
    assert npc.ledger.n_tokens == npc.ledger.window
    if comes == "event":
        npc.open_turn.perceive("A bell tolls in the tower.")
    elif comes == "pin":
        npc.insert(as_event("The key is under the stone"), "*nods*", pinned=True)
    elif comes == "talk of others":
        overhear(npc, 7, "Bram", "Good evening")
        overhear(npc, 7, "Bram", " to you all.")
    else:
        assert cut_back(npc, npc.turn - 1, "So", 2)
    read(npc)
    assert npc.ledger.n_evicted == 0
    assert npc.ledger.n_tokens <= npc.ledger.window
    assert npc.open_turn.typed is None or npc.open_turn.typed is npc.ledger.segments[-1]


# -- its own promises, without a turn around it ------------------------------------------------


def lines(npc: Dialogue) -> list[str]:
    return [s.text for s in npc.open_turn.events]


def test_it_begins_where_the_persona_or_the_last_turn_ends() -> None:
    npc = make()
    assert npc.open_turn.segments == []
    npc.open_turn.perceive("Rain.")
    assert [s.kind for s in npc.open_turn.segments] == [Kind.OPEN, Kind.EVENT]
    npc.say("Player", "Hm?")
    answer(npc)
    assert npc.open_turn.segments == []
    assert npc.open_turn.number == npc.turn == 2


def test_an_event_of_the_same_words_takes_the_place_of_the_first() -> None:
    """The greater importance and the later end count, and no end is later than any other."""
    turn = make().open_turn
    assert not turn.perceive("Rain.", 0.3, expires=5.0)
    assert not turn.perceive("Thunder.")
    assert turn.perceive("Rain.", 0.2, expires=4.0)
    assert [(s.text, s.importance, s.expires) for s in turn.events] == [
        ("*Thunder.*\n", 0.5, None),
        ("*Rain.*\n", 0.3, 5.0),
    ]
    assert turn.perceive("Rain.", 0.9, expires=None)
    assert (turn.events[-1].importance, turn.events[-1].expires) == (0.9, None)
    assert turn.perceive("Thunder.", expires=9.0)
    assert turn.events[-1].expires is None


def test_the_same_words_again_at_the_tail_are_not_read_again() -> None:
    npc = make()
    npc.open_turn.perceive("Rain.")
    read(npc)
    assert npc.open_turn.perceive("Rain.", 0.8)
    assert npc.sequence.n_pending == 0
    assert npc.open_turn.events[0].importance == 0.8


def test_the_least_important_events_leave_and_no_talk() -> None:
    npc = make()
    npc.open_turn.add_heard("Bram: Show me.", 7, "Bram")
    for text, importance in [("One.", 0.9), ("Two.", 0.1), ("Three.", 0.5), ("Four.", 0.5)]:
        npc.open_turn.perceive(text, importance)
    assert npc.open_turn.forget_events(2) == 2
    assert lines(npc) == ["Bram: Show me.\n", "*One.*\n", "*Four.*\n"]
    assert npc.open_turn.forget_events(2) == 0


def test_it_tells_how_many_are_over_and_when_the_next_will_be() -> None:
    turn = make().open_turn
    for text, end in [("One.", 3.0), ("Two.", 9.0), ("Three.", None)]:
        turn.perceive(text, expires=end)
    assert turn.expire(2.0) == (0, 3.0)
    assert turn.expire(3.0) == (1, 9.0)
    assert turn.expire(9.0) == (1, None)
    assert [s.text for s in turn.events] == ["*Three.*\n"]


def test_what_is_answered_is_not_read_twice_where_it_stands_last() -> None:
    npc = make()
    npc.open_turn.add_heard("Bram: Show me.", 7, "Bram")
    read(npc)
    assert npc.open_turn.take_up("Bram", 7) == "Bram: Show me."
    said = npc.open_turn.end_with("Bram: Show me.", 0)
    assert (said.kind, npc.sequence.n_pending) == (Kind.SAID, 0)
    assert npc.open_turn.typed is None


def test_what_is_answered_moves_behind_what_came_between() -> None:
    npc = make()
    npc.open_turn.add_heard("Bram: Show me.", 7, "Bram")
    npc.open_turn.perceive("Thunder.")
    npc.open_turn.add_heard("Bram: Now.", 7, "Bram")
    assert npc.open_turn.take_up("Bram", 7) == "Bram: Show me. Now."
    assert lines(npc) == ["*Thunder.*\n"]
    assert npc.open_turn.take_up("Bram", 7) == "", "it is there no more"


def test_half_typed_words_are_put_aside_with_the_opener_that_only_they_need() -> None:
    npc = make()
    assert npc.open_turn.put_typed_aside() == ""
    npc.open_turn.read_typed("Player", "Who a")
    assert npc.open_turn.put_typed_aside() == "Who a"
    assert npc.open_turn.segments == []
    npc.open_turn.perceive("Rain.")
    npc.open_turn.read_typed("Player", "Who a")
    assert npc.open_turn.put_typed_aside() == "Who a"
    assert [s.kind for s in npc.open_turn.segments] == [Kind.OPEN, Kind.EVENT]


def test_half_typed_words_whose_say_fails_are_half_typed_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    npc = make()
    npc.open_turn.read_typed("Player", "Who are")

    def fail(*_: object) -> None:
        raise BackendError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(npc.sequence, "make_room", fail)
        with pytest.raises(BackendError):
            npc.say("Player", "Who are you?")
    npc.say("Player", "Who goes there?")
    assert told(npc).startswith(BEGINNING + "<|im_start|>user\nWho goes there?<|im_end|>\n")
