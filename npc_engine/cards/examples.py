"""The characters that ship with the engine.

Owns where their files lie: in the installed package, or in a source checkout. Knows no more about
them than their file names.
"""

from pathlib import Path

from npc_engine.cards.card import Card
from npc_engine.cards.files import parse_card
from npc_engine.errors import CardError

__all__ = ["example_card", "example_names"]


def example_names() -> list[str]:
    """Return the names of the characters that ship with the engine, sorted."""
    return sorted(_example_files())


def example_card(name: str) -> Card:
    """Return a shipped character by its file name, such as "mara". Raises CardError."""
    files = _example_files()
    if name not in files:
        raise CardError(f"No example character {name!r}.", f"Choose from {', '.join(files)}.")
    return Card.from_map(parse_card(files[name], ".toml"))


def _example_files() -> dict[str, bytes]:
    from importlib.resources import files

    folder = files("npc_engine.cards") / "shipped"
    if not folder.is_dir():  # a source checkout: the wheel copies them from here
        folder = Path(__file__).parents[2] / "examples" / "characters"
    if not folder.is_dir():
        raise CardError("The example characters are not installed.", "Install the package again.")
    return {
        entry.name.removesuffix(".toml"): entry.read_bytes()
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
