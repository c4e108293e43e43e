import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.cards.card import Card
from npc_engine.cards.fields import MAX_TEXT, cleaned, one_line
from npc_engine.errors import CardError


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], ["map", "list"]),
        ({}, ["name"]),
        ({"name": None}, ["name"]),
        ({"name": "\x00 \n"}, ["name"]),
        ({"name": "x" * 201}, ["name", "201"]),
        ({"name": 5}, ["`name`", "number (5)", "text"]),
        ({"name": "Mara", "nickname": "x" * 201}, ["nickname"]),
        ({"name": "Mara", "description": ["old"]}, ["`description`", "list (['old'])", "text"]),
        ({"name": "Mara", "description": 10**5000}, ["`description`", "a number"]),
        ({"name": "Mara", "scenario": "é" * MAX_TEXT}, ["`scenario`", str(2 * MAX_TEXT)]),
        ({"name": "Mara", "extensions": {1: 2}}, ["keys", "a number (1)"]),
        ({"name": "Mara", 7: 2}, ["keys", "a number (7)"]),
        ({"name": "Mara", "portrait": b"raw"}, ["`portrait`", "bytes"]),
        ({"spec": "chara_card_v3", "description": "Tall."}, ["`data`", "missing"]),
        ({"name": "Mara", "tags": ["x" * (MAX_TEXT + 1)]}, ["`tags[0]`", "limit"]),
        ({"spec": "chara_card_v3", "data": "Mara"}, ["`data`", "text ('Mara')"]),
    ],
)
def test_bad_maps_name_the_field_and_the_types(data: Any, words: list[str]) -> None:
    with pytest.raises(CardError) as caught:
        Card.from_map(data)
    assert caught.value.help
    for word in words:
        assert word in caught.value.message


def test_a_card_made_by_hand_is_held_to_its_types() -> None:
    with pytest.raises(CardError, match=r"`tags`.*list of texts.*text \('inn'\)"):
        Card("Mara", tags="inn")  # type: ignore[arg-type]
    with pytest.raises(CardError, match=r"`tags\[1\]`.*false"):
        Card("Mara", tags=("inn", False))  # type: ignore[arg-type]


def test_deep_and_endless_maps_are_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(CardError, match="deeper than 64"):
        Card.from_map({"name": "Mara", "extensions": endless})
    with pytest.raises(CardError, match="`description` must be text"):
        Card.from_map({"name": "Mara", "description": endless})


def test_extra_must_not_hide_a_field() -> None:
    with pytest.raises(CardError, match="'tags'"):
        Card("Mara", extra={"tags": ["x"]})
    with pytest.raises(CardError, match="'data'"):
        Card("Mara", envelope={"data": {}})


def test_dates_become_text() -> None:
    moment = datetime.datetime(2020, 1, 2, 3, 4, tzinfo=datetime.UTC)
    card = Card("Mara", extra={"at": [moment, moment.date(), moment.time()]})
    assert card.extra["at"] == ["2020-01-02T03:04:00+00:00", "2020-01-02", "03:04:00"]


def test_cleaning_leaves_newlines_and_tabs() -> None:
    assert cleaned("\ufeffa\x00b\r\nc\rd\te\x1b[1m\x85\ud800f") == "ab\nc\nd\te[1mf"
    assert one_line(" Ma\x00ra\n\t Venn ") == "Mara Venn"


@given(st.text(st.characters(), max_size=20))
def test_cleaned_text_is_encodable_and_stays_clean(text: str) -> None:
    assert cleaned(text).encode().decode() == cleaned(cleaned(text))
