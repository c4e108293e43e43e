"""The model half of llama.cpp: files that are no models, and the vocabulary of those that are.

The tiny files here are written on the spot, with a vocabulary of a few hundred tokens.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npc_engine.errors import BackendError, ModelError
from npc_engine.llama.model import (
    Layout,
    Model,
    can_offload,
    clear_why,
    system_info,
    why,
)
from npc_engine.llama.vocab import N_PIECES
from tests.support.paths import ROOT
from tests.support.small_models import TEXT, Keys, Make, spm_keys

sys.path.insert(0, str(ROOT / "models"))  # scripts, not a package

from tiny import write_lfm2, write_mamba

NO_VOCABULARY: Keys = {"model": ("no_vocab", TEXT, None)}


@pytest.fixture
def load() -> Iterator[Callable[[Path], Model]]:
    loaded: list[Model] = []

    def load(path: Path) -> Model:
        loaded.append(Model(path))
        return loaded[-1]

    yield load
    for model in loaded:
        model.close()


Load = Callable[[Path], Model]


def refused(path: Path | str, *words: str) -> ModelError:
    """Loading fails with a reason and advice."""
    with pytest.raises(ModelError) as caught:
        Model(path)
    for word in words:
        assert word in caught.value.message
    assert caught.value.help
    return caught.value


# Files that are no chat models


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "none.gguf", "none.gguf", "No such file")
    assert "models/fetch.py" in refused(tmp_path / "none.gguf").help


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, "cannot be opened")


def test_a_path_with_a_nul() -> None:
    refused("a\0b.gguf", r"a\x00b.gguf", "cannot be opened")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    for data in (b"", b"GG", b"PK\x03\x04 and so on"):
        (tmp_path / "model.gguf").write_bytes(data)
        refused(tmp_path / "model.gguf", "is no GGUF model")


def test_a_file_that_ends_too_early(make: Make, tmp_path: Path) -> None:
    whole = make().read_bytes()
    for n in (4, 20, 1000, len(whole) // 2, len(whole) - 4096):
        (tmp_path / "cut.gguf").write_bytes(whole[:n])
        refused(tmp_path / "cut.gguf", "cut.gguf", "cannot be loaded")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    """The models that were closed."""
    closed: list[Model] = []
    close = Model.close

    def note(self: Model) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(Model, "close", note)
    return closed


def test_a_model_without_words(make: Make, closed: list[Model]) -> None:
    """llama.cpp ends the process when it is to tokenize with these."""
    refused(make(NO_VOCABULARY), "no usable vocabulary")
    refused(make(spm_keys(with_bytes=False)), "no usable vocabulary")
    assert [model.handle for model in closed] == [None, None]


def test_a_model_that_remembers_nothing(make: Make, closed: list[Model]) -> None:
    refused(make(context_length=0), "context length")
    assert [model.handle for model in closed] == [None]


def test_a_model_that_embeds(make: Make, closed: list[Model]) -> None:
    refused(make(attention__causal=False), "makes vectors of texts", "llama")
    assert not closed, "its head tells: it is not loaded at all"


def test_what_llama_cpp_said_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and then nonsense, quite a lot of it")
    assert "version" in refused(tmp_path / "bad.gguf", "bad.gguf").message
    clear_why()
    assert why() == "no reason given"


# Files that are


def test_a_small_model(make: Make, load: Load) -> None:
    heard: list[float] = []
    model = load(make())
    assert (model.arch, model.policy, model.name) == ("llama", "full", "tiny-llama")
    assert (model.n_vocab, model.n_ctx_train) == (358, 2048)
    assert (model.bos, model.eos, model.eog) == (1, 2, frozenset({2}))
    assert model.chat_template is None
    assert model.meta("no.such.key") == ""
    with_progress = Model(model.path, progress=heard.append)
    with_progress.close()
    with_progress.close()
    assert heard[-1] == 1.0
    assert heard == sorted(heard)


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a name be any bytes")
def test_a_name_that_is_not_utf_8(make: Make, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(os.fsdecode(os.fsencode(make().parent) + b"/b\xffd \xc3\xbc.gguf"))
    make().rename(path)
    model = load(path)
    assert model.n_vocab == 358
    monkeypatch.setattr(Model, "meta", lambda self, key: "")
    assert model.name.encode() == "b?d \u00fc".encode()  # it can be sent


def test_the_fingerprint_tells_models_apart(make: Make, load: Load) -> None:
    path = make()
    model = load(path)
    same = load(Path(shutil.copy(path, path.with_name("copy.gguf"))))
    assert same.fingerprint() == model.fingerprint()
    data = bytearray(path.read_bytes())
    for part in (1, 32, 63):  # a byte of a tensor, of one of the samples
        data[len(data) * part // 64 + 9] ^= 1
        other = path.with_name(f"other{part}.gguf")
        other.write_bytes(data)
        assert load(other).fingerprint() != model.fingerprint()
        data[len(data) * part // 64 + 9] ^= 1
    longer = path.with_name("longer.gguf")
    longer.write_bytes(bytes(data) + b"\0")
    assert load(longer).fingerprint() != model.fingerprint()


def test_the_vocabulary_has_a_digest(make: Make, load: Load) -> None:
    keys = spm_keys()
    one, same = load(make(keys)), load(make(keys, name="b.gguf", context_length=1024))
    assert one.vocab_digest() == same.vocab_digest()
    keys["tokens"][0][300] = "xx"
    assert load(make(keys, name="c.gguf")).vocab_digest() != one.vocab_digest()


def test_the_cache_takes_room(make: Make, load: Load) -> None:
    layers, kv = 2, 2 * 16  # of the model's two heads for keys and values
    llama = load(make())
    assert llama.kv_bytes_per_token(Layout("f32", "f32")) == layers * 2 * kv * 4
    assert llama.kv_bytes_per_token(Layout("f16", "f16")) == layers * 2 * kv * 2
    assert llama.kv_bytes_per_token(Layout("q8_0", "f16")) == int(layers * kv * (34 / 32 + 2))
    # The first layer of this hybrid has no attention; the others do.
    hybrid = load(make(arch="lfm2", write=write_lfm2, name="hybrid.gguf"))
    assert hybrid.policy == "hybrid"
    assert hybrid.kv_bytes_per_token(Layout("f16", "f16")) >= 2 * 2 * kv * 2
    mamba = load(make(arch="mamba", write=write_mamba, name="mamba.gguf"))
    assert mamba.policy == "recurrent"
    assert mamba.kv_bytes_per_token(Layout("f16", "f16")) == 0, "a large window costs nothing"


# Words


def pieces(model: Model, tokens: list[int]) -> bytes:
    return b"".join(map(model.piece, tokens))


TEXTS = ["old inn", " old", "\nold", "\n\nold", "\n", "\n\n\n", "(be kind)", "\u2014", "\u4f60", ""]


@pytest.mark.parametrize("space_first", [True, False])
def test_an_spm_text_goes_on_after_other_text(make: Make, load: Load, space_first: bool) -> None:
    """Whether it adds a space at the beginning of a text or not: nothing is added, nothing lost."""
    model = load(make(spm_keys(space_first=space_first)))
    for text in TEXTS:
        assert pieces(model, model.tokenize(text)) == text.encode(), repr(text)


def test_without_a_space_first_there_is_nothing_to_work_around(
    make: Make, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vocabulary with tokens for several newlines would join the one put before the text."""
    model = load(make(spm_keys(space_first=False)))
    asked: list[str] = []

    def tokenize(self: Model, text: str, markup: bool) -> list[int]:
        asked.append(text)
        newlines = len(text) - len(text.lstrip("\n"))  # all of them one token
        return [1000 + newlines] * bool(newlines) + [ord(c) for c in text.lstrip("\n")]

    monkeypatch.setattr(Model, "_tokenize", tokenize)
    model._spm_lead = model._spm_prefix()
    assert model.tokenize("\nab") == [1001, 97, 98]
    assert model.tokenize("ab") == [97, 98]
    assert asked == ["\nab", "ab"]
    monkeypatch.setattr(Model, "meta", lambda self, key: "")  # the key is missing: it adds one
    assert model._spm_prefix() == [1001]


