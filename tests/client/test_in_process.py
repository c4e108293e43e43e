"""The verbs in the game's own process: stepping, sleeping in a pause, closing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.client.in_process import Engine
from npc_engine.engine import LOCAL
from npc_engine.errors import ConnectionLost, Internal, UnknownNpc
from tests.support.rig import CARD, Rig, TimedLlama, scripted

MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[MakeRig]:
    made: list[Rig] = []

    def make(**keys: Any) -> Rig:
        made.append(Rig(tmp_path, **keys))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def test_in_process_it_is_used_like_a_client(make_rig: MakeRig) -> None:
    engine = Engine(make_rig(fake=TimedLlama(mind=scripted("One is here. Two."))).engine)
    engine.spawn("mara", CARD)
    assert [line.text for line in engine.say("mara", "Who are you?")] == ["One is here.", "Two."]
    assert engine.event("A bell.") == 1
    engine.hear("mara", "Wh")
    speech = engine.say("mara", "Who?")
    next(speech)
    speech.cancel(heard=3)
    assert speech.done is not None
    assert (speech.done.reason, speech.done.text) == ("cancelled", "One")
    assert engine.save("slot").npcs == ["mara"]
    assert [npc.source for npc in engine.load("slot").npcs] == ["payload"]
    engine.ping()
    assert engine.stats()["n_npcs"] == 1
    engine.despawn("mara")
    assert engine.list_npcs() == []
    with pytest.raises(UnknownNpc):
        engine.say("mara", "Hi").wait()


def test_a_closed_engine_says_so(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("mara")
    engine = Engine(rig.engine)
    speech = engine.say("mara", "Hi")
    rig.engine.step()
    out = rig.engine.close()
    assert [(c, type(r), r.id) for c, r in out] == [(LOCAL, m.Done, speech.id)]
    assert rig.engine.close() == []
    n_batches = len(rig.fake.batches)
    for verb in (engine.ping, engine.say("mara", "Hi").wait):
        with pytest.raises(Internal, match="closed"):
            verb()
    with pytest.raises(ConnectionLost):
        speech.wait()
    rig.engine.drop(LOCAL, "cancelled")
    rig.engine.step()
    assert rig.engine.step() == []
    assert rig.engine.patience() is None
    assert len(rig.fake.batches) == n_batches, "the model is freed: it must not be touched"


def test_poll_lets_the_engine_read_ahead(make_rig: MakeRig) -> None:
    rig = make_rig()
    engine = Engine(rig.engine)
    engine.spawn("mara", CARD)
    engine.hear("mara", "Who are y")
    ledger = rig["mara"].dialogue.ledger
    engine.poll()
    n_batches = len(rig.fake.batches)
    for _ in range(20):
        engine.poll()
    assert ledger.n_pending == 0
    assert "Who are y" in rig.heard("mara")
    assert n_batches <= len(rig.fake.batches) < 20, "at rest it does nothing"


def test_an_engine_is_closed_at_the_end_of_its_with(make_rig: MakeRig) -> None:
    rig = make_rig()
    with Engine(rig.engine) as engine:
        engine.spawn("mara", CARD)
        assert engine.say("mara", "Hi").wait().text
        assert not rig.fake.closed
    assert rig.fake.closed
    other = make_rig()
    with pytest.raises(KeyError), Engine(other.engine):
        raise KeyError("a bug of the game")
    assert other.fake.closed
