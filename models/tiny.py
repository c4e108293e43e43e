"""Write tiny random-weight GGUF models for the tests, one for each kind of memory.

usage: python models/tiny.py [--source MODEL.gguf] [--to DIR]

Owns the shapes: llama (full attention), mamba (recurrent), gemma3 (sliding window), lfm2 (hybrid).
The tokenizer and chat template are copied from the source model, so every tiny model reads text as
the real one does. The same source gives the same bytes. Needs `gguf`, which the dev extra brings.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from numpy.typing import NDArray

__all__ = ["TINY", "main", "write_all"]

_HERE = Path(__file__).resolve().parent
_SOURCE = _HERE / "SmolLM2-135M-Instruct.Q4_1.gguf"
_STAMP = "stamp.json"
_SEED = 20
_N_CTX_TRAIN = 2048
_N_EMBD = 64
_N_FF = 128
# Twice the usual weights in queries and keys: attention that picks a few tokens out, so that each
# token in the window matters to what comes next.
_SHARP = 2 * _N_EMBD**-0.5


class Draft:
    """A GGUF being written, with a random stream of its own.

    Shapes are (out, in), as numpy has them; GGUF stores them reversed. Matrices are stored in F16
    if `half`, else in F32; norms, biases and convolutions always in F32, as llama.cpp wants them.
    """

    def __init__(self, path: Path, arch: str, vocabulary: "Vocabulary", *, half: bool) -> None:
        self.writer = GGUFWriter(path, arch)
        self._random = np.random.default_rng(_SEED)
        self._half = half
        self._n_tokens = vocabulary.n_tokens
        kind = LlamaFileType.MOSTLY_F16 if half else LlamaFileType.ALL_F32
        self.writer.add_name(f"tiny-{arch}")
        self.writer.add_file_type(kind)
        self.writer.add_context_length(_N_CTX_TRAIN)
        self.writer.add_embedding_length(_N_EMBD)
        self.writer.add_vocab_size(vocabulary.n_tokens)
        for key, value, value_type, item_type in vocabulary.keys:
            self.writer.add_key_value(key, value, value_type, item_type)
        self.matrix("token_embd", vocabulary.n_tokens, _N_EMBD, scale=0.5)

    def matrix(self, name: str, *shape: int, scale: float | None = None) -> None:
        """Add random weights in the draft's type, by default of variance 1 / inputs."""
        weights = self._normal(shape, scale)
        self._add(f"{name}.weight", weights.astype(np.float16) if self._half else weights)

    def matrix_f32(self, name: str, *shape: int) -> None:
        """Add random weights in F32."""
        self._add(f"{name}.weight", self._normal(shape, None))

    def norm(self, name: str, length: int, gain: float = 1.0) -> None:
        """Add the weights of a norm: all `gain`."""
        self._add(f"{name}.weight", np.full(length, gain, np.float32))

    def head(self) -> None:
        """Add the last norm and an output matrix of its own.

        With the embedding as output, a random model only repeats its last token, and a test that
        compares tokens would pass on a cache full of garbage.
        """
        self.norm("output_norm", _N_EMBD)
        self.matrix("output", self._n_tokens, _N_EMBD)

    def exact(self, name: str, values: NDArray[np.float32]) -> None:
        """Add given values under the whole name."""
        self._add(name, values)

    def close(self) -> None:
        """Write everything out."""
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()

    def _normal(self, shape: tuple[int, ...], scale: float | None) -> NDArray[np.float32]:
        size = shape[-1] ** -0.5 if scale is None else scale
        return (self._random.standard_normal(shape) * size).astype(np.float32)

    def _add(self, name: str, values: NDArray[np.float32] | NDArray[np.float16]) -> None:
        self.writer.add_tensor(name, values)


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer's keys of a GGUF file, as the writer takes them."""

    n_tokens: int
    keys: list[tuple[str, object, GGUFValueType, GGUFValueType | None]]

    @classmethod
    def of(cls, source: Path) -> "Vocabulary":
        """Read them from `source`."""
        fields = GGUFReader(source).fields
        keys = [
            (name, value.contents(), value.types[0], value.types[-1] if value.types[1:] else None)
            for name, value in fields.items()
            if name.startswith("tokenizer.")
        ]
        return cls(len(fields["tokenizer.ggml.tokens"].data), keys)


