"""Scenes on real llama.cpp: the same words as if each had been told, on every kind of memory."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from npc_engine.client.in_process import Engine
from npc_engine.client.speech import Conversation
from npc_engine.dialogue.overheard import Cue
from npc_engine.llama.model import Model
from npc_engine.protocol import Done, Reply
from tests.support.paths import ROOT
from tests.support.real import GREEDY, INNKEEPER, SMITH, make_engine

pytestmark = pytest.mark.model

CAST = {"mara": INNKEEPER, "bram": SMITH, "wren": {"name": "Wren", "description": "A liar."}}
OPENING = "Mara and Bram talk with each other about the storm."


@pytest.fixture
def play(tiny_model: Path, tmp_path: Path) -> Callable[..., tuple[Engine, Conversation]]:
    """Return a function that plays a scene on a tiny model, and the engine with the talk."""
    model = Model(tiny_model)

    def play(*npcs: str, turns: int, window: int = 512) -> tuple[Engine, Conversation]:
        engine, _ = make_engine(model, tmp_path, window=window, step_ms=10_000)
        for npc in npcs:
            engine.spawn(npc, CAST[npc], sampling=GREEDY)
        talk = engine.scene("inn", npcs, "the storm", turns=turns, max_tokens=24)
        talk.wait()
        return engine, talk

    return play


def memory(engine: Engine, npc: str) -> str:
    ledger = engine.core.stage.characters[npc].dialogue.ledger
    return "\n".join(segment.text for segment in ledger.segments)


def test_a_scene_is_as_if_each_had_been_told(
    play: Callable[..., tuple[Engine, Conversation]], tiny_model: Path, tmp_path: Path
) -> None:
    _, talk = play("mara", "bram", turns=2)
    first, second = talk.turns
    assert (first.npc, second.npc) == ("mara", "bram")
    # The same by hand, all at once: he perceives the opening, and she speaks to him.
    engine, _ = make_engine(Model(tiny_model), tmp_path, step_ms=10_000)
    engine.spawn("bram", CAST["bram"], sampling=GREEDY)
    engine.event(OPENING)
    cue = Cue(id="c", npc="bram", text=first.text, speaker="Mara", max_tokens=24)
    engine.core.stage.find("bram").take(b"game", cue, 0, 1)
    replies: list[Reply] = []
    while not any(isinstance(reply, Done) for reply in replies):
        assert engine.core.patience() == 0
        replies += [reply for _, reply in engine.core.step()]
    assert [r.text for r in replies if isinstance(r, Done)] == [second.text]
    engine.close()


def test_everyone_hears_everyone(play: Callable[..., tuple[Engine, Conversation]]) -> None:
    engine, talk = play(*CAST, turns=9, window=1024)
    assert talk.done is not None and talk.done.n_turns == 9
    engine.stats()
    for npc in CAST:
        remembered = memory(engine, npc)
        for turn in talk.turns[:-1]:
            assert turn.text.strip()[:40] in remembered
    engine.close()


def test_a_small_window_takes_a_long_scene(
    play: Callable[..., tuple[Engine, Conversation]],
) -> None:
    engine, talk = play("mara", "bram", turns=24, window=256)
    assert talk.done is not None and talk.done.n_turns == 24
    assert engine.core.stage.characters["mara"].dialogue.ledger.n_evicted > 0
    engine.close()


def test_cut_in_the_middle_on_every_kind_of_memory(
    play: Callable[..., tuple[Engine, Conversation]],
) -> None:
    engine, talk = play("mara", "bram", turns=5)
    talk.cancel(heard=3)
    assert memory(engine, "bram").rstrip().endswith("\u2014")
    assert talk.turns[1].text not in memory(engine, "mara")
    assert engine.say("bram", "Go on.", max_tokens=8).wait().text
    engine.close()


def test_the_three_of_nettlebrook(smollm2: Path, tmp_path: Path) -> None:
    examples = ROOT / "examples" / "characters"
    with Engine.open(smollm2, window=1024, slots=3, saves=str(tmp_path)) as engine:
        for npc in CAST:
            engine.spawn(npc, examples / f"{npc}.toml")
        talk = engine.scene("inn", list(CAST), "the missing bread", turns=6, max_tokens=40)
        lines = list(talk)
        assert lines and talk.done is not None
        speakers = [turn.npc for turn in talk.turns]
        assert len(speakers) == 6
        assert all(a != b for a, b in pairwise(speakers))
