import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from npc_engine.cards.card import MAX_NOTICES, Card
from npc_engine.cards.shapes import sendable, to_send
from npc_engine.errors import CardError
from tests.support.cards import FULL, write

INN = {"name": "Mara", "description": "Keeps the inn."}
WRAPPED = {"spec": "chara_card_v3", "data": INN}


def exported(card: Card, *keys: str) -> Any:
    data = json.loads(json.dumps(card.to_map(), allow_nan=False))["data"]
    return [data.get(key) for key in keys]


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("tags", [1, 2.5], ("1", "2.5")),
        ("tags", ["a", None, False, ["b"], {}], ("a",)),
        ("tags", "a, b", ("a, b",)),
        ("tags", {}, ()),
        ("tags", 7, ()),
        ("alternate_greetings", "Hi.", ("Hi.",)),
        ("alternate_greetings", "", ()),
        ("alternate_greetings", [None, "Hi."], ("Hi.",)),
        ("scenario", 0, ""),
        ("personality", False, ""),
        ("mes_example", [], ""),
        ("first_mes", {}, ""),
        ("nickname", 0.0, ""),
    ],
)
def test_what_means_nothing_in_a_field_loads_and_leaves_as_it_came(
    key: str, value: Any, meant: Any
) -> None:
    card = Card.from_map(INN | {key: value})
    assert getattr(card, key) == meant
    assert exported(card, key) == [value]
    assert getattr(Card.from_map(card.to_map()), key) == meant
    assert Card.from_map(card.to_map()).to_map() == card.to_map()
    assert card.persona() == Card.from_map(INN).persona()


@pytest.mark.parametrize(
    "data",
    [
        {"spec": "chara_card_v2", "spec_version": "2.0", **INN},
        {"spec": "chara_card_v2", "data": None, **INN},
        {"spec": "chara_card_v2", "data": "", **INN},
        {"spec": "chara_card_v3", "data": WRAPPED},
        {"data": {"data": WRAPPED}},
        {"spec": "chara_card_v2", "name": "Mara", "data": INN | {"name": ""}},
        {"spec": "chara_card_v2", **INN, "data": {}},
        {"name": "", "data": INN},
        {"char_name": "Mara", "char_persona": "Keeps the inn."},
        {"char_name": "Mara", "char_persona": "Keeps the inn.", "name": "", "description": ""},
        {"spec": "chara_card_v2", "char_name": "Mara", "data": INN | {"name": " "}},
        {"name": "Mara", "persona": "Keeps the inn."},
        {"nickname": "Mara", "description": "Keeps the inn."},
        {"nickname": "Mara", "name": None, "description": "Keeps the inn."},
    ],
)
def test_every_shape_gives_the_same_character(data: dict[str, Any]) -> None:
    card = Card.from_map(data)
    assert (card.name, card.char, card.description) == ("Mara", "Mara", "Keeps the inn.")
    assert card.notices == []
    assert Card.from_map(card.to_map()).persona() == card.persona()
    assert Card.from_map(card.to_map()).to_map() == card.to_map()


def test_the_field_names_of_old_exports() -> None:
    card = Card.from_map(
        {
            "char_name": "Mara",
            "char_persona": "Keeps the inn.",
            "char_greeting": "Boots.",
            "world_scenario": "Rain.",
            "example_dialogue": "{{char}}: Soup?",
        }
    )
    assert card.first_mes == "Boots."
    assert card.scenario == "Rain."
    assert card.examples() == [[("Mara", "Soup?")]]
    assert exported(card, "char_name", "world_scenario") == ["Mara", "Rain."]


def test_what_the_card_says_itself_comes_first() -> None:
    outer = {"name": "Old", "scenario": "Sun.", "first_mes": "Old."}
    card = Card.from_map({"spec": "chara_card_v2", **outer, "data": FULL | {"scenario": ""}})
    assert (card.name, card.first_mes, card.scenario) == ("Mara Venn", FULL["first_mes"], "")
    card = Card.from_map(INN | {"persona": "Somebody else.", "char_name": "Bram"})
    assert (card.name, card.description) == ("Mara", "Keeps the inn.")
    assert any("'persona'" in notice for notice in card.notices)


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("desription", "description"),
        ("Personality", "personality"),
        ("first_message", "first_mes"),
        ("firstMes", "first_mes"),
        ("system prompt", "system_prompt"),
        ("scenarios", "scenario"),
        ("mes_examples", "mes_example"),
        ("greeting", "first_mes"),
        ("example_messages", "mes_example"),
        ("alternate_greeting", "alternate_greetings"),
    ],
)
def test_a_misspelt_field_gets_a_notice(key: str, field: str) -> None:
    (notice,) = Card.from_map({"name": "Mara", key: "x"}).notices
    assert repr(key) in notice
    assert repr(field) in notice


def test_what_other_tools_write_gets_none() -> None:
    beside = {"creator_notes": "x", "character_book": {}, "talkativeness": 0.5, "avatar": "none"}
    assert Card.from_map(INN | {"persona": {"mood": 3}, "world_scenario": 0}).notices == []
    more = {"creatorcomment": "x", "create_date": "x", "chat": "x", "fav": True, "hp": 3}
    assert Card.from_map({"spec": "chara_card_v2", **more, "data": FULL}).notices == []
    assert Card.from_map(FULL | beside | more).notices == []
    assert Card.from_map(FULL | {"first_message": "x"}).notices == []  # it has one


