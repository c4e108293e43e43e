"""A short soak of the whole engine on each kind of memory; and what it would notice."""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from npc_engine.bench.soak.acts import ACTS
from npc_engine.bench.soak.soak import N_SLOTS, ReferenceWork, Soak
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.llama.model import Model
from npc_engine.loading import load_engine

pytestmark = pytest.mark.model

N_TOKENS = 8000


def opened(model: Path, saves: Path) -> EngineCore:
    settings = {"window": 512, "slots": N_SLOTS, "kv_type": "f16", "flash_attn": "off"}
    return load_engine(Settings.parse({**settings, "model": str(model), "saves": str(saves)}))


@pytest.fixture
def soak(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Soak]:
    """A soak of one act to a cycle."""
    monkeypatch.setattr("npc_engine.bench.soak.soak.ACTS", ACTS[:1])
    with closing(opened(tiny_llama, tmp_path)) as engine:
        yield Soak(engine)


def test_no_fault_in_any_kind_of_memory(tiny_model: Path, tmp_path: Path) -> None:
    with closing(opened(tiny_model, tmp_path)) as engine:
        soak = Soak(engine)
        samples = list(soak.run(N_TOKENS))
        facts = soak.facts()
    assert soak.client.faults == []
    assert samples[-1].n_tokens >= N_TOKENS
    assert samples[-1].n_decoded > 0.2 * N_TOKENS
    assert facts["n_evicted"] > 1000
    assert facts["replies"]["Saved"] == facts["replies"]["Loaded"] == facts["n_cycles"]
    assert facts["model"]["arch"] in tiny_model.stem.replace("-", "")


def test_samples_go_on(soak: Soak) -> None:
    first, second = list(soak.run(1000))[:2]
    assert first.n_tokens < second.n_tokens
    assert first.wall_s < second.wall_s
    assert first.cpu_s < second.cpu_s
    assert first.yard_s < second.yard_s
    assert first.rss > 1 << 20


def test_a_cache_that_is_not_the_ledgers_is_a_fault(soak: Soak) -> None:
    for _ in soak.run(1):
        pass
    name = next(n for n in soak._personas if soak._character(n).dialogue.sequence.slot is not None)
    slot = soak._character(name).dialogue.sequence.slot
    assert slot is not None
    soak._llama.remove(slot, 0, -1)
    soak._check(soak._character(name))
    assert soak.client.faults == [f"{name}: not true in cycle 1: its tail is the cache's."]


def test_a_persona_that_has_gone_is_a_fault(soak: Soak) -> None:
    for _ in soak.run(1):
        pass
    soak._personas["mara"] = [1, 2, 3]
    soak._check(soak._character("mara"))
    assert soak.client.faults == ["mara: not true in cycle 1: its persona stands first."]


def test_what_the_engine_logs_as_an_error_is_a_fault(soak: Soak) -> None:
    for _ in soak.run(1):
        logging.getLogger("npc_engine.llama").error("no cells for %d", 7)
        logging.getLogger("npc_engine").warning("only a warning")
    assert soak.client.faults == ["log: no cells for 7"]
    logging.getLogger("npc_engine").error("after the run")
    assert soak.client.n_faults == 1


def test_a_run_that_fails_all_the_time_ends(soak: Soak, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        soak, "_check", lambda character: soak.client.fault(character.dialogue.name)
    )
    samples = list(soak.run(10**9))
    assert 5 < len(samples) < 10


def test_the_reference_work_takes_time_and_leaves_nothing(tiny_model: Path) -> None:
    with closing(Model(tiny_model)) as model, closing(ReferenceWork(model)) as reference:
        assert all(reference.measure() > 0 for _ in range(3))
        assert reference._llama.positions(0) == (-1, -1)
