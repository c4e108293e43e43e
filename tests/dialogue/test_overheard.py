"""Others' talk in a character's own timeline: it grows, is answered, is cut, never doubled."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.cards.card import Card
from npc_engine.config import Sampling
from npc_engine.dialogue.dialogue import CUT_OFF, Dialogue
from npc_engine.dialogue.overheard import Overheard, Unheard, Unsaid, on_its_way, overhear, unhear
from npc_engine.kvcache.ledger import Kind
from tests.support.fake_llama import FakeLlama

MakeNpc = Callable[..., Dialogue]


def make_dialogue(window: int = 400) -> Dialogue:
    fake = FakeLlama(n_cells=window)
    return Dialogue.create(
        "wren", Card(name="Wren", system_prompt="Wren."), fake.chat_format(), fake,
        sampling=Sampling(), window=window, n_pos=fake.n_pos,
    )  # fmt: skip


def behind_persona(dialogue: Dialogue) -> list[tuple[Kind, str]]:
    kinds = (Kind.PERSONA, Kind.OPEN, Kind.CLOSE, Kind.END, Kind.REPLY)
    found = [s for s in dialogue.ledger.segments if s.kind not in kinds]
    for segment in found:
        assert bytes(segment.tokens).decode() == segment.text
    return [(s.kind, s.text) for s in found]


def test_a_line_grows_while_it_is_spoken() -> None:
    dialogue = make_dialogue()
    overhear(dialogue, 1, "Bram", "One.")
    first = list(dialogue.ledger.tokens())
    overhear(dialogue, 1, "Bram", "  Two.")
    overhear(dialogue, 1, "Bram", "\u2014")
    assert behind_persona(dialogue) == [(Kind.EVENT, "Bram: One. Two.\u2014")]
    assert dialogue.ledger.tokens()[: len(first)] == first, "what was read stays"
    overhear(dialogue, 2, "Mara", "Three.")
    assert behind_persona(dialogue)[0] == (Kind.EVENT, "Bram: One. Two.\u2014\n")


def test_the_line_that_is_answered_becomes_what_was_said() -> None:
    dialogue = make_dialogue()
    overhear(dialogue, 1, "Mara", "One.")
    overhear(dialogue, 2, "Bram", "Two.")
    n_before = len(dialogue.ledger.tokens())
    dialogue.say("Bram", "something else", answers=2)
    assert behind_persona(dialogue) == [(Kind.EVENT, "Mara: One.\n"), (Kind.SAID, "Bram: Two.")]
    assert len(dialogue.ledger.tokens()) == n_before + len(dialogue.chat_format.close)


def test_where_it_broke_off_behind_something_else_is_no_line() -> None:
    dialogue = make_dialogue()
    overhear(dialogue, 1, "Bram", "Good day.")
    dialogue.open_turn.perceive("A bell rings.")
    before = dialogue.ledger.tokens()
    overhear(dialogue, 1, "Bram", CUT_OFF)
    assert dialogue.ledger.tokens() == before


def test_what_came_between_stands_before_it() -> None:
    dialogue = make_dialogue()
    overhear(dialogue, 2, "Bram", "One.")
    dialogue.open_turn.perceive("A bell.")
    overhear(dialogue, 2, "Bram", " Two.")
    dialogue.open_turn.read_typed("Player", "Half")
    dialogue.say("Bram", "", answers=2)
    assert behind_persona(dialogue) == [(Kind.EVENT, "*A bell.*\n"), (Kind.SAID, "Bram: One. Two.")]


def test_half_typed_words_stay_behind_what_is_heard() -> None:
    dialogue = make_dialogue()
    dialogue.open_turn.read_typed("Player", "Who a")
    overhear(dialogue, 1, "Bram", "One.")
    overhear(dialogue, 1, "Bram", " Two.")
    assert behind_persona(dialogue) == [
        (Kind.EVENT, "Bram: One.\n"), (Kind.EVENT, "Bram: Two.\n"), (Kind.SAID, "Who a"),
    ]  # fmt: skip
    dialogue.say("Player", "Who are you?")
    assert behind_persona(dialogue)[-1] == (Kind.SAID, "Who are you?")


def test_one_who_has_not_heard_it_is_told() -> None:
    dialogue = make_dialogue()
    dialogue.say("Bram", "One.", answers=7)
    assert behind_persona(dialogue) == [(Kind.SAID, "Bram: One.")]


def test_a_cut_line_is_shorter() -> None:
    dialogue = make_dialogue()
    overhear(dialogue, 1, "Bram", "One. Two.")
    dialogue.open_turn.perceive("A bell.")
    unhear(dialogue, 1, "Bram", "On")
    assert behind_persona(dialogue) == [(Kind.EVENT, "*A bell.*\n"), (Kind.EVENT, "Bram: On\u2014")]
    unhear(dialogue, 1, "Bram", "")
    assert behind_persona(dialogue) == [(Kind.EVENT, "*A bell.*\n")]
    unhear(dialogue, 1, "Bram", "One.")
    assert behind_persona(dialogue) == [(Kind.EVENT, "*A bell.*\n")], "it had not heard of it"


def test_a_line_heard_in_two_turns_is_cut_in_the_open_one() -> None:
    dialogue = make_dialogue()
    overhear(dialogue, 1, "Bram", "One.")
    dialogue.say("Player", "Well?")
    dialogue.finish("", 0, interrupted=False)
    overhear(dialogue, 1, "Bram", " Two.")
    assert behind_persona(dialogue)[-1] == (Kind.EVENT, "Bram: Two.")
    unhear(dialogue, 1, "Bram", "One.")
    texts = [text for _, text in behind_persona(dialogue)]
    assert texts == ["Bram: One.\n", "Well?"]


@pytest.mark.parametrize("name", ["", "Bra\nm\x00", "Player"])
def test_any_name(name: str) -> None:
    dialogue = make_dialogue()
    overhear(dialogue, 1, name, "One.")
    dialogue.say(name, "", answers=1)
    ((_, text),) = behind_persona(dialogue)
    assert text.endswith("One.") and "\n" not in text


@given(st.lists(st.tuples(st.integers(1, 3), st.text(max_size=120)), max_size=20))
def test_any_talk_fits(talk: list[tuple[int, str]]) -> None:
    dialogue = make_dialogue(window=200)
    for number, text in talk:
        overhear(dialogue, number, f"N{number}", text)
        assert dialogue.ledger.n_tokens <= 200
        assert dialogue.ledger.n_tokens == sum(len(s.tokens) for s in dialogue.ledger.segments)
    number = talk[-1][0] if talk else 1
    dialogue.say(f"N{number}", "", answers=number)
    assert sum(s.kind is Kind.SAID for s in dialogue.ledger.segments) == 1
    assert not dialogue.open_turn.heard_of(number)


def test_what_is_on_its_way_is_told_as_it_will_be_heard() -> None:
    said = Overheard(1, "Bram", " Hello."), Overheard(2, "Wren", "Rain. And wind.")
    assert on_its_way([*said, Overheard(1, "Bram", " Sit.")]) == [
        "Bram: Hello. Sit.",
        "Wren: Rain. And wind.",
    ]
    cut = Unheard(2, "Wren", "Rain.")
    assert on_its_way([*said, cut]) == ["Bram: Hello.", f"Wren: Rain.{CUT_OFF}"]
    assert on_its_way([*said, Unheard(2, "Wren", "")]) == ["Bram: Hello."]
    assert on_its_way([*said, Unsaid(frozenset({1, 7}))]) == ["Wren: Rain. And wind."]
    assert on_its_way([cut, "anything else"]) == []
