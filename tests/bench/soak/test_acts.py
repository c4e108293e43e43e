"""Each act, over the fake backend that enforces llama.cpp's rules: no fault, and nothing left."""

import random
from pathlib import Path

import pytest

from npc_engine import protocol as m
from npc_engine.bench.soak.acts import ACTS, CARDS, Act
from npc_engine.bench.soak.checking_client import CheckingClient
from tests.support.fake_llama import FakeLlama
from tests.support.rig import Rig, scripted


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__.strip("_"))
def test_an_act_leaves_no_fault(act: Act, tmp_path: Path) -> None:
    fake = FakeLlama(n_slots=2, n_cells=1200, n_batch=256, mind=scripted("Aye. So it is. ", False))
    rig = Rig(tmp_path, fake=fake, window=1200)
    client = CheckingClient(rig.engine)
    for name, card in CARDS.items():
        client.ask(m.Spawn, npc=name, card=card)
    for turn, name in enumerate((*CARDS, *CARDS)):
        act(client, name, random.Random(turn))
    client.rest()
    rig.check()
    assert client.faults == []
    assert not client._open
    rig.engine.close()
    assert all(sampler.closed for sampler in fake.samplers)


@pytest.mark.slow
def test_the_script_does_what_it_says(tmp_path: Path) -> None:
    """A run in which nothing was provoked, cut or parked would prove nothing."""
    fake = FakeLlama(n_slots=2, n_cells=1200, n_batch=256, mind=scripted("Aye. So it is. ", False))
    rig = Rig(tmp_path, fake=fake, window=1200)
    client = CheckingClient(rig.engine)
    for name, card in CARDS.items():
        client.ask(m.Spawn, npc=name, card=card)
    for act in ACTS:
        act(client, "mara", random.Random(0))
    for reply in ("Done", "Saved", "Loaded", "Pinned", "Npcs", "Text", "Line"):
        assert client.replies[reply], reply
    for code in ("busy", "unknown_npc", "npc_exists", "unknown_slot", "unknown_target"):
        assert client.replies[f"Error {code}"], code
    assert rig["mara"].dialogue.ledger.n_evicted > 1200
    rig.engine.close()
