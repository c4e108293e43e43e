"""Card files that strangers made: what Python, Godot and C# make of each is the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from npc_engine.cards.card import Card
from npc_engine.cards.fields import cleaned
from npc_engine.cards.files import read_card_file
from npc_engine.errors import CardError
from tests.support.paths import TESTS

FOLDER = TESTS / "vectors" / "cards"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text("utf-8"))


def without_surrogates(value: Any) -> Any:
    """What the other clients leave out of every text, the engine leaves out of its own fields."""
    if isinstance(value, str):
        return value.encode("utf-8", "ignore").decode().replace("\0", "")
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {key: without_surrogates(item) for key, item in value.items()}
    return value


def test_every_file_is_expected() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".png")}
    assert files - {"expected.json"} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_card_file(name: str, tmp_path: Path) -> None:
    expected = EXPECTED[name]
    if "card" in expected:
        read = read_card_file(FOLDER / name)
        assert without_surrogates(read) == expected["card"]
        assert repr(without_surrogates(read)) == repr(expected["card"])  # 1 is not 1.0, nor True
        card = Card.from_map({"name": "Mara"} | read)
        assert card.name == " ".join(cleaned(expected["card"].get("name", "Mara")).split())
        card.save(tmp_path / "out.json")
        json.loads((tmp_path / "out.json").read_text("utf-8"), parse_constant=pytest.fail)
        return
    with pytest.raises(CardError) as caught:
        Card.load(FOLDER / name)
    if expected["line"]:
        assert f"line {expected['line']}" in caught.value.message
