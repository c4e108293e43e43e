"""Fixtures: models (built or fetched by `make setup`), and folders that are not the user's."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.paths import ROOT
from tests.support.rig import MakeRig, Rig
from tests.support.troupe import MakeTroupe, Troupe

# A deadline measures the machine: beside a busy core any example may take long.
settings.register_profile("npc-engine", deadline=None)
settings.load_profile("npc-engine")

MODELS = ROOT / "models"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes is begun first: at the end it would keep one of the workers alone."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay to the end: no collection of garbage walks them again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches, keys and saves of a test never touch the user's."""
    folder = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("NPC_ENGINE_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("NPC_ENGINE_DATA_DIR", str(folder / "data"))
    monkeypatch.delenv("NPC_ENGINE_TOKEN", raising=False)
    (folder / "scratch").mkdir(exist_ok=True)
    monkeypatch.setattr("npc_engine.storage.scratch_folder.root", lambda: folder / "scratch")


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a disk. Where it is the disk that is tested, it is not asked for."""
    monkeypatch.setattr("os.fsync", lambda fd: None)


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[MakeRig]:
    """Makes engines over a FakeLlama, all with the same saves folder; closes them at the end."""
    made: list[Rig] = []

    def make(**keys: Any) -> Rig:
        made.append(Rig(**{"folder": tmp_path, **keys}))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def make_troupe(tmp_path: Path) -> Iterator[MakeTroupe]:
    """Makes engines whose characters have these lines; each is at rest before it is closed."""
    made: list[Troupe] = []

    def make(lines: dict[str, list[str]], **keys: Any) -> Troupe:
        made.append(Troupe(tmp_path, lines, **keys))
        return made[-1]

    yield make
    for troupe in made:
        troupe.rest()
        troupe.close()


def _model(name: str) -> Path:
    path = MODELS / name
    if not path.is_file():
        pytest.fail(f"{path.name} is missing: run `make tiny` (or `pytest -m 'not model'`).")
    return path


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real model: SmolLM2-135M-Instruct Q4_1."""
    return _model("SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def gemma() -> Path:
    """A real model with a sliding window: Gemma-3-270m. It is large: CI fetches it."""
    path = MODELS / "gemma-3-270m-q4_k_m.gguf"
    if not path.is_file():
        reason = f"{path.name} is not here: `python models/fetch.py gemma` fetches it (253 MB)"
        # Where everything is tested, a test that is skipped in silence is a test that is lost.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return path


@pytest.fixture(scope="session")
def tiny_llama() -> Path:
    """A tiny float32 model with random weights."""
    return _model("tiny/tiny-llama.gguf")


@pytest.fixture(scope="session", params=["llama", "mamba", "gemma3-swa", "lfm2-hybrid"])
def tiny_model(request: pytest.FixtureRequest) -> Path:
    """A tiny model of each kind of memory."""
    return _model(f"tiny/tiny-{request.param}.gguf")
