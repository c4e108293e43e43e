import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npc_engine.cards.card import DEFAULT_RULES, Card
from npc_engine.cards.fields import MAX_TEXT
from npc_engine.errors import CardError
from tests.support.cards import CANARY, FULL, KNOWN, V3, json_values, texts

extras = st.dictionaries(texts.filter(lambda key: key not in KNOWN), json_values, max_size=4)

# Maps


def test_short_form_needs_only_a_name() -> None:
    assert Card.from_map({"name": " Mara "}) == Card("Mara")


@pytest.mark.parametrize(
    "data",
    [FULL, V3, {"spec": "chara_card_v2", "spec_version": "2.0", "data": FULL}, {"data": FULL}],
    ids=["flat", "v3", "v2", "data alone"],
)
def test_all_versions_give_the_same_card(data: dict[str, Any]) -> None:
    card = Card.from_map(data)
    assert card == Card.from_map(FULL)
    assert (card.name, card.char, card.tags) == ("Mara Venn", "Mara", ("inn",))
    assert card.extra["extensions"] == FULL["extensions"]


def test_a_games_own_data_key_in_a_flat_card_is_not_a_wrapper() -> None:
    card = Card.from_map({"name": "Mara", "data": {"hp": 3}})
    assert card.extra == {"data": {"hp": 3}}
    assert Card.from_map(card.to_map()).extra["data"] == {"hp": 3}


def test_null_counts_as_absent() -> None:
    fields = dict.fromkeys(KNOWN - {"name"}) | {"name": "Mara"}
    assert Card.from_map(fields) == Card("Mara")


def test_v2_keys_beside_data_survive() -> None:
    data = {"spec": "chara_card_v2", "data": {"name": "Mara"}, "fav": True, "chat": "a - b"}
    written = Card.from_map(data).to_map()
    assert (written["fav"], written["chat"]) == (True, "a - b")
    assert written["spec"] == "chara_card_v3"


def test_to_map_is_a_whole_v3_card_with_nothing_lost() -> None:
    written = Card.from_map(V3).to_map()
    assert (written["spec"], written["spec_version"]) == ("chara_card_v3", "3.0")
    assert {key: written["data"][key] for key in FULL} == FULL
    assert written["data"]["group_only_greetings"] == []  # V3 wants it
    assert "nickname" not in Card("Mara").to_map()["data"]


def test_to_map_shares_nothing_with_the_card() -> None:
    source = json.loads(json.dumps(V3))
    card = Card.from_map(source)
    source["data"]["extensions"]["my_game"]["portrait"] = "changed"
    card.to_map()["data"]["extensions"]["my_game"]["portrait"] = "changed"
    assert card.to_map()["data"]["extensions"] == FULL["extensions"]


@given(extras, extras)
def test_unknown_fields_survive(inner: dict[str, Any], outer: dict[str, Any]) -> None:
    head = {"spec": "chara_card_v2", "data": {"name": "Mara"} | inner}
    written = Card.from_map(outer | head).to_map()
    assert {key: written["data"][key] for key in inner} == inner
    assert {key: written[key] for key in outer if key not in ("spec", "data")} == {
        key: outer[key] for key in outer if key not in ("spec", "data")
    }
    assert Card.from_map(written).to_map() == written


@given(extras)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_saved_cards_load_as_they_were(tmp_path: Path, extra: dict[str, Any]) -> None:
    card = Card.from_map({"name": "Mära", "tags": ["a"], "extra\ud800": "\ud800"} | extra)
    card.save(tmp_path / "card.json")
    assert Card.load(tmp_path / "card.json").to_map() == card.to_map()


@given(json_values | st.dictionaries(st.sampled_from(sorted(KNOWN)), json_values))
def test_any_value_is_a_card_or_a_card_error(data: Any) -> None:
    try:
        card = Card.from_map(data)
    except CardError:
        return
    assert card.persona().encode()
    assert Card.from_map(card.to_map()).persona() == card.persona()


# Persona