def test_cards_in_cards_have_an_end() -> None:
    card: dict[str, Any] = WRAPPED
    for _ in range(9):
        card = {"spec": "chara_card_v3", "data": card}
    with pytest.raises(CardError, match="lies in more than"):
        Card.from_map(card)


def test_numbers_that_json_does_not_know_are_exported_as_null(tmp_path: Path) -> None:
    card = Card.from_map(INN | {"talkativeness": float("nan"), "x": [float("-inf"), 1.5]})
    assert exported(card, "talkativeness", "x") == [None, [None, 1.5]]
    card.save(tmp_path / "card.json")
    assert "NaN" not in (tmp_path / "card.json").read_text()


def test_a_hand_written_persona_is_taken(tmp_path: Path) -> None:
    card = Card.load(write(tmp_path, "m.toml", 'name = "Mara"\npersona = "Keeps the inn."\n'))
    assert card.description == "Keeps the inn."


def test_a_client_sends_no_megabytes_that_no_engine_reads() -> None:
    picture = "data:image/png;base64," + "A" * 3_000_000
    used = {"name": "Mara", "description": "Keeps the inn.", "tags": ["a"] * 40_000}
    small = {"creator_notes": "Mine.", "desription": "Keeps.", "extensions": {"depth": 4}}
    heavy: dict[str, Any] = {
        "assets": [{"type": "icon", "uri": picture}],
        "creator_notes_multilingual": {"de": "x" * 100_000},
        "character_book": {"entries": [{"content": "x" * 1000}] * 100},
        "somebody's own": picture,
    }
    flat = used | small | heavy
    assert to_send(flat) == used | small
    whole = {"spec": "chara_card_v3", "data": flat, "avatar": picture, "name": "Mara"}
    assert to_send(whole) == {"spec": "chara_card_v3", "data": used | small, "name": "Mara"}
    assert to_send({"data": {"data": flat}}) == {"data": {"data": used | small}}
    assert "assets" in flat  # which is nobody's but the caller's
    long = {"name": "Mara", "char_persona": "x" * 100_000, "odd": object()}
    assert to_send(long) == long


@pytest.mark.parametrize(
    "nothing", ["\u200b", "\u200f\u202e", "\ufeff", "\0", "\u3164", "\u2800", " \n"]
)
def test_a_name_that_nothing_can_be_seen_of_is_none(nothing: str) -> None:
    with pytest.raises(CardError, match="has no name"):
        Card.from_map({"name": nothing, "description": "Keeps the inn."})
    outer = {"spec": "chara_card_v2", "name": "Mara", "data": {"name": nothing}}
    assert Card.from_map(outer).name == "Mara"
    assert Card.from_map(INN | {"nickname": nothing}).char == "Mara"
    assert Card.from_map({"name": nothing, "nickname": "Mara"}).name == "Mara"


@pytest.mark.parametrize("key", ["Name", "aiName", "character name"])
def test_a_name_by_another_name_is_told_of(key: str) -> None:
    with pytest.raises(CardError) as error:
        Card.from_map({key: "Mara", "description": "Keeps the inn."})
    assert repr(key) in error.value.message
    assert "'name'" in error.value.help


def test_a_persona_that_is_no_text_is_told_of() -> None:
    notices = Card.from_map({"name": "Mara", "persona": {"kind": "text"}}).notices
    assert notices == [
        "'persona' is a map ({'kind': 'text'}), and not used: write 'description' as text."
    ]
    assert Card.from_map(INN | {"persona": {"kind": "text"}}).notices == []
    assert Card.from_map({"name": "Mara", "persona": {}}).notices == []


def test_notices_of_a_hostile_card_are_short() -> None:
    keys: dict[str, Any] = {f"descriptio{i}": 1 for i in range(60_000)}
    found = Card.from_map({"name": "Mara"} | keys).notices
    assert len(found) == MAX_NOTICES + 1
    assert len(" ".join(found)) < 2000
    long: dict[str, Any] = {"bio" + "!" * 100 + "x": 1, "description" + "!" * 100_000: 1}
    assert Card.from_map({"name": "Mara"} | long).notices == []


def test_what_a_message_cannot_say_is_not_sent() -> None:
    card = {"name": "M\ud83da", "x\ud83d": [2**64, -(2**63) - 1, 7, {"y": "\udc09\0"}]}
    assert sendable(card) == {"name": "Ma", "x": [2.0**64, -(2.0**63), 7, {"y": "\0"}]}
    msgspec.msgpack.encode(sendable(card))
    assert sendable({"x": 10**5000, "y": {1: b"z"}}) == {"x": 10**5000, "y": {1: b"z"}}


def test_a_number_in_tags_may_be_of_any_size() -> None:
    assert Card.from_map(INN | {"tags": [10**5000, 1]}).tags == ("1",)


def test_what_is_read_can_be_written_and_read_again(tmp_path: Path) -> None:
    nested = '{"name": "Mara", "x": ' + "[" * 63 + "]" * 63 + "}"
    card = Card.load(write(tmp_path, "m.json", nested))
    card.save(tmp_path / "out.json")
    assert Card.load(tmp_path / "out.json").to_map() == card.to_map()
    with pytest.raises(CardError, match="`x` is nested deeper than 64"):
        Card.load(write(tmp_path, "m.json", nested.replace("[]", "[[]]")))
