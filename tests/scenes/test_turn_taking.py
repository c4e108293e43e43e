"""Who is spoken to by name, who is only mentioned, and what is no name at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.scenes.turn_taking import called

NAMES = {
    "mara": ["Mara Venn", "Mara"],
    "bram": ["Bram Tolliver", "Bram"],
    "wren": ["Wren", ""],
    "ozgur": ["Özgür"],
    "mei": ["美玲"],
}


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("Bram, where is Wren?", "bram"),  # spoken to, before mentioned
        ("What does Wren say, Bram?", "bram"),
        ("Have you asked Bram about Wren?", "wren"),  # mentioned last
        ("I saw Wren and Bram at the ferry.", "bram"),
        ("BRAM! Come here. I saw Wren.", "bram"),
        ("wren", "wren"),
        ("*looks at Wren* Well?", "wren"),
        ("Bram. Wren. Listen.", "wren"),  # of two, the last
        ("Mara Venn, I owe you.", "mara"),
        ("Ask Bram's brother.", "bram"),
        ("The brambles are ripe, and the wrens sing.", None),
        ("Embramed. Bram2, Bram_x.", None),
        ("Bram\u061f Wren is here.", "bram"),
        ("\u0906\u0913\u0964 Bram\u0964 Wren is here.", "bram"),
        ("Bram\u060c Wren is here.", "bram"),
        ("Good evening.", None),
        ("", None),
        ("ÖZGÜR, gel!", "ozgur"),
        ("O\u0308zgu\u0308r, gel!", "ozgur"),  # decomposed
        ("O\u0308zgu\u0308r\u0301", None),  # a mark more is another letter
        ("我看见美玲了。", "mei"),
        ("美玲\uff0c你好\uff01", "mei"),
        ("\u201cBram\u201d, she said to Wren.", "bram"),
    ],
)
def test_who_is_called(text: str, who: str | None) -> None:
    assert called(text, NAMES) == who


def test_nobody_is_called_where_nobody_is() -> None:
    assert called("Bram!", {}) is None
    assert called("Bram!", {"bram": []}) is None
    assert called("a  b", {"bram": ["", "  "]}) is None


def test_of_two_with_one_name_the_first_answers() -> None:
    assert called("Guard!", {"one": ["Guard"], "two": ["Guard"]}) == "one"


def test_the_longer_of_two_names_that_begin_alike() -> None:
    names = {"bram": ["Bram"], "young": ["Bram the Younger"]}
    assert called("Is that Bram the Younger?", names) == "young"
    assert called("Is that Bram the Elder?", names) == "bram"


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=8))))
def test_any_text_and_any_names(text: str, names: dict[str, list[str]]) -> None:
    found = called(text, names)
    assert found is None or found in names


@given(st.sampled_from(["Bram", "Özgür", "美玲", "Wren"]), st.text(" .,!?\n", max_size=5))
def test_a_name_among_marks_is_always_found(name: str, marks: str) -> None:
    names = {"x": [name]}
    assert called(marks + name.upper() + marks, names) == "x"
