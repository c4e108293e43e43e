"""Three equalities: batched == alone, restored == continued, chunked prefill == at once.

Token for token on a tiny float32 model. On the quantized real model the words are held equal and
every next-token distribution must be within KL 0.02 of its twin: batch shape and cell order change
the rounding there. The bound was measured in these shapes, and is claimed in no others: an engine's
first 64 tokens in one batch, then up to 512 at once, of one character or of three; against chunks
of 16 to 32 tokens; against a cache restored from a payload or read again. A step of 10 s keeps
prefill to these shapes also beside a busy core, where shorter steps would cut it by the clock.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from npc_engine.client.in_process import Engine
from npc_engine.llama.model import Layout, Model
from tests.support.real import GREEDY, INNKEEPER, SMITH, Twin, make_engine, worst_kl

pytestmark = pytest.mark.model

MOST_KL = 0.02
WHOLE = 10_000.0  # ms a step: every prompt is read at once
LINES = ["Good evening. Who are you?", "Have you seen my brother? He wore a red coat.", "Thanks."]
CAST = {"mara": INNKEEPER, "bram": SMITH, "wren": {"name": "Wren", "description": "A liar."}}

Talk = Callable[[Engine], None]


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path) -> Iterator[Model]:
    model = Model(tiny_llama)
    yield model
    model.close()


@pytest.fixture(scope="module")
def real(smollm2: Path) -> Iterator[Model]:
    model = Model(smollm2)
    yield model
    model.close()


def _spawn(engine: Engine, names: Iterable[str] = ("mara",)) -> None:
    for name in names:
        engine.spawn(name, CAST[name], sampling=GREEDY)


def _talk(engine: Engine, lines: list[str] = LINES, name: str = "mara") -> None:
    for line in lines:
        engine.say(name, line, max_tokens=24).wait()


def _alone(engine: Engine) -> None:
    for name in CAST:
        _spawn(engine, [name])
        _talk(engine, LINES[:2], name)


def _batched(engine: Engine) -> None:
    _spawn(engine, CAST)
    for line in LINES[:2]:
        speeches = [engine.say(name, line, max_tokens=24) for name in CAST]
        for speech in speeches:
            speech.wait()


def _run(
    model: Model,
    saves: Path,
    talk: Talk,
    twin: Twin | None = None,
    *,
    layout: Layout | None = None,
    n_batch: int = 512,
    step_ms: float = WHOLE,
) -> Twin:
    """Let an engine talk; with a twin it says what the twin said."""
    engine, backend = make_engine(
        model,
        saves,
        layout=layout,
        script=twin.said if twin else None,
        n_batch=n_batch,
        step_ms=step_ms,
    )
    try:
        talk(engine)
    finally:
        engine.close()
    return backend


def _one(engine: Engine) -> None:
    _spawn(engine)
    _talk(engine)


def test_batched_is_alone_token_for_token(tiny: Model, tmp_path: Path) -> None:
    alone = _run(tiny, tmp_path, _alone)
    batched = _run(tiny, tmp_path, _batched)
    assert len(alone.said) == 6
    assert all(len(words) > 1 for words in alone.said.values())
    assert batched.said == alone.said


def test_chunked_prefill_is_at_once_token_for_token(tiny: Model, tmp_path: Path) -> None:
    at_once = _run(tiny, tmp_path, _one)
    chunked = _run(tiny, tmp_path, _one, n_batch=32, step_ms=50.0)
    assert chunked.said == at_once.said


def test_restored_is_continued_token_for_token(tiny: Model, tmp_path: Path) -> None:
    continued = _run(tiny, tmp_path, _save_midway)
    restored = _run(tiny, tmp_path, _load_and_end)
    last = set(restored.said)
    assert len(last) == 1
    assert restored.said == {seed: continued.said[seed] for seed in last}


def test_restored_is_continued_at_a_temperature_token_for_token(
    tiny: Model, tmp_path: Path
) -> None:
    """A sampler's state is its seed and its turn: nothing else of it has to be saved."""

    def save_midway(engine: Engine) -> None:
        engine.spawn("mara", INNKEEPER, sampling={"temperature": 1.5, "top_k": 0, "seed": 11})
        _say_and_save(engine)

    continued = _run(tiny, tmp_path, save_midway)
    restored = _run(tiny, tmp_path, _load_and_end)
    (last,) = restored.said
    assert restored.said[last] == continued.said[last]
    greedy = {seed: [int(row.argmax()) for row in rows] for seed, rows in continued.heard.items()}
    assert continued.said[last] != greedy[last], "chance must have had a say"


