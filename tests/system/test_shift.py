"""Moving cached keys to other positions: exact where we say so, and harmful where we do not.

The measure is what a fresh reading of the same tokens at the new positions makes of them.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npc_engine.client.in_process import Engine
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.errors import BackendError, ConfigError
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.kv_layout import choose_layout
from npc_engine.llama.model import Layout, Model
from npc_engine.llama.rope import Rope, resolve
from npc_engine.loading import chat_format_of
from tests.support.real import GREEDY, INNKEEPER, kl

pytestmark = pytest.mark.model

N_CELLS = 512
EXACT = 1e-6  # nats: the rounding of float32
NEAR = 2e-3  # of float16
F32 = Layout("f32", "f32")
TEXT = "The old inn by the sea has three rooms and a cellar, and the tide is out. "


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[Model]:
    model = Model(tiny_llama)
    yield model
    model.close()


def rope_of(model: Model, scaling: str, freq_scale: float | None = None) -> Rope:
    return resolve(model.rope, scaling, freq_scale, N_CELLS)


def open_llama(model: Model, layout: Layout = F32, rope: Rope | None = None) -> Llama:
    return Llama(model, n_slots=2, n_cells=N_CELLS, layout=layout, rope=rope)


def after(llama: Llama, slot: int, tokens: list[int], first: int) -> Any:
    """The distribution behind the last of the tokens, the others being in the cache."""
    return llama.logits(llama.decode([Span(slot, first, tokens[-1:], True)])[0])


def damage(llama: Llama, n_shifts: int = 1, by: int = 100) -> float:
    """KL of a window that was moved `n_shifts` times from one that was read where it now is."""
    tokens = llama.model.tokenize(TEXT * 4)
    n = len(tokens) - 1
    first = n_shifts * by
    llama.decode([Span(0, first, tokens[:-1], False)])
    for _ in range(n_shifts):
        llama.shift(0, first, first + n, -by)
        first -= by
        # Each is carried out before the next, as in a long talk.
        llama.decode([Span(0, first + n, tokens[-1:], False)])
        llama.remove(0, first + n, -1)
    moved = after(llama, 0, tokens, n)
    llama.decode([Span(1, 0, tokens[:-1], False)])
    return kl(after(llama, 1, tokens, n), moved)


@pytest.mark.parametrize("scaling", ["none", "linear"])
def test_a_plain_rotation_moves_exactly(model: Model, scaling: str) -> None:
    llama = open_llama(model, rope=rope_of(model, scaling, 0.5 if scaling == "linear" else None))
    assert llama.can_shift
    assert damage(llama) < EXACT
    llama.close()


def test_sixty_four_moves_leave_a_rounding_error(model: Model) -> None:
    llama = open_llama(model, Layout())
    assert llama.can_shift
    assert damage(llama, n_shifts=64, by=20) < NEAR
    llama.close()


def test_quantized_keys_of_a_real_model_move_too(smollm2: Path) -> None:
    model = Model(smollm2)
    llama = open_llama(model, Layout("q8_0", "f16"))
    assert llama.can_shift
    assert damage(llama, n_shifts=4) < 0.02
    llama.close()
    model.close()


def test_heads_that_are_no_multiple_of_a_block_are_not_quantized(model: Model) -> None:
    """llama.cpp takes them, reads across blocks, and ends the process when they move."""
    assert model.head_sizes == (16, 16)
    assert not model.takes(Layout("q8_0", "f16"))
    assert not model.takes(Layout("q4_0", "q4_0", True))
    assert model.takes(Layout("bf16", "bf16"))
    with pytest.raises(ConfigError, match="blocks of 32"):
        choose_layout(model, "q8_0/f16", "off", 1)


def test_yarn_is_damaged_by_a_move_and_is_not_moved(model: Model) -> None:
    """llama.cpp's own llama_memory_can_shift says yes to it. The scale is applied twice."""
    llama = open_llama(model, rope=rope_of(model, "yarn", 0.25))
    once = damage(llama)
    llama.remove(0, 0, -1)
    llama.remove(1, 0, -1)
    assert once > 100 * EXACT
    assert damage(llama, n_shifts=8) > 2 * once, "it grows with each move"
    assert not llama.can_shift
    llama.close()


