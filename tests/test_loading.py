"""From settings to an engine: what is derived, what is refused, and that nothing stays behind."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from npc_engine import loading
from npc_engine.client.in_process import Engine
from npc_engine.config import DEFAULT_WINDOW, Settings
from npc_engine.errors import ConfigError, ModelError
from npc_engine.llama.context import Llama
from npc_engine.llama.model import Model
from npc_engine.llama.rope import RopeFacts, resolve
from npc_engine.llama.selftest import Answer
from npc_engine.loading import (
    MIN_PREFILL,
    RESERVE_BYTES,
    chat_format_of,
    load_engine,
    n_auto_threads,
    window_of,
)
from npc_engine.server import serve
from npc_engine.storage import scratch_folder as scratch

GIB = 1 << 30
PLAIN: dict[str, Any] = {
    "kv_type": "f16",
    "flash_attn": "off",
    "threads": 1,
    "window": 256,
    "slots": 2,
}

Open = Callable[..., Engine]


# The window


def window_for(settings: Settings, n_ctx_train: int) -> int:
    facts = RopeFacts(2, "", 1.0, n_ctx_train, n_ctx_train)
    rope = resolve(
        facts, settings.rope_scaling, settings.rope_freq_scale, settings.window or DEFAULT_WINDOW
    )
    return window_of(settings, rope, facts)


def test_the_window_is_what_is_asked() -> None:
    assert window_for(Settings(window=2048, slots=8), 8192) == 2048
    assert window_for(Settings(window=2048, slots=8, n_ctx=8 * 2048), 8192) == 2048
    assert window_for(Settings(window=2048, slots=8, n_ctx=1 << 20), 8192) == 2048


def test_a_window_that_is_not_asked_for_is_within_the_models() -> None:
    assert window_for(Settings(), 8192) == DEFAULT_WINDOW
    assert window_for(Settings(), 512) == 512
    assert window_for(Settings(n_ctx=8 * 2048), 512) == 512


def test_a_window_above_the_models_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        window_for(Settings(window=5000), 2048)
    assert "5000 tokens, persona and pins included; this model can do 2048" in caught.value.message
    assert "--window 2048" in caught.value.help
    assert "--rope-scaling linear --rope-freq-scale 0.409" in caught.value.help
    assert window_for(Settings(window=5000, rope_scaling="linear", rope_freq_scale=0.409), 2048)
    assert window_for(Settings(window=5000, rope_scaling="linear"), 2048) == 5000
    with pytest.raises(ConfigError, match="can do 4096"):
        window_for(Settings(window=5000, rope_freq_scale=0.5), 2048)


def test_too_few_cells_for_the_window_lower_it(caplog: pytest.LogCaptureFixture) -> None:
    assert window_for(Settings(window=2048, slots=8, n_ctx=8 * 500 + 7), 8192) == 500
    assert "The window is 500 tokens: --n-ctx" in caplog.text


def test_too_few_cells_to_talk_are_refused() -> None:
    assert window_for(Settings(window=2048, slots=8, n_ctx=8 * 128), 8192) == 128
    with pytest.raises(ConfigError) as caught:
        window_for(Settings(window=2048, slots=8, n_ctx=8 * 128 - 1), 8192)
    assert "n_ctx is 1023: 8 slots get 127 cells" in caught.value.message
    assert "--n-ctx 16384" in caught.value.help
    assert window_for(Settings(slots=8, n_ctx=8 * 64), 64) == 64


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "n_usable_cores", lambda: 8)
    monkeypatch.setattr(loading, "system_info", lambda: "AVX2 = 1 | OPENMP = 1")
    assert n_auto_threads() == 7
    monkeypatch.setattr(loading, "n_usable_cores", lambda: 1)
    assert n_auto_threads() == 1
    monkeypatch.setattr(loading, "n_usable_cores", lambda: 8)
    monkeypatch.setattr(loading, "system_info", lambda: "AVX2 = 1")
    assert n_auto_threads() == 1  # its threads would spin while they wait


@pytest.mark.model
def test_auto_may_move_and_a_given_count_may_not(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "n_usable_cores", lambda: 2)
    monkeypatch.setattr(loading, "system_info", lambda: "OPENMP = 1")
    assert ladder(open_engine(threads=None)) == [1, 2]
    assert ladder(open_engine(threads=2)) == [2]
    monkeypatch.setattr(loading, "system_info", lambda: "AVX2 = 1")
    assert ladder(open_engine(threads=None)) == [1]  # its threads would spin


def ladder(engine: Engine) -> list[int]:
    return engine.core.scheduler._threads._ladder


@pytest.mark.model
def test_without_its_fast_code_it_says_so(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine()
    assert "slow" not in engine.core.backend.about["model"]
    answer = Answer(works=False, cause="its self-test crashed (SIGSEGV)", at=1e9)
    monkeypatch.setattr(loading, "self_test", lambda _path: answer)
    engine = open_engine()
    assert engine.core.backend.about["model"]["slow"] == answer.slow
    late = serve._Late()
    late.loaded = engine.core
    assert late.slow == answer.slow


# What cannot start


def free_memory(monkeypatch: pytest.MonkeyPatch, *n_bytes: int) -> None:
    """Each look at the free memory finds the next of these; then the last for ever."""
    found = list(n_bytes)

    def look() -> Any:
        return SimpleNamespace(available=found.pop(0) if len(found) > 1 else found[0])

    monkeypatch.setattr(psutil, "virtual_memory", look)


def test_without_a_model() -> None:
    with pytest.raises(ConfigError, match="No model"):
        load_engine(Settings())


@pytest.mark.parametrize("path", ["no/such.gguf", "."])
def test_a_model_that_is_none(path: str) -> None:
    with pytest.raises(ModelError, match="cannot be opened"):
        load_engine(Settings(model=path))


def test_weights_that_do_not_fit_are_not_even_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "big.gguf"
    with path.open("wb") as f:
        f.truncate(2 * GIB)  # a hole: it takes no room on disk
    monkeypatch.setattr(loading, "Model", pytest.fail)
    free_memory(monkeypatch, 2 * GIB + RESERVE_BYTES - 1)
    with pytest.raises(ModelError) as caught:
        load_engine(Settings(model=str(path)))
    assert "'big.gguf' needs 2048 MiB; 2303 MiB are free" in caught.value.message
    assert "smaller model" in caught.value.help


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    """All models that are loaded."""
    loaded: list[Model] = []

    def load(*args: Any, **keys: Any) -> Model:
        loaded.append(Model(*args, **keys))
        return loaded[-1]

    monkeypatch.setattr(loading, "Model", load)
    return loaded


@pytest.fixture
def open_engine(tiny_llama: Path, tmp_path: Path) -> Iterator[Open]:
    opened: list[Engine] = []

    def open_(path: Path = tiny_llama, **settings: Any) -> Engine:
        opened.append(Engine.open(path, saves=str(tmp_path), **{**PLAIN, **settings}))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()


@pytest.mark.model
@pytest.mark.parametrize("flash_attn", ["off", "on"])
def test_a_cache_that_does_not_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, open_engine: Open, models: list[Model], flash_attn: str
) -> None:
    """Without flash attention, the scores of a batch need room, too."""
    n_slots, window, n_batch, n_heads = 2, 2048, 512, 4
    need = n_slots * window * 2 * 2 * (2 * 16) * 2  # layers, K and V, their heads, bytes
    need += 0 if flash_attn == "on" else 4 * n_heads * window * n_batch
    keys = {"slots": n_slots, "window": window, "n_batch": n_batch, "flash_attn": flash_attn}
    free_memory(monkeypatch, 8 * GIB, need + RESERVE_BYTES - 1)
    with pytest.raises(ModelError) as caught:
        open_engine(**keys)
    assert "KV cache of 2 slots x 2048 tokens needs" in caught.value.message
    assert "--slots" in caught.value.help
    assert [model.handle for model in models] == [None]
    free_memory(monkeypatch, 8 * GIB, need + RESERVE_BYTES)
    assert open_engine(**keys).core.stage.window == window


@pytest.mark.model
@pytest.mark.parametrize("where", ["chat_format_of", "choose_layout", "Llama", "EngineCore"])
def test_whatever_fails_after_the_weights_frees_them(
    monkeypatch: pytest.MonkeyPatch, open_engine: Open, models: list[Model], where: str
) -> None:
    def fail(*args: Any, **keys: Any) -> Any:
        raise MemoryError(where)

    monkeypatch.setattr(loading, where, fail)
    with pytest.raises(MemoryError, match=where):
        open_engine()
    assert [model.handle for model in models] == [None]


# What does


@pytest.mark.model
def test_close_frees_the_model(open_engine: Open, models: list[Model]) -> None:
    engine = open_engine()
    backend: Any = engine.core.backend
    assert isinstance(backend, Llama)
    assert backend.model is models[0]
    assert backend.model.handle
    engine.close()
    assert backend.model.handle is None
    engine.close()


@pytest.mark.model
def test_an_engine_is_opened_and_left(tiny_llama: Path, tmp_path: Path) -> None:
    with Engine.open(tiny_llama, saves=str(tmp_path), **PLAIN) as engine:
        engine.spawn("mara", {"name": "Mara"})
        assert engine.say("mara", "Hm?", max_tokens=3).wait().stats.n_decoded <= 3
    backend: Any = engine.core.backend
    assert backend.model.handle is None


@pytest.mark.model
def test_all_who_speak_have_a_row_and_prefill_has_room(open_engine: Open) -> None:
    engine = open_engine(slots=20, n_batch=32)
    assert engine.core.backend.n_batch == 20 + MIN_PREFILL
    assert open_engine(slots=2, n_batch=64).core.backend.n_batch == 64


@pytest.mark.model
def test_the_cache_has_a_window_for_each_slot(open_engine: Open) -> None:
    engine = open_engine(slots=3, n_ctx=3 * 200, window=2048)
    assert (
        200 <= engine.core.stage.window == engine.core.backend.n_cells <= 256
    )  # llama.cpp rounds up
    assert engine.core.backend.n_slots == 3


@pytest.mark.model
def test_layers_for_a_gpu_that_the_build_cannot_use(
    monkeypatch: pytest.MonkeyPatch, open_engine: Open, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading, "can_offload", lambda: False)
    open_engine()
    assert "--n-gpu-layers" not in caplog.text
    open_engine(n_gpu_layers=99)
    assert "--n-gpu-layers is ignored" in caplog.text
    caplog.clear()
    monkeypatch.setattr(loading, "can_offload", lambda: True)
    open_engine(n_gpu_layers=99)
    assert "--n-gpu-layers" not in caplog.text


@pytest.mark.model
def test_a_model_without_a_template_is_told_of(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model(tiny_llama)
    with caplog.at_level(logging.WARNING, "npc_engine"):
        assert chat_format_of(model).pieces.notice is None
        assert caplog.records == []
        monkeypatch.setattr(Model, "chat_template", None)
        notice = chat_format_of(model).pieces.notice
    model.close()
    assert notice
    assert notice in caplog.text
    assert "template" in notice


def test_what_a_crash_left_is_removed_at_the_start(tmp_path: Path) -> None:
    left = scratch.root() / f"{scratch.PREFIX}crashed"
    left.mkdir()
    (left / scratch.LOCK).write_bytes(b"")
    (left / "1").write_bytes(b"kv")
    with pytest.raises(ModelError):
        load_engine(Settings(model=str(tmp_path / "none.gguf")))
    assert not left.exists()