def test_persona_in_full() -> None:
    assert Card.from_map(FULL).persona(user="Ann", rules="You are {{char}}.") == (
        "You are Mara.\n\nMara keeps an inn.\n\nPersonality: brisk\n\nScenario: Ann comes in.\n\n"
        "How Mara talks:\nAnn: Hello?\nMara: Mind the mat.\n\nRemember: Be kind."
    )


def test_empty_sections_leave_nothing_behind() -> None:
    assert Card("Mara", personality=" \n").persona(rules="Hi.") == "Hi."
    assert Card("Mara").persona(rules="") == ""


def test_default_rules_are_short() -> None:
    assert len(DEFAULT_RULES.split()) < 45
    assert Card("Mara").persona().startswith("You are Mara, talking face to face with Player.")


@pytest.mark.parametrize(
    ("system_prompt", "opening"),
    [
        ("", "Rule."),
        ("  ", "Rule."),
        ("Sing.", "Sing."),
        ("A {{original}} B {{ORIGINAL}}", "A Rule. B Rule."),
    ],
)
def test_system_prompt_replaces_or_wraps_the_rules(system_prompt: str, opening: str) -> None:
    assert Card("Mara", system_prompt=system_prompt).persona(rules="Rule.") == opening


def test_original_after_the_history_is_empty() -> None:
    card = Card("Mara", post_history_instructions="{{original}} Rhyme.")
    assert card.persona(rules="") == "Remember: Rhyme."


def test_only_what_is_meant_for_the_model_reaches_it() -> None:
    card = Card.from_map(V3 | {"creatorcomment": CANARY})
    shown = card.persona() + card.greeting() + str(card.examples())
    assert CANARY not in shown
    assert "inn" in shown


def test_persona_has_a_limit() -> None:
    half = "x" * (MAX_TEXT // 2)
    with pytest.raises(CardError, match="`persona` has"):
        Card("Mara", description=half, scenario=half).persona()
    with pytest.raises(CardError, match="`first_mes` has"):
        Card("Mara", first_mes="{{char}}" * 8000, nickname="x" * 200).greeting()


def test_texts_are_cleaned() -> None:
    card = Card("Ma\x00ra\nVenn", description="\ufeffa\x00b\r\nc\rd\te\x1b[1m\x85\ud800f")
    assert card.name == "Mara Venn"
    assert card.description == "ab\nc\nd\te[1mf"
    assert card.persona(user="A\nn\x00n", rules="{{user}}\ud800") == "A nn\n\nab\nc\nd\te[1mf"


def test_chance_is_settled_by_name_field_and_place() -> None:
    dice = "{{roll:d1000}} {{roll:d1000}}"
    card = Card("Mara", first_mes=dice, description=dice)
    first, second = card.greeting().split()
    assert first != second
    assert card.persona(rules="") != card.greeting()
    assert Card("Bram", first_mes=dice).greeting() != card.greeting()
    assert card.greeting() == "776 567"  # stable across versions and machines: saves rely on it


@given(st.text(st.sampled_from("{}:/,\\ d1<>\n") | st.sampled_from("charuserollpickandom")))
def test_any_macro_text_is_filled(text: str) -> None:
    card = Card("Mara", first_mes=text, mes_example=text, system_prompt=text)
    assert card.persona() == card.persona()
    assert isinstance(card.greeting(), str)


# Examples


def test_examples_are_parsed() -> None:
    text = (
        "A rainy night.\n{{user}}: Hi: there\nfriend\n<start>\nMara Venn: Soup?\n"
        "{{char}}:Bread?\nNote: none.\n<START>\n \n<START>"
    )
    card = Card("Mara Venn", nickname="Mara", mes_example=text)
    assert card.examples(user="Ann") == [
        [("", "A rainy night."), ("Ann", "Hi: there\nfriend")],
        [("Mara", "Soup?"), ("Mara", "Bread?\nNote: none.")],
    ]
    assert "A rainy night.\nAnn: Hi: there\nfriend\nMara: Soup?" in card.persona(user="Ann")


def test_no_examples() -> None:
    assert Card("Mara").examples() == []
    assert Card("Mara").greeting() == ""