def test_rewound_is_never_said_token_for_token(tiny: Model, tmp_path: Path) -> None:
    def straight(engine: Engine) -> None:
        engine.spawn("mara", INNKEEPER, sampling={"temperature": 1.0})
        _talk(engine)

    def rewound(engine: Engine) -> None:
        engine.spawn("mara", INNKEEPER, sampling={"temperature": 1.0})
        _talk(engine, [LINES[0], "I hate you.", "Where is the gold?"])
        engine.event("A dog barks in the yard.")
        assert engine.rewind("mara", 2).turn == 1
        backend.said.clear()
        _talk(engine, LINES[1:])

    first = _run(tiny, tmp_path, straight)
    engine, backend = make_engine(tiny, tmp_path, step_ms=WHOLE)
    with engine:
        rewound(engine)
    assert len(backend.said) == 2
    assert backend.said == {seed: first.said[seed] for seed in backend.said}


def _save_midway(engine: Engine) -> None:
    _spawn(engine)
    _say_and_save(engine)


def _say_and_save(engine: Engine) -> None:
    _talk(engine, LINES[:2])
    engine.event("A dog barks in the yard.")
    engine.save("midway")
    _talk(engine, LINES[2:])


def _load_and_end(engine: Engine) -> None:
    assert [npc.source for npc in engine.load("midway").npcs] == ["payload"]
    _talk(engine, LINES[2:])


def test_restored_is_continued_with_a_quantized_cache(tiny_llama: Path, tmp_path: Path) -> None:
    layout = Layout("q8_0", "q8_0", flash_attn=True)
    model = Model(tiny_llama.with_name("tiny-gemma3-swa.gguf"))  # its heads have blocks of 32
    try:
        continued = _run(model, tmp_path, _save_midway, layout=layout)
        restored = _run(model, tmp_path, _load_and_end, layout=layout)
    finally:
        model.close()
    (last,) = restored.said
    assert restored.said[last] == continued.said[last]


def _load_and_end_by_tokens(engine: Engine) -> None:
    loaded = engine.load("midway").npcs[0]
    assert loaded.source == "tokens"
    assert "layout" in (loaded.notice or "")
    _talk(engine, LINES[2:])


F16 = Layout("f16", "f16")


def test_batched_is_alone_on_the_real_model(real: Model, tmp_path: Path) -> None:
    alone = _run(real, tmp_path, _alone, layout=F16)
    assert worst_kl(alone, _run(real, tmp_path, _batched, alone, layout=F16)) < MOST_KL


def test_chunked_prefill_is_at_once_on_the_real_model(real: Model, tmp_path: Path) -> None:
    at_once = _run(real, tmp_path, _one, layout=F16)
    chunked = _run(real, tmp_path, _one, at_once, n_batch=32, step_ms=50.0, layout=F16)
    assert worst_kl(at_once, chunked) < MOST_KL


def test_restored_is_continued_on_the_real_model(real: Model, tmp_path: Path) -> None:
    continued = _run(real, tmp_path, _save_midway, layout=F16)
    by_payload = _run(real, tmp_path, _load_and_end, continued, layout=F16)
    assert worst_kl(continued, by_payload) < MOST_KL
    by_tokens = _run(real, tmp_path, _load_and_end_by_tokens, continued)
    assert worst_kl(continued, by_tokens) < MOST_KL


def test_a_twin_that_differs_is_noticed(real: Model, tmp_path: Path) -> None:
    """The measure itself: another persona must not pass for the same."""
    one = _run(real, tmp_path, _one, layout=F16)

    def another(engine: Engine) -> None:
        engine.spawn("mara", SMITH, sampling=GREEDY)
        _talk(engine)

    assert worst_kl(one, _run(real, tmp_path, another, one, layout=F16)) > 10 * MOST_KL