def test_only_markup_has_special_tokens(make: Make, load: Load) -> None:
    model = load(make())
    assert 2 not in model.tokenize("</s>")
    assert pieces(model, model.tokenize("</s>")) == b"</s>"
    assert model.tokenize("</s>", markup=True) == [2]


@pytest.mark.model
def test_only_some_pieces_are_kept(tiny_llama: Path) -> None:
    model = Model(tiny_llama)
    pieces = [model.piece(token) for token in range(10_000)]
    assert [model.piece(token) for token in range(10_000)] == pieces
    assert model._piece.cache_info().currsize == N_PIECES < model.n_vocab
    model.close()


def test_pieces_are_bytes_and_texts_are_names(make: Make, load: Load) -> None:
    keys = spm_keys()
    keys["tokens"][0][-1] = "long" * 50
    model = load(make(keys))
    assert model.piece(3 + 0xE4) == b"\xe4"
    assert model.piece(2) == b""
    assert model.token_text(2) == "</s>"
    assert model.token_text(-1) == ""
    assert model.piece(357) == b"long" * 50
    assert model.piece(357) is model.piece(357)
    assert pieces(model, model.tokenize("\ud800 a")) == b"? a"


def test_a_text_that_cannot_be_tokenized(
    make: Make, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(make())
    monkeypatch.setattr("npc_engine.llama.vocab.C.llama_tokenize", lambda *args: -7)
    with pytest.raises(BackendError, match=r"3 bytes .*code -7"):
        model._tokenize("old", False)


def test_the_library() -> None:
    assert "=" in system_info()
    assert isinstance(can_offload(), bool)
    assert str(Layout.parse("q8_0/f16", True)) == "q8_0/f16, flash attention on"
    assert Layout.parse("f16", False) == Layout("f16", "f16", False)


# The real shapes


@pytest.mark.model
def test_each_kind_of_memory(tiny_model: Path, load: Load) -> None:
    model = load(tiny_model)
    text = "The old inn. \u4f60\u597d\n\n<|im_end|>"
    assert pieces(model, model.tokenize(text)) == text.encode()
    assert len(model.tokenize("<|im_end|>", markup=True)) == 1
    assert model.token_text(model.eos) == "<|im_end|>"
    assert "im_start" in (model.chat_template or "")
    if model.policy != "recurrent":
        assert model.kv_bytes_per_token(Layout()) > 0