def write_llama(draft: Draft) -> None:
    """Full attention, two layers, grouped queries."""
    n_layers, n_heads, n_kv_heads = 2, 4, 2
    n_rot = _N_EMBD // n_heads
    _attention_keys(draft, n_layers, n_heads, n_kv_heads)
    draft.writer.add_layer_norm_rms_eps(1e-5)
    draft.writer.add_rope_dimension_count(n_rot)
    draft.head()
    for layer in range(n_layers):
        draft.norm(f"blk.{layer}.attn_norm", _N_EMBD)
        _attention(draft, layer, n_heads, n_kv_heads, n_rot)
        _feed_forward(draft, layer)


def write_mamba(draft: Draft) -> None:
    """A state-space model: constant state, no KV cells (arXiv 2312.00752)."""
    n_layers, n_inner, n_state, n_conv = 2, 2 * _N_EMBD, 16, 4
    n_rank = _N_EMBD // 16
    draft.writer.add_block_count(n_layers)
    draft.writer.add_feed_forward_length(0)
    draft.writer.add_head_count(0)
    draft.writer.add_ssm_conv_kernel(n_conv)
    draft.writer.add_ssm_inner_size(n_inner)
    draft.writer.add_ssm_state_size(n_state)
    draft.writer.add_ssm_time_step_rank(n_rank)
    draft.writer.add_layer_norm_rms_eps(1e-5)
    draft.head()
    decay = -np.tile(np.arange(1, n_state + 1, dtype=np.float32), (n_inner, 1))
    for layer in range(n_layers):
        block = f"blk.{layer}"
        draft.norm(f"{block}.attn_norm", _N_EMBD)
        draft.matrix(f"{block}.ssm_in", 2 * n_inner, _N_EMBD)
        draft.matrix_f32(f"{block}.ssm_conv1d", n_inner, n_conv)
        draft.exact(f"{block}.ssm_conv1d.bias", np.zeros(n_inner, np.float32))
        draft.matrix(f"{block}.ssm_x", n_rank + 2 * n_state, n_inner)
        draft.matrix_f32(f"{block}.ssm_dt", n_inner, n_rank)
        # softplus(-4): each token changes the state a little, as in a trained model.
        draft.exact(f"{block}.ssm_dt.bias", np.full(n_inner, -4, np.float32))
        draft.exact(f"{block}.ssm_a", decay)
        # A weak way past the state, or only the last few tokens would matter.
        draft.exact(f"{block}.ssm_d", np.full(n_inner, 0.05, np.float32))
        draft.matrix(f"{block}.ssm_out", _N_EMBD, n_inner)


def write_gemma3(draft: Draft) -> None:
    """Five layers with a window of 64 tokens, then one that sees everything."""
    n_layers, n_heads, n_kv_heads, n_head = 6, 2, 1, 32
    _attention_keys(draft, n_layers, n_heads, n_kv_heads)
    draft.writer.add_key_length(n_head)
    draft.writer.add_value_length(n_head)
    draft.writer.add_layer_norm_rms_eps(1e-6)
    draft.writer.add_rope_freq_base(1e6)
    draft.writer.add_sliding_window(64)
    draft.head()
    for layer in range(n_layers):
        block = f"blk.{layer}"
        draft.norm(f"{block}.attn_norm", _N_EMBD)
        _attention(draft, layer, n_heads, n_kv_heads, n_head)
        _head_norms(draft, layer, n_head)
        _feed_forward(draft, layer)
        draft.norm(f"{block}.post_attention_norm", _N_EMBD)
        draft.norm(f"{block}.post_ffw_norm", _N_EMBD)