def test_keys_that_the_model_file_scales_are_not_moved(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GGUF of Phi-3.5 names no type of scaling, only the factor that its longrope needs."""
    meta = Model.meta
    scaled = {"llama.rope.scaling.attn_factor": "1.190238"}
    monkeypatch.setattr(Model, "meta", lambda self, key: scaled.get(key) or meta(self, key))
    llama = open_llama(model)
    assert model.rope.attn_factor == 1.190238
    assert llama.why_no_shift == "scaled keys"
    llama.close()


@pytest.mark.parametrize("layout", [Layout("bf16", "bf16"), Layout("q4_0", "q4_0", True)], ids=str)
def test_types_that_drift_or_end_the_process_are_not_moved(smollm2: Path, layout: Layout) -> None:
    model = Model(smollm2)
    llama = open_llama(model, layout)
    assert not llama.can_shift
    llama.close()
    model.close()


def test_other_kinds_of_memory_are_not_moved(tiny_model: Path) -> None:
    model = Model(tiny_model)
    llama = open_llama(model)
    assert llama.can_shift == (model.policy == "full")
    llama.close()
    model.close()


def test_a_copy_that_is_made_after_a_move_is_whole(model: Model) -> None:
    """The rotation is done by the next decode only: a state copied out before would be garbage."""
    llama = open_llama(model)
    tokens = model.tokenize(TEXT * 4)
    n = len(tokens) - 1
    llama.decode([Span(0, 50, tokens[:-1], False)])
    llama.shift(0, 50, 50 + n, -50)
    assert llama.restore(1, llama.export(0))
    assert llama.positions(0) == llama.positions(1) == (0, n - 1)
    assert kl(after(llama, 0, tokens, n), after(llama, 1, tokens, n)) < EXACT
    llama.close()


def test_a_full_slot_has_no_copy_until_its_cells_have_moved(model: Model) -> None:
    llama = open_llama(model)
    tokens = (model.tokenize(TEXT) * 99)[: llama.n_cells]
    llama.decode([Span(0, 9, tokens, False)])
    llama.shift(0, 9, 9 + len(tokens), -9)
    assert llama.export(0) == b""
    assert llama.export_size(0) == 0
    llama.decode([Span(1, 0, tokens[:1], False)])
    assert llama.export_size(0) == len(llama.export(0)) > 0
    llama.close()


@pytest.mark.parametrize("move", [(0, 5, 5, -1), (0, 5, 9, -6), (2, 5, 9, -1), (0, -1, 9, 1)])
def test_a_move_that_cannot_be_is_refused(model: Model, move: tuple[int, int, int, int]) -> None:
    llama = open_llama(model)
    with pytest.raises(BackendError, match="cannot move"):
        llama.shift(*move)
    llama.close()


@pytest.mark.parametrize("scaling", ["none", "yarn"])
def test_an_engine_renumbers_without_damage(model: Model, scaling: str, tmp_path: Path) -> None:
    """Past the last position several times. Yarn is read again, and is then what a fresh reading
    makes. Keys that move stay what they were, made while turns that have left were still there.
    """
    rope = dataclasses.replace(
        rope_of(model, scaling, 0.5 if scaling == "yarn" else None), n_pos=700
    )
    llama = open_llama(model, rope=rope)
    settings = Settings(window=256, saves=str(tmp_path))
    with Engine(EngineCore(llama, chat_format_of(model), settings)) as engine:
        engine.spawn("mara", INNKEEPER, sampling=GREEDY)
        ledger = engine.core.stage.characters["mara"].dialogue.ledger
        for turn in range(60):
            n_renumbered = ledger.n_renumbered
            engine.say("mara", f"And on day {turn}?", max_tokens=24).wait()
            while engine.core.patience() == 0:
                engine.core.step()
            if n_renumbered >= 2 and ledger.n_renumbered > n_renumbered:
                break
        assert ledger.n_renumbered >= 3
        assert ledger.n_holes == 0
        assert llama.can_shift == (scaling == "none")
        slot = engine.core.stage.characters["mara"].dialogue.sequence.slot
        assert slot is not None
        tokens, end = ledger.tokens(), ledger.next_pos
        assert llama.positions(slot) == (0, end - 1) == (0, ledger.n_tokens - 1)
        if llama.can_shift:
            return
        assert llama.remove(slot, end - 1, -1)
        kept = after(llama, slot, tokens, end - 1)
        fresh = open_llama(model, rope=rope)
        fresh.decode([Span(0, 0, tokens[:-1], False)])
        assert kl(after(fresh, 0, tokens, end - 1), kept) < 10 * EXACT
        fresh.close()
