import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.cards.macros import fill_macros, fill_original


def filled(text: str) -> str:
    return fill_macros(text, char="Mara", user="Ann", seed="Mara\0first_mes")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{char}} {{CHAR}} {{ Char }} <BOT> <bot>", "Mo Mo Mo Mo Mo"),
        ("{{user}} {{User}} <USER>", "{{char}} {{char}} {{char}}"),  # a name is not filled again
        ("a{{// no {{char}} here}}b{{comment: x}}c{{hidden_key:k}}d", "abcd"),
        ("{{random:x}} {{pick: y }} {{random::z::z}}", "x y z"),
        (r"{{random:a\,b}} {{pick:{{char}},<BOT>}} {{random:}}", "a,b Mo "),
        ("{{roll:1}} {{roll:d1}} {{roll:20d1}}", "1 1 20"),
        (
            "{{roll:d0}} {{roll:21d6}} {{roll:six}} {{time}} {{random}} {{ {x} {{",
            "{{roll:d0}} {{roll:21d6}} {{roll:six}} {{time}} {{random}} {{ {x} {{",
        ),
    ],
)
def test_macros(text: str, expected: str) -> None:
    assert fill_macros(f"[{text}]", char="Mo", user="{{char}}", seed="") == f"[{expected}]"


def test_chance_is_settled_by_seed_and_place() -> None:
    dice = "{{roll:d1000}} {{roll:d1000}}"
    assert filled(dice) == "776 567"  # stable across versions and machines: saves rely on it
    assert fill_macros(dice, char="Mara", user="Ann", seed="Bram\0first_mes") != filled(dice)
    assert fill_macros(dice, char="M", user="A", seed="Mara\0first_mes") == filled(dice)


def test_every_choice_can_come_up() -> None:
    text = "{{random:a,b,c}}" * 60 + " " + "{{roll:d6}}" * 60 + " " + "{{roll:2d6}}," * 200
    letters, rolls, pairs = filled(text).split(" ")
    assert set(letters) == set("abc")
    assert set(rolls) == set("123456")
    assert {int(pair) for pair in pairs.rstrip(",").split(",")} == set(range(2, 13))


def test_original_is_put_in_as_it_is() -> None:
    assert (
        fill_original("A {{original}} B {{ ORIGINAL }}", r"\1{{char}}")
        == r"A \1{{char}} B \1{{char}}"
    )


@given(st.text(st.sampled_from("{}:/,\\ d1<>\n") | st.sampled_from("charuserollpickandom")))
def test_any_text_is_filled(text: str) -> None:
    assert filled(text) == filled(text)
    assert isinstance(fill_original(text, text), str)
