"""How a talk begins."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from npc_engine.cli.chat import start
from npc_engine.cli.terminal import Screen
from npc_engine.config import Settings
from npc_engine.storage.signing_key import DATA_VARIABLE


def test_the_saves_of_a_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    with start._saves(scripted=False) as saves:
        assert saves == tmp_path / "demo-saves"
    with start._saves(scripted=True) as saves:
        assert saves.is_dir()
        assert tmp_path not in saves.parents
    assert not saves.exists()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What stands on the screen before a talk, with an engine in which Bram is."""
    out = io.StringIO()
    client = SimpleNamespace(list_npcs=lambda: [SimpleNamespace(npc="bram")])

    @contextmanager
    def connected(*_args: Any, **_options: Any) -> Iterator[Any]:
        yield client

    monkeypatch.setattr(start, "open_screen", lambda: Screen(Console(file=out, width=200)))
    monkeypatch.setattr(start, "Client", connected)
    monkeypatch.setattr(start, "_started", connected)
    monkeypatch.setattr(start, "play", lambda _talk, _npc: 0)
    monkeypatch.setattr(
        "npc_engine.cli.chat.loop.run", lambda talk, npc: out.write(f"{npc} {talk.saves}")
    )
    return out.getvalue


def test_who_is_here_keeps_the_card(tmp_path: Path, shown: Callable[[], str]) -> None:
    file = tmp_path / "card.toml"
    file.write_text('name = "Bram"\ndescription = "A smith."\n')
    start.chat(Settings(), [], None, str(file), "talk")
    assert shown() == "Bram is here already and keeps the card from before.\nbram None"


def test_flags_that_a_running_engine_cannot_heed(shown: Callable[[], str]) -> None:
    start.chat(Settings(), ["--window=512", "--threads=2"], None, "mara", "talk")
    expected = "Ignored, since this engine runs already: --window, --threads.\nmara None"
    assert shown() == expected


def test_an_engine_of_ones_own_heeds_them(tmp_path: Path, shown: Callable[[], str]) -> None:
    settings = Settings(model="a.gguf", saves=str(tmp_path))
    start.chat(settings, ["--window=512"], None, "mara", "talk")
    assert shown() == f"mara {tmp_path}"


def test_a_demo_without_a_terminal_says_so(shown: Callable[[], str]) -> None:
    start.demo(Settings(model="a.gguf"), [], scripted=True)
    assert shown() == "No terminal: playing a scripted talk.\n"


@pytest.mark.parametrize("own", [[], ["--saves=mine"]])
def test_a_demo_knows_where_it_saves(own: list[str], shown: Callable[[], str]) -> None:
    start.demo(Settings(model="a.gguf", saves="mine"), own, scripted=False)
    assert shown().endswith("mine" if own else "demo-saves")
