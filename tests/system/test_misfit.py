"""Saves that meet another engine: each loads by tokens or is refused, says why, and stays as it is.

The logic over the fake, for each fact of a header; the same for real where a model can be had in
every variety: another quantization is made here, by llama.cpp.
"""

import ctypes
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as C  # noqa: N812
import msgspec
import pytest

from npc_engine import protocol as m
from npc_engine.client.in_process import Engine
from npc_engine.errors import SnapshotError
from npc_engine.llama.model import Layout, Model
from npc_engine.storage.signing_key import installation_key
from tests.support.fake_llama import FakeLlama
from tests.support.mutate import FOREIGN, KEY, MUTATORS, NAME, Save, signed, signed_payload
from tests.support.real import GREEDY, INNKEEPER, Twin, kl, make_engine, worst_kl
from tests.support.rig import Rig, TimedLlama

pytestmark = pytest.mark.usefixtures("no_fsync")

MOST_KL = 0.02
LINES = ["Good evening. Who are you?", "Have you seen my brother? He wore a red coat."]
LAST = "Thanks. What do I owe you?"


class Other(TimedLlama):
    """A backend of which some facts differ."""

    facts: dict[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        return {**super().about, **self.facts}


def other(n_cells: int = 512, **facts: Any) -> Other:
    fake = Other(n_cells=n_cells)
    fake.facts = facts
    return fake


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, list[Any]]:
    """The file of a character with a past, and what its ledger holds."""
    rig = rig_of(tmp_path)
    rig.spawn(NAME, sampling={"seed": 3})
    rig.ask(m.Pin(id="pin", npc=NAME, text="Key: stove."))
    for line in (*LINES, *LINES):
        rig.event("A bell.")
        rig.talk(NAME, line, max_tokens=16)
    assert rig[NAME].dialogue.ledger.n_tokens > 360
    rig.save("slot")
    told = texts(rig)
    rig.close()
    return tmp_path / "slot" / f"{NAME}.npc", told


def rig_of(folder: Path, fake: FakeLlama | None = None, window: int = 500) -> Rig:
    rig = Rig(folder, fake=fake or TimedLlama(), window=window)
    rig.engine._saving._files.given_key = KEY
    return rig


def texts(rig: Rig) -> list[Any]:
    return [(s.kind, s.text, s.turn, s.pinned) for s in rig[NAME].dialogue.ledger.segments]


def with_header(file: Path, **change: Any) -> None:
    """Give a file another header, in order and signed."""
    save = Save.of(file.read_bytes())
    header = {**msgspec.msgpack.decode(save.header), **change}
    kept = {key: value for key, value in header.items() if value is not None}
    file.write_bytes(signed(msgspec.msgpack.encode(kept), save.state, save.payload, KEY))


@pytest.mark.parametrize(
    ("fake", "word"),
    [
        (lambda: other(fingerprint="same words, other weights"), "the model is another"),
        (lambda: other(fingerprint="quantized", layout="fake"), "the model is another"),
        (lambda: other(vocab="other words", fingerprint="other"), "told anew from its texts"),
        (lambda: other(layout="q8_0"), "the KV layout is another"),
        (lambda: other(llama="9.9"), "the llama.cpp build is another"),
    ],
    ids=["model", "quantization", "vocabulary", "KV type", "llama.cpp"],
)
def test_another_engine(
    tmp_path: Path, saved: tuple[Path, list[Any]], fake: Callable[[], FakeLlama], word: str
) -> None:
    file, told = saved
    before = file.read_bytes()
    rig = rig_of(tmp_path, fake())
    rig.fake.restore = None  # type: ignore[assignment, method-assign]
    (npc,) = rig.load("slot").npcs
    assert (npc.source, word in npc.notice) == ("tokens", True)
    assert texts(rig) == told
    rig.talk(NAME, LAST)
    rig.close()
    assert file.read_bytes() == before


@pytest.mark.parametrize("vocab", ["fake-vocab", "another"])
def test_a_window_smaller_than_the_saved_one(
    tmp_path: Path, saved: tuple[Path, list[Any]], vocab: str
) -> None:
    file, told = saved
    before = file.read_bytes()
    rig = rig_of(tmp_path, other(n_cells=360, vocab=vocab, layout="less"), window=360)
    (npc,) = rig.load("slot").npcs
    assert npc.source == "tokens" and npc.notice
    ledger = rig[NAME].dialogue.ledger
    assert ledger.window == 360
    assert ledger.n_evicted > 0
    kept = texts(rig)
    assert [t for t in kept if t[3]] == [t for t in told if t[3]], "what is pinned stays"
    assert set(kept) < set(told)
    assert kept[-2:] == told[-2:], "the newest stay"
    rig.talk(NAME, LAST)
    rig.close()
    assert file.read_bytes() == before


