"""Files that are no chat model are refused before READY, each by what it is; models in parts."""

import shutil
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from npc_engine.cli import commands as cli
from npc_engine.client.in_process import Engine
from npc_engine.errors import ModelError
from npc_engine.llama.gguf_header import read_header
from npc_engine.llama.model import Model
from npc_engine.llama.model_file import examine, n_bytes_of
from tests.support.small_models import Make, spm_keys

WEIGHTS = np.zeros((4, 4), np.float32)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a small GGUF file of any kind; returns its path."""

    def write(
        keys: dict[str, Any] | None = None,
        *,
        arch: str = "llama",
        name: str = "small.gguf",
        tensors: Iterable[str] = ("token_embd.weight",),
    ) -> Path:
        writer = GGUFWriter(tmp_path / name, arch)
        for key, value in (keys or {}).items():
            add(writer, key, value)
        for tensor in tensors:
            writer.add_tensor(tensor, WEIGHTS)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tmp_path / name

    return write


def add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif key.startswith("split.") and key != "split.tensors.count":
        writer.add_uint16(key, value)
    else:
        writer.add_uint32(key, value)


KINDS: list[tuple[str, dict[str, Any], list[str], str]] = [
    ("llama", {"general.type": "adapter", "adapter.type": "lora"}, ["a"], r"adapter \(LoRA\)"),
    ("llama", {"adapter.type": "lora", "adapter.lora.alpha": 1.0}, ["a"], r"adapter \(LoRA\)"),
    ("llama", {}, ["blk.0.attn_q.weight.lora_a"], r"adapter \(LoRA\)"),
    ("clip", {"general.type": "mmproj"}, ["v.patch_embd.weight"], "sees or hears"),
    ("clip", {"clip.has_vision_encoder": True}, ["mm.0.weight"], "sees or hears"),
    ("llama", {"general.type": "mmproj"}, ["v.patch_embd.weight"], "sees or hears"),
    ("imatrix", {"general.type": "imatrix"}, ["blk.0.in_sum2"], "imatrix"),
    ("controlvector", {"controlvector.layer_count": 1}, ["direction.1"], "control vector"),
    ("llama", {"tokenizer.ggml.tokens": ["a", "b"]}, [], "a vocabulary and no weights"),
    *[
        (arch, {}, ["token_embd.weight"], "embedding model")
        for arch in ("bert", "nomic-bert", "modern-bert", "gemma-embedding", "t5encoder")
    ],
    *[
        (arch, {f"{arch}.pooling_type": pooling}, ["token_embd.weight"], words)
        for arch in ("llama", "qwen3")
        for pooling, words in enumerate(["embedding model"] * 3 + ["a reranker"], 1)
    ],
    *[
        (arch, {}, ["token_embd.weight"], "a diffusion model")
        for arch in ("dream", "llada", "llada-moe", "rnd1")
    ],
    ("qwen2", {"qwen2.attention.causal": False}, ["token_embd.weight"], "embedding model"),
    ("llama", {"diffusion.shift_logits": False}, ["token_embd.weight"], "a diffusion model"),
    ("wavtokenizer-dec", {}, ["token_embd.weight"], "a vocoder"),
    ("pockettts", {}, ["token_embd.weight"], "a model of speech"),
    *[
        (arch, {}, ["token_embd.weight"], "a draft head")
        for arch in ("eagle3", "dflash", "gemma4-assistant")
    ],
]


@pytest.mark.parametrize(("arch", "keys", "tensors", "words"), KINDS)
def test_each_kind_of_file_is_named(
    write: Write, arch: str, keys: dict[str, Any], tensors: list[str], words: str
) -> None:
    path = write(keys, arch=arch, tensors=tensors)
    with pytest.raises(ModelError, match=rf"'small\.gguf' \({arch}\) .*{words}.*cannot talk") as e:
        Model(path)
    assert "amaged" not in str(e.value)
    assert e.value.help
    assert len(e.value.message.splitlines()) == 1


@pytest.mark.parametrize("command", ["serve", "doctor", "chat"])
def test_every_command_refuses_it(
    write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    path = write({"general.type": "adapter"})
    more = {"serve": ["--bind", "tcp://127.0.0.1:0", "--saves", str(tmp_path)]}.get(command, [])
    assert cli.main([command, "--model", str(path), *more]) == 2
    out, err = capsys.readouterr()
    assert "READY" not in out
    rows = [row for row in err.splitlines() if "(LoRA)" in row]
    assert len(rows) == 1
    assert "is an adapter (LoRA) for a model: it cannot talk. Give the model that" in rows[0]


def test_an_engine_in_process_refuses_it(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"adapter \(LoRA\)"):
        Engine.open(write({"adapter.type": "lora"}), saves=str(tmp_path))


@pytest.mark.parametrize(
    "keys",
    [
        {"llama.pooling_type": 0},
        {"llama.attention.causal": True},
        {"general.type": "model"},
        {"llama.pooling_type": "4", "general.type": 7},  # what is no sense means nothing
    ],
)
def test_a_model_that_talks_is_not_refused(write: Write, keys: dict[str, Any]) -> None:
    file = examine(write(keys))
    assert (file.is_whole, len(file.parts)) == (True, 1)


def test_what_only_llama_cpp_knows_is_refused_after_loading(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make()
    monkeypatch.setattr("npc_engine.llama.model.C.llama_model_is_diffusion", lambda _model: True)
    with pytest.raises(ModelError, match=r"a diffusion model.*cannot talk"):
        Model(path)


def test_a_whole_file_of_an_unknown_kind_is_not_called_damaged(write: Write) -> None:
    with pytest.raises(ModelError, match=r"cannot be loaded: .*'flux'") as caught:
        Model(write(arch="flux"))
    assert "amaged" not in str(caught.value)
    assert "another chat model" in caught.value.help


def test_a_file_that_lacks_what_a_model_has_is_not_called_damaged(write: Write) -> None:
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        Model(write())
    assert "amaged" not in str(caught.value)


def test_a_file_that_was_cut_is(make: Make, tmp_path: Path) -> None:
    whole = make().read_bytes()
    for n in (40, 1000, len(whole) // 2, len(whole) - 4096):
        (tmp_path / "cut.gguf").write_bytes(whole[:n])
        with pytest.raises(ModelError) as caught:
            Model(tmp_path / "cut.gguf")
        assert "damaged or incomplete" in caught.value.help


def test_an_architecture_does_not_steer_the_terminal(write: Write) -> None:
    path = write({"general.type": "adapter"}, arch="\x1b[2J")
    with pytest.raises(ModelError) as caught:
        examine(path)
    assert caught.value.message.isprintable()


# Heads


def test_the_keys_of_a_head(write: Write) -> None:
    keys = {"a": 7, "b": "text", "c": True, "d": 0.5, "e": ["x", "y" * 300], "f": [1, 2], "g": 1}
    header = read_header(write(keys, tensors=("one", "two")))
    assert header
    assert {k: header.keys.get(k) for k in keys} == {**keys, "e": None, "f": None}
    assert (header.n_tensors, header.first_tensor) == (2, "one")
    assert (header.text("b"), header.text("a"), header.text("no")) == ("text", "", "")
    assert (header.number("a"), header.number("b"), header.number("c")) == (7, None, None)


def test_a_head_that_is_none_is_none(write: Write) -> None:
    path = write({"a": "text", "list": ["x", "y"]})
    whole = path.read_bytes()
    end = whole.index(b"token_embd.weight") + len("token_embd.weight")
    for n in range(end):
        path.write_bytes(whole[:n])
        assert read_header(path) is None
    path.write_bytes(whole[:end])
    assert read_header(path)


@pytest.mark.parametrize("n", [1 << 24, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1])
@pytest.mark.parametrize("what", ["tensors", "keys", "text", "list", "texts", "lists", "inner"])
def test_a_head_that_lies_is_none(tmp_path: Path, what: str, n: int) -> None:
    def key(kind: int, rest: bytes) -> bytes:
        return struct.pack("<Q", 1) + b"k" + struct.pack("<I", kind) + rest

    size = struct.pack("<Q", n)
    keys = {
        "text": key(8, size),
        "list": key(9, struct.pack("<I", 10) + size),
        "texts": key(9, struct.pack("<I", 8) + size + bytes(64)),
        "lists": key(9, struct.pack("<I", 9) + size + bytes(64)),
        "inner": key(9, struct.pack("<IQ", 8, 2) + size + bytes(64)),
    }.get(what, b"")
    counts = struct.pack("<QQ", n if what == "tensors" else 1, n if what == "keys" else 1)
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + struct.pack("<I", 3) + counts + keys)
    assert read_header(tmp_path / "x.gguf") is None


# Parts


@pytest.fixture
def parts(make: Make, tmp_path: Path) -> list[Path]:
    """A model in three parts, the first without tensors, as the splitting tool makes them."""
    return split(make(), tmp_path / "parts")


def split(whole: Path, folder: Path, change: int = -1) -> list[Path]:
    reader = GGUFReader(str(whole))
    half = len(reader.tensors) // 2
    groups: tuple[list[Any], ...] = ([], reader.tensors[:half], reader.tensors[half:])
    folder.mkdir()
    paths = [folder / f"m-{i + 1:05}-of-00003.gguf" for i in range(3)]
    for i, (path, tensors) in enumerate(zip(paths, groups, strict=True)):
        writer = GGUFWriter(path, "llama")
        for name, field in reader.fields.items() if i == 0 else ():
            if not name.startswith("GGUF.") and name != "general.architecture":
                item = field.types[-1] if field.types[1:] else None
                writer.add_key_value(name, field.contents(), field.types[0], item)
        writer.add_uint16("split.no", i)
        writer.add_uint16("split.count", 3)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            data = tensor.data[::-1].copy() if i == change else tensor.data
            writer.add_tensor(tensor.name, data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths


def loaded(path: Path) -> tuple[str, int, int]:
    model = Model(path)
    try:
        return model.fingerprint(), model.file.n_bytes, len(model.file.parts)
    finally:
        model.close()


def test_a_model_in_parts_is_all_of_them(parts: list[Path], make: Make, tmp_path: Path) -> None:
    n_bytes = sum(part.stat().st_size for part in parts)
    fingerprint, *facts = loaded(parts[0])
    assert facts == [n_bytes, 3]
    assert n_bytes_of(parts[0]) == n_bytes
    for i in (1, 2):
        changed = split(make(), tmp_path / f"changed{i}", change=i)
        assert changed[i].stat().st_size == parts[i].stat().st_size
        assert loaded(changed[0])[0] != fingerprint


def test_one_file_keeps_its_fingerprint(make: Make) -> None:
    """Saves of earlier versions have it."""
    keys = spm_keys()
    assert len(loaded(make(keys))[0]) == 32
    assert loaded(make(keys))[0] == loaded(make(keys, name="m-00001-of-00001.gguf"))[0]


@pytest.mark.parametrize("i", [1, 2])
def test_another_part_is_given(parts: list[Path], i: int) -> None:
    with pytest.raises(ModelError, match=rf"is part {i + 1} of a model in 3 parts") as caught:
        Model(parts[i])
    assert "Give part 1" in caught.value.help
    assert parts[0].name in caught.value.help
    parts[i].rename(parts[i].with_name("x.gguf"))
    with pytest.raises(ModelError, match=rf"is part {i + 1} of a model in 3 parts"):
        Model(parts[i].with_name("x.gguf"))


@pytest.mark.parametrize("i", [1, 2])
def test_a_part_is_missing(parts: list[Path], i: int) -> None:
    parts[i].rename(parts[i].with_name(f"other-0000{i + 1}-of-00003.gguf"))
    with pytest.raises(ModelError, match=rf"Part {i + 1} .*'{parts[i].name}'.* cannot be opened"):
        Model(parts[0])


@pytest.mark.parametrize("name", ["model.gguf", "m-00001-of-00002.gguf", "m-1-of-3.gguf"])
def test_the_first_part_is_renamed(parts: list[Path], name: str) -> None:
    renamed = parts[0].rename(parts[0].with_name(name))
    with pytest.raises(ModelError, match=r"part 1 of a model in 3 parts, and is not named") as e:
        Model(renamed)
    assert "'m-00001-of-00003.gguf'" in e.value.help


def test_parts_are_exchanged(parts: list[Path], tmp_path: Path) -> None:
    parts[1].rename(tmp_path / "x")
    parts[2].rename(parts[1])
    (tmp_path / "x").rename(parts[2])
    with pytest.raises(ModelError, match=r"Part 2 .* is part 3 of 3 by its own words"):
        Model(parts[0])


def test_a_part_is_no_part(parts: list[Path], make: Make) -> None:
    shutil.copy(make(), parts[2])
    with pytest.raises(ModelError, match=r"Part 3 .* is no part of a model by its own words"):
        Model(parts[0])


def test_a_part_is_damaged(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes()[:50])
    with pytest.raises(ModelError, match=r"Part 2 .*'m-00002-of-00003.gguf'.* is damaged"):
        Model(parts[0])


def test_a_part_of_a_model_with_other_tensors(parts: list[Path], write: Write) -> None:
    keys = {"split.no": 1, "split.count": 3, "split.tensors.count": 5}
    write(keys).replace(parts[1])
    with pytest.raises(ModelError, match=r"Part 2 .* belongs to another model"):
        Model(parts[0])
    header = read_header(parts[2])
    assert header
    write({**keys, "split.tensors.count": header.number("split.tensors.count")}).replace(parts[1])
    with pytest.raises(ModelError, match=r"one of them belongs to another model"):
        Model(parts[0])


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"PK\x03\x04", "convert_hf_to_gguf"),
    ],
)
def test_a_download_that_went_wrong_is_named(tmp_path: Path, start: bytes, words: str) -> None:
    path = tmp_path / "q4.gguf"
    path.write_bytes(start)
    with pytest.raises(ModelError, match="is no GGUF model") as caught:
        examine(path)
    assert words in str(caught.value)
