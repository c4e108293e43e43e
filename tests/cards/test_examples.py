import re
from pathlib import Path

import pytest

from npc_engine.cards import examples as example_characters
from npc_engine.cards.card import Card
from npc_engine.cards.examples import example_card, example_names
from npc_engine.errors import CardError
from tests.support.cards import KNOWN, write
from tests.support.paths import ROOT

FOLDER = ROOT / "examples" / "characters"


def test_three_characters_ship() -> None:
    assert example_names() == ["bram", "mara", "wren"]


@pytest.mark.parametrize("name", ["bram", "mara", "wren"])
def test_shipped_characters(name: str) -> None:
    card = example_card(name)
    assert card == Card.load(FOLDER / f"{name}.toml")
    assert 60 <= len(card.description.split()) <= 110
    assert len(card.persona()) < 1400
    assert [len(talk) for talk in card.examples()] == [2, 2]
    assert card.greeting()
    assert card.scenario
    assert card.tags
    assert card.extra["creator_notes"]
    assert not re.search(r"[{}]|  |\bundefined\b", card.persona() + card.greeting())


def test_the_characters_know_each_other() -> None:
    for name in example_names():
        others = {example_card(other).char for other in example_names()} - {example_card(name).char}
        assert all(other in example_card(name).description for other in others)


def test_unknown_example_names_the_others() -> None:
    with pytest.raises(CardError, match=r"'../mara'.*bram") as caught:
        example_card("../mara")
    assert "mara" in caught.value.help


def test_missing_examples_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path / "npc_engine")
    monkeypatch.setattr(
        example_characters, "__file__", str(tmp_path / "npc_engine" / "cards" / "a.py")
    )
    with pytest.raises(CardError, match="not installed"):
        example_names()


def test_installed_examples_are_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    write(tmp_path / "shipped", "ada.toml", 'name = "Ada"')
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    assert example_names() == ["ada"]
    assert example_card("ada").name == "Ada"


def test_the_readmes_card_works(tmp_path: Path) -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    card = Card.load(write(tmp_path, "ada.toml", example))
    assert card.extra["extensions"] == {"my_game": {"portrait": "ada.png", "voice": "alto_3"}}
    for field in re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE):
        assert field in KNOWN | set(card.extra)
    with pytest.raises(CardError) as caught:
        Card.load(write(tmp_path, "bad.json", '{"name": "Ada", "description": ["Mends clocks."]}'))
    assert str(caught.value).split(": ", 1)[1] in text