@pytest.mark.parametrize("vocab", ["fake-vocab", "another"])
def test_a_window_too_small_for_the_persona(tmp_path: Path, vocab: str) -> None:
    rig = rig_of(tmp_path)
    rig.spawn(NAME, card={"name": "A", "system_prompt": "x" * 220})
    rig.save("slot")
    rig.close()
    file = tmp_path / "slot" / f"{NAME}.npc"
    before = file.read_bytes()
    rig = rig_of(tmp_path, other(n_cells=256, vocab=vocab), window=256)
    error = rig.load("slot")
    assert error.code in ("bad_snapshot", "too_large")
    assert "256" in error.message
    assert "window" in error.help
    rig.close()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "0.0.1"},
        {"engine": "99.0"},
        {"engine": None},
        {"engine": ["no", "text"]},
        {"format": [1, 0]},
        {"format": [1, 99], "later": {"key": 1}},
    ],
    ids=["older", "newer", "unsaid", "odd", "the first format", "newer minor format"],
)
def test_another_version_of_the_engine(
    tmp_path: Path, saved: tuple[Path, list[Any]], change: dict[str, Any]
) -> None:
    file, told = saved
    with_header(file, **change)
    before = file.read_bytes()
    rig = rig_of(tmp_path)
    (npc,) = rig.load("slot").npcs
    assert (npc.source, npc.notice) == ("payload", None)
    assert texts(rig) == told
    rig.talk(NAME, LAST)
    rig.close()
    assert file.read_bytes() == before


@pytest.mark.parametrize("version", [[2, 0], [0, 9], [2**63, 1]])
def test_another_major_format_is_refused(
    tmp_path: Path, saved: tuple[Path, list[Any]], version: list[int]
) -> None:
    file, _ = saved
    with_header(file, format=version)
    before = file.read_bytes()
    rig = rig_of(tmp_path)
    error = rig.load("slot")
    assert error.code == "bad_snapshot"
    assert f"format {version[0]}.{version[1]}" in error.message
    assert "Nothing was changed" in error.help
    assert not rig.engine.stage.characters
    rig.spawn("bram")
    assert "bram" in rig.save("slot", ["bram"]).npcs  # a save beside it leaves it where it is
    rig.close()
    assert file.read_bytes() == before


# The same with llama.cpp