def write_lfm2(draft: Draft) -> None:
    """Short convolutions (recurrent) and attention, layer by layer."""
    n_layers, n_heads, n_kv_heads, n_conv = 4, 4, 2, 3
    n_head = _N_EMBD // n_heads
    _attention_keys(draft, n_layers, n_heads, [0, n_kv_heads] * (n_layers // 2))
    draft.writer.add_layer_norm_rms_eps(1e-5)
    draft.writer.add_rope_freq_base(1e6)
    draft.writer.add_shortconv_l_cache(n_conv)
    draft.norm("token_embd_norm", _N_EMBD)
    for layer in range(n_layers):
        block = f"blk.{layer}"
        draft.norm(f"{block}.attn_norm", _N_EMBD)
        _feed_forward(draft, layer)
        if layer % 2:
            _attention(draft, layer, n_heads, n_kv_heads, n_head)
            _head_norms(draft, layer, n_head)
        else:
            draft.matrix_f32(f"{block}.shortconv.conv", _N_EMBD, n_conv)
            draft.matrix(f"{block}.shortconv.in_proj", 3 * _N_EMBD, _N_EMBD)
            draft.matrix(f"{block}.shortconv.out_proj", _N_EMBD, _N_EMBD)


@dataclass(frozen=True)
class Tiny:
    """One file to write: its architecture, its writer, and the type of its matrices."""

    arch: str
    write: Callable[[Draft], None]
    half: bool = False


TINY = {
    "tiny-llama.gguf": Tiny("llama", write_llama),
    "tiny-llama-f16.gguf": Tiny("llama", write_llama, half=True),
    "tiny-mamba.gguf": Tiny("mamba", write_mamba),
    "tiny-gemma3-swa.gguf": Tiny("gemma3", write_gemma3),
    "tiny-lfm2-hybrid.gguf": Tiny("lfm2", write_lfm2),
}


def write_all(source: Path, folder: Path) -> list[Path]:
    """Write every tiny model into `folder`, unless they are there; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in TINY]
    key = _key(source)
    if _stamp_of(folder) == {"key": key, "n_bytes": _sizes(paths)}:
        return paths
    vocabulary = Vocabulary.of(source)
    for path, tiny in zip(paths, TINY.values(), strict=True):
        temporary = path.with_suffix(".tmp")
        draft = Draft(temporary, tiny.arch, vocabulary, half=tiny.half)
        tiny.write(draft)
        draft.close()
        temporary.replace(path)
    stamp = json.dumps({"key": key, "n_bytes": _sizes(paths)})
    (folder / _STAMP).write_text(stamp, "utf-8")
    return paths


def main(arguments: list[str] | None = None) -> int:
    """Write the models; return the exit status."""
    parser = argparse.ArgumentParser(description="Write tiny random models for the tests.")
    parser.add_argument("--source", type=Path, default=_SOURCE, help="GGUF to take the words from")
    parser.add_argument("--to", type=Path, default=_HERE / "tiny", help="folder")
    options = parser.parse_args(arguments)
    if not options.source.is_file():
        print(f"{options.source} is not there: run models/fetch.py first.", file=sys.stderr)
        return 1
    paths = write_all(options.source, options.to)
    print(f"Tiny models: {len(paths)} in {options.to}")
    return 0


def _attention_keys(draft: Draft, n_layers: int, n_heads: int, n_kv_heads: int | list[int]) -> None:
    draft.writer.add_block_count(n_layers)
    draft.writer.add_head_count(n_heads)
    draft.writer.add_head_count_kv(n_kv_heads)
    draft.writer.add_feed_forward_length(_N_FF)


def _attention(draft: Draft, layer: int, n_heads: int, n_kv_heads: int, n_head: int) -> None:
    draft.matrix(f"blk.{layer}.attn_q", n_heads * n_head, _N_EMBD, scale=_SHARP)
    draft.matrix(f"blk.{layer}.attn_k", n_kv_heads * n_head, _N_EMBD, scale=_SHARP)
    draft.matrix(f"blk.{layer}.attn_v", n_kv_heads * n_head, _N_EMBD)
    draft.matrix(f"blk.{layer}.attn_output", _N_EMBD, n_heads * n_head)


def _head_norms(draft: Draft, layer: int, n_head: int) -> None:
    draft.norm(f"blk.{layer}.attn_q_norm", n_head, gain=2)
    draft.norm(f"blk.{layer}.attn_k_norm", n_head, gain=2)


def _feed_forward(draft: Draft, layer: int) -> None:
    draft.norm(f"blk.{layer}.ffn_norm", _N_EMBD)
    draft.matrix(f"blk.{layer}.ffn_gate", _N_FF, _N_EMBD)
    draft.matrix(f"blk.{layer}.ffn_up", _N_FF, _N_EMBD)
    draft.matrix(f"blk.{layer}.ffn_down", _N_EMBD, _N_FF)


def _key(source: Path) -> str:
    """Return a hash of what decides the bytes: this file and the source model."""
    with source.open("rb") as model:
        words = hashlib.file_digest(model, "sha256").digest()
    return hashlib.sha256(Path(__file__).read_bytes() + words).hexdigest()


def _sizes(paths: list[Path]) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in paths if path.is_file()}


def _stamp_of(folder: Path) -> object:
    try:
        return json.loads((folder / _STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(main())
