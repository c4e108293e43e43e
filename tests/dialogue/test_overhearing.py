"""Others' talk in a character's own timeline: it grows, is answered, is cut, never doubled."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.cards.card import Card
from npc_engine.config import Sampling
from npc_engine.dialogue.dialogue import CUT_OFF, Dialogue
from npc_engine.dialogue.overheard import Overheard, Unheard, Unsaid
from npc_engine.dialogue.overhearing import on_its_way, overhear, unhear
from npc_engine.kvcache.ledger import Kind
from tests.support.fake_llama import FakeLlama

MakeNpc = Callable[..., Dialogue]


def make_npc(window: int = 400) -> Dialogue:
    fake = FakeLlama(n_cells=window)
    return Dialogue.create(
        "wren", Card(name="Wren", system_prompt="Wren."), fake.chat_format(), fake,
        sampling=Sampling(), window=window, n_pos=fake.n_pos,
    )  # fmt: skip


def behind_persona(npc: Dialogue) -> list[tuple[Kind, str]]:
    kinds = (Kind.PERSONA, Kind.OPEN, Kind.CLOSE, Kind.END, Kind.REPLY)
    found = [s for s in npc.ledger.segments if s.kind not in kinds]
    for segment in found:
        assert bytes(segment.tokens).decode() == segment.text
    return [(s.kind, s.text) for s in found]


def test_a_line_grows_while_it_is_spoken() -> None:
    npc = make_npc()
    overhear(npc, 1, "Bram", "One.")
    first = list(npc.ledger.tokens())
    overhear(npc, 1, "Bram", "  Two.")
    overhear(npc, 1, "Bram", "\u2014")
    assert behind_persona(npc) == [(Kind.EVENT, "Bram: One. Two.\u2014")]
    assert npc.ledger.tokens()[: len(first)] == first, "what was read stays"
    overhear(npc, 2, "Mara", "Three.")
    assert behind_persona(npc)[0] == (Kind.EVENT, "Bram: One. Two.\u2014\n")


def test_the_line_that_is_answered_becomes_what_was_said() -> None:
    npc = make_npc()
    overhear(npc, 1, "Mara", "One.")
    overhear(npc, 2, "Bram", "Two.")
    n_before = len(npc.ledger.tokens())
    npc.say("Bram", "something else", answers=2)
    assert behind_persona(npc) == [(Kind.EVENT, "Mara: One.\n"), (Kind.SAID, "Bram: Two.")]
    assert len(npc.ledger.tokens()) == n_before + len(npc.chat_format.close)


def test_where_it_broke_off_behind_something_else_is_no_line() -> None:
    npc = make_npc()
    overhear(npc, 1, "Bram", "Good day.")
    npc.perceive("A bell rings.")
    before = npc.ledger.tokens()
    overhear(npc, 1, "Bram", CUT_OFF)
    assert npc.ledger.tokens() == before


def test_what_came_between_stands_before_it() -> None:
    npc = make_npc()
    overhear(npc, 2, "Bram", "One.")
    npc.perceive("A bell.")
    overhear(npc, 2, "Bram", " Two.")
    npc.hear("Player", "Half")
    npc.say("Bram", "", answers=2)
    assert behind_persona(npc) == [(Kind.EVENT, "*A bell.*\n"), (Kind.SAID, "Bram: One. Two.")]


def test_half_typed_words_stay_behind_what_is_heard() -> None:
    npc = make_npc()
    npc.hear("Player", "Who a")
    overhear(npc, 1, "Bram", "One.")
    overhear(npc, 1, "Bram", " Two.")
    assert behind_persona(npc) == [
        (Kind.EVENT, "Bram: One.\n"), (Kind.EVENT, "Bram: Two.\n"), (Kind.SAID, "Who a"),
    ]  # fmt: skip
    npc.say("Player", "Who are you?")
    assert behind_persona(npc)[-1] == (Kind.SAID, "Who are you?")


def test_one_who_has_not_heard_it_is_told() -> None:
    npc = make_npc()
    npc.say("Bram", "One.", answers=7)
    assert behind_persona(npc) == [(Kind.SAID, "Bram: One.")]


def test_a_cut_line_is_shorter() -> None:
    npc = make_npc()
    overhear(npc, 1, "Bram", "One. Two.")
    npc.perceive("A bell.")
    unhear(npc, 1, "Bram", "On")
    assert behind_persona(npc) == [(Kind.EVENT, "*A bell.*\n"), (Kind.EVENT, "Bram: On\u2014")]
    unhear(npc, 1, "Bram", "")
    assert behind_persona(npc) == [(Kind.EVENT, "*A bell.*\n")]
    unhear(npc, 1, "Bram", "One.")
    assert behind_persona(npc) == [(Kind.EVENT, "*A bell.*\n")], "it had not heard of it"


def test_a_line_heard_in_two_turns_is_cut_in_the_open_one() -> None:
    npc = make_npc()
    overhear(npc, 1, "Bram", "One.")
    npc.say("Player", "Well?")
    npc.finish("", 0, interrupted=False)
    overhear(npc, 1, "Bram", " Two.")
    assert behind_persona(npc)[-1] == (Kind.EVENT, "Bram: Two.")
    unhear(npc, 1, "Bram", "One.")
    texts = [text for _, text in behind_persona(npc)]
    assert texts == ["Bram: One.\n", "Well?"]


@pytest.mark.parametrize("name", ["", "Bra\nm\x00", "Player"])
def test_any_name(name: str) -> None:
    npc = make_npc()
    overhear(npc, 1, name, "One.")
    npc.say(name, "", answers=1)
    ((_, text),) = behind_persona(npc)
    assert text.endswith("One.") and "\n" not in text


@given(st.lists(st.tuples(st.integers(1, 3), st.text(max_size=120)), max_size=20))
def test_any_talk_fits(talk: list[tuple[int, str]]) -> None:
    npc = make_npc(window=200)
    for number, text in talk:
        overhear(npc, number, f"N{number}", text)
        assert npc.ledger.n_tokens <= 200
        assert npc.ledger.n_tokens == sum(len(s.tokens) for s in npc.ledger.segments)
    number = talk[-1][0] if talk else 1
    npc.say(f"N{number}", "", answers=number)
    assert sum(s.kind is Kind.SAID for s in npc.ledger.segments) == 1
    assert not npc.heard_of(number)


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