@pytest.fixture(scope="module")
def models(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A tiny model, and the same in 16 bits and in 4."""
    folder = tmp_path_factory.mktemp("models")
    quantized = folder / "q4_0.gguf"
    quantize(tiny_llama, quantized)
    yield {
        "tiny": tiny_llama,
        "f16": tiny_llama.with_name("tiny-llama-f16.gguf"),
        "q4_0": quantized,
    }
    shutil.rmtree(folder)


def quantize(source: Path, target: Path) -> None:
    params = C.llama_model_quantize_default_params()
    params.nthread = 2
    params.ftype = C.LLAMA_FTYPE_MOSTLY_Q4_0
    code = C.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    assert code == 0


def use(path: Path, saves: Path, talk: Callable[[Engine], None], **keys: Any) -> Twin:
    model = Model(path)
    try:
        engine, backend = make_engine(model, saves, step_ms=10_000.0, **keys)
        try:
            talk(engine)
        finally:
            engine.close()
    finally:
        model.close()
    return backend


def begin(engine: Engine) -> None:
    engine.spawn(NAME, INNKEEPER, sampling=GREEDY)
    for line in LINES:
        engine.say(NAME, line, max_tokens=16).wait()
    engine.save("slot")


def ledger_of(engine: Engine) -> list[Any]:
    segments = engine.core.stage.characters[NAME].dialogue.ledger.segments
    return [(s.kind, list(s.tokens), s.text, s.turn, s.pinned) for s in segments]


@pytest.mark.model
@pytest.mark.parametrize(
    ("model", "keys", "word"),
    [
        ("f16", {}, "the model is another"),
        ("q4_0", {}, "the model is another"),
        ("tiny", {"layout": Layout("f16", "f16")}, "the KV layout is another"),
        ("tiny", {"layout": Layout("q8_0", "f16")}, "the KV layout is another"),
        ("tiny", {"window": 256, "layout": Layout("f16", "f16")}, "the KV layout is another"),
    ],
    ids=["weights", "quantization", "f16", "q8_0", "window"],
)
def test_another_engine_for_real(
    models: dict[str, Path], tmp_path: Path, model: str, keys: dict[str, Any], word: str
) -> None:
    file = tmp_path / "slot" / f"{NAME}.npc"
    found: dict[str, Any] = {}

    def before(engine: Engine) -> None:
        begin(engine)
        found["ledger"] = ledger_of(engine)

    def after(engine: Engine) -> None:
        (npc,) = engine.load("slot").npcs
        assert npc.source == "tokens"
        assert npc.notice and word in npc.notice
        if "window" not in keys:
            assert ledger_of(engine) == found["ledger"]
        assert engine.say(NAME, LAST, max_tokens=8).wait().reason in ("stop", "length")

    use(models["tiny"], tmp_path, before)
    data = file.read_bytes()
    use(models[model], tmp_path, after, **keys)
    assert file.read_bytes() == data


@pytest.mark.model
def test_another_vocabulary_for_real(smollm2: Path, gemma: Path, tmp_path: Path) -> None:
    file = tmp_path / "slot" / f"{NAME}.npc"
    found: dict[str, Any] = {}

    def told(engine: Engine) -> list[Any]:
        return [(kind, text, turn) for kind, _, text, turn, _ in ledger_of(engine) if text]

    def before(engine: Engine) -> None:
        begin(engine)
        found["told"] = told(engine)

    def after(engine: Engine) -> None:
        (npc,) = engine.load("slot").npcs
        assert npc.source == "tokens"
        assert npc.notice and "told anew from its texts" in npc.notice
        assert told(engine) == found["told"]
        assert engine.say(NAME, LAST, max_tokens=8).wait().reason in ("stop", "length")

    use(smollm2, tmp_path, before)
    data = file.read_bytes()
    use(gemma, tmp_path, after)
    assert file.read_bytes() == data


@pytest.mark.model
def test_no_strangers_byte_reaches_llama_cpp(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seam itself: `state_seq_set_data` is called for our payload, and for no other."""
    use(models["tiny"], tmp_path, begin)
    file = tmp_path / "slot" / f"{NAME}.npc"
    save = Save.of(file.read_bytes())
    let_in: list[int] = []
    set_data = C.llama_state_seq_set_data

    def watched(ctx: Any, buf: Any, n: int, slot: int) -> int:
        let_in.append(n)
        return int(set_data(ctx, buf, n, slot))

    monkeypatch.setattr(C, "llama_state_seq_set_data", watched)

    def after(engine: Engine) -> None:
        key = installation_key()
        assert engine.load("slot").npcs[0].source == "payload"
        engine.say(NAME, LAST, max_tokens=2).wait()
        assert let_in, "the watch is at the wrong place"
        rng = random.Random(4)
        foreign = [signed(save.header, save.state, save.payload, FOREIGN)]
        for data in foreign + [mutator(rng, save) for mutator, _ in MUTATORS for _ in range(4)]:
            assert signed_payload(data, key) is None  # mutants are signed with a test's key
            file.write_bytes(data)
            let_in.clear()
            try:
                (npc,) = engine.load("slot").npcs
            except SnapshotError:
                continue
            assert npc.source == "tokens"
            engine.say(NAME, LAST, max_tokens=2).wait()
            assert not let_in

    use(models["tiny"], tmp_path, after)


# Restored == never stopped


@pytest.mark.model
def test_restored_by_payload_is_never_stopped_token_for_token(
    smollm2: Path, tmp_path: Path
) -> None:
    layout = Layout("f16", "f16")
    found: dict[str, Any] = {}

    def never_stopped(engine: Engine) -> None:
        begin(engine)
        found["ledger"] = ledger_of(engine)
        engine.say(NAME, LAST, max_tokens=24).wait()

    def by(source: str) -> Callable[[Engine], None]:
        def talk(engine: Engine) -> None:
            assert [npc.source for npc in engine.load("slot").npcs] == [source]
            assert ledger_of(engine) == found["ledger"]
            engine.say(NAME, LAST, max_tokens=24).wait()

        return talk

    on = use(smollm2, tmp_path, never_stopped, layout=layout)
    restored = use(smollm2, tmp_path, by("payload"), layout=layout)
    (seed,) = restored.said
    assert len(restored.said[seed]) > 4
    assert restored.said[seed] == on.said[seed]
    exact = [kl(p, q) for p, q in zip(on.heard[seed], restored.heard[seed], strict=True)]
    assert max(exact) < 1e-6

    f32 = use(smollm2, tmp_path, by("tokens"), layout=Layout("f32", "f32"), script=on.said)
    assert worst_kl(on, f32) < MOST_KL
    file = tmp_path / "slot" / f"{NAME}.npc"
    save = Save.of(file.read_bytes())
    file.write_bytes(signed(save.header, save.state, save.payload, KEY))  # of another installation
    again = use(smollm2, tmp_path, by("tokens"), layout=layout, script=on.said)
    assert worst_kl(on, again) < MOST_KL
