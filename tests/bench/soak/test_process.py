"""The child: what comes back of it, and how it fails."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from npc_engine.bench.soak import process as soak_process
from npc_engine.bench.soak.figures import Sample
from npc_engine.bench.soak.process import soak_apart
from npc_engine.config import Settings
from npc_engine.errors import SetupError

SAMPLE = Sample(1000, 300, 2.0, 1.0, 0.1, 1 << 20)


def dies(pipe: Connection, _settings: Settings, _n_tokens: int) -> None:
    pipe.send(("sample", SAMPLE))
    os._exit(7)


def goes_on(pipe: Connection, _settings: Settings, _n_tokens: int) -> None:
    while True:
        pipe.send(("sample", SAMPLE))


@pytest.mark.slow
def test_a_child_that_dies_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_process, "_child", dies)
    shown: list[int] = []
    run = soak_apart(Settings(), 1000, shown.append)
    assert (run.n_faults, run.faults) == (1, ["The process ended with status 7."])
    assert run.samples == [SAMPLE]
    assert shown == [1000]


@pytest.mark.slow
def test_ctrl_c_ends_the_child_and_keeps_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_process, "_child", goes_on)

    def interrupt(_n_tokens: int) -> None:
        raise KeyboardInterrupt

    run = soak_apart(Settings(), 1000, interrupt)
    assert run.interrupted
    assert run.samples == [SAMPLE]
    assert run.n_faults == 0


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    model = tmp_path / "no.gguf"
    model.write_bytes(b"not a model")
    with pytest.raises(SetupError, match=r"no\.gguf' is no GGUF"):
        soak_apart(Settings(model=str(model)), 1000, lambda _n: None)


@pytest.mark.model
def test_a_run_comes_back_whole(tiny_llama: Path) -> None:
    values = {"model": str(tiny_llama), "window": 512, "slots": 2, "kv_type": "f16"}
    settings = Settings.parse({**values, "flash_attn": "off"})
    run = soak_apart(settings, 100, lambda _n: None)
    assert run.faults == []
    assert run.facts["window"] == 512
    assert run.facts["n_cycles"] == len(run.samples) == 1
