"""llama.cpp's model half: weights and metadata of one GGUF file; its words are `vocab`'s.

With `vocab`, `context` and `sampler` the only files of the room that know llama_cpp.
Loading says in one sentence why a file cannot be used. It knows no KV cache and no characters.
"""

import ctypes
import hashlib
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Threads that spin while they wait starve a game on the same cores: measured 0.3 tokens/s instead
# of 26 beside two busy processes. libgomp and libomp read this when they are loaded. libomp spins
# 200 ms behind every step all the same, some 100 ms of processor time; 1 ms costs no speed, and
# with 0 two threads take four times as long. What the user has set is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("KMP_BLOCKTIME", "1")

import llama_cpp
import llama_cpp.llama_cpp as C  # noqa: N812

from npc_engine.errors import ModelError
from npc_engine.llama.model_file import cannot_talk, examine
from npc_engine.llama.rope import UNBOUNDED, RopeFacts
from npc_engine.llama.vocab import LlamaVocab

__all__ = [
    "LIBRARY_VERSION",
    "Layout",
    "Model",
    "build_id",
    "can_offload",
    "clear_why",
    "quantize",
    "system_info",
    "why",
]

log = logging.getLogger("npc_engine.llama")

_TRACE = 5  # config.LOG_LEVELS: llama.cpp says something of every tensor
logging.addLevelName(_TRACE, "TRACE")

_NO_VOCAB, _SPM = 0, 1  # llama.h: enum llama_vocab_type
_BYTE = 1 << 5  # llama.h: LLAMA_TOKEN_ATTR_BYTE
_BLOCK = 32  # ggml-common.h: QK8_0, QK4_0
_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}

LIBRARY_VERSION = str(llama_cpp.__version__)
"""The version of llama-cpp-python."""

# What llama.cpp says of files that are cut short or were changed on the way.
_DAMAGED = re.compile(r"not within the file bounds|corrupted|failed to read|magic|gguf_init")

_last_errors: list[str] = []


@C.llama_log_callback  # type: ignore[untyped-decorator]
def _on_log(level: int, text: bytes, _data: object) -> None:
    """Keep llama.cpp's own words: they explain a failed load. ggml.h: 2 info, 3 warn, 4 error."""
    line = text.decode("utf-8", "replace").strip()
    if level == 4 and line:
        del _last_errors[:-4]
        _last_errors.append(line)
    if line and line != ".":
        log.log(_TRACE, "%s", line)


def why() -> str:
    """Return what llama.cpp last complained of."""
    return "; ".join(_last_errors) or "no reason given"


def clear_why() -> None:
    """Forget earlier complaints, before a call that may fail."""
    _last_errors.clear()


@dataclass(frozen=True)
class Layout:
    """How the KV cache is laid out. A saved payload fits only the layout that it was made in."""

    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: bool = False

    @classmethod
    def parse(cls, kv_type: str, flash_attn: bool) -> "Layout":
        """Return the layout for a `--kv-type` such as `q8_0` or `q8_0/f16`."""
        type_k, _, type_v = kv_type.partition("/")
        return cls(type_k, type_v or type_k, flash_attn)

    def __str__(self) -> str:
        kinds = self.type_k if self.type_k == self.type_v else f"{self.type_k}/{self.type_v}"
        return f"{kinds}, flash attention {'on' if self.flash_attn else 'off'}"


def system_info() -> str:
    """Return what this library build can use: `AVX512 = 1 | AMX_INT8 = 1 | OPENMP = 1 ...`."""
    return str(C.llama_print_system_info().decode("utf-8", "replace"))


def build_id() -> str:
    """Return what tells this library build from every other: version, and its files' sizes, times.

    What was measured or tested with one build says nothing of the next.
    """
    folder = Path(llama_cpp.__file__).parent / "lib"
    files = sorted(f for f in folder.glob("*ggml*") if f.is_file() and not f.is_symlink())
    stats = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(f"{LIBRARY_VERSION} {stats}".encode()).hexdigest()[:16]


def can_offload() -> bool:
    """Return whether this library build can put layers on a GPU."""
    return bool(C.llama_supports_gpu_offload())


def quantize(source: Path, target: Path, file_type: int) -> bool:
    """Write a model in another quantization (llama.h: enum llama_ftype), even of a quantized file.

    False where llama.cpp cannot; the reason is in the log.
    """
    params = C.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = file_type, True
    ends = os.fsencode(source), os.fsencode(target)
    return bool(C.llama_model_quantize(*ends, ctypes.byref(params)) == 0)


class Model(LlamaVocab):
    """A GGUF model's weights and vocabulary. Raises ModelError with the reason."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_gpu_layers: int = 0,
        extra_bufts: bool = True,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.path = Path(path)
        self.n_gpu_layers = n_gpu_layers
        self.extra_bufts = extra_bufts
        self.file = examine(self.path)
        self.slow = ""  # for `welcome`: why it runs without them, where that was not wanted
        C.llama_log_set(_on_log, ctypes.c_void_p(0))
        C.llama_backend_init()
        params = C.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers
        # False also turns repacking off: slower, but the way round a broken AMX build.
        params.use_extra_bufts = extra_bufts
        # ctypes must keep the callback alive for as long as llama.cpp may call it.
        self._progress = C.llama_progress_callback(_progress_callback(progress))
        params.progress_callback = self._progress
        clear_why()
        self.handle = C.llama_model_load_from_file(os.fsencode(self.path), params)
        if not self.handle:
            raise self._why_not()
        self.vocab = C.llama_model_get_vocab(self.handle)
        self.n_vocab = C.llama_vocab_n_tokens(self.vocab)
        self.n_ctx_train: int = C.llama_model_n_ctx_train(self.handle)
        try:
            self._check_kind()
        except ModelError:
            self.close()
            raise
        self.n_params: int = C.llama_model_n_params(self.handle)
        self.n_bytes: int = C.llama_model_size(self.handle)
        self.n_head: int = max(1, C.llama_model_n_head(self.handle))
        super().__init__(self.vocab, self.chat_template or "")
        self._spm_lead = self._spm_prefix()

    def _why_not(self) -> ModelError:
        """Why llama.cpp did not load it: a damaged file, or one that it cannot run?"""
        said = why()
        if not self.file.is_whole or _DAMAGED.search(said):
            advice = "The file is damaged or incomplete: fetch it again."
        else:
            advice = (
                f"llama-cpp-python {LIBRARY_VERSION} cannot run this kind of file: use a newer "
                "version, or another chat model (docs/models.md lists some)."
            )
        return ModelError(f"{str(self.path)!r} cannot be loaded: {said}.", advice)

    def _check_kind(self) -> None:
        """Refuse what its file does not show, and llama.cpp knows."""
        name, arch = self.path.name, self.arch
        if C.llama_model_is_diffusion(self.handle):  # the first decode would end the process
            raise cannot_talk(name, arch, "writes a text all at once (a diffusion model)")
        if C.llama_model_has_encoder(self.handle):
            raise cannot_talk(name, arch, "embeds or translates")
        if self.n_ctx_train < 1 or not self._can_tokenize():
            raise cannot_talk(name, arch, "has no usable vocabulary or context length")

    def _can_tokenize(self) -> bool:
        """Without a vocabulary, or an SPM one without byte tokens, llama.cpp ends the process."""
        kind = C.llama_vocab_type(self.vocab)
        if kind != _SPM:
            return bool(kind != _NO_VOCAB)
        attributes = (C.llama_vocab_get_attr(self.vocab, t) for t in range(self.n_vocab))
        return any(a & _BYTE for a in attributes)

    def close(self) -> None:
        """Free the weights."""
        if self.handle:
            C.llama_model_free(self.handle)
            self.handle = None

    def meta(self, key: str) -> str:
        """Return a metadata value of the GGUF as text, "" when it has none."""
        size = 256
        while True:
            buf = ctypes.create_string_buffer(size)
            n = C.llama_model_meta_val_str(self.handle, key.encode(), buf, size)
            if n < size:
                return buf.value.decode("utf-8", "replace") if n >= 0 else ""
            size = n + 1

    @property
    def arch(self) -> str:
        """The architecture, such as `llama`."""
        return self.meta("general.architecture")

    @property
    def name(self) -> str:
        """The model's own name, or the file's."""
        # A file name need not be valid UTF-8; what is sent to clients has to be.
        return self.meta("general.name") or self.path.stem.encode("utf-8", "replace").decode()

    @property
    def chat_template(self) -> str | None:
        """The Jinja2 chat template, when the model has one."""
        template = C.llama_model_chat_template(self.handle, None)
        return template.decode("utf-8", "replace") if template else None

    @property
    def policy(self) -> str:
        """The kind of memory: full, swa (sliding window), recurrent or hybrid."""
        if C.llama_model_is_recurrent(self.handle):
            return "recurrent"
        if C.llama_model_is_hybrid(self.handle):
            return "hybrid"
        return "swa" if C.llama_model_n_swa(self.handle) > 0 else "full"

    @property
    def rope(self) -> RopeFacts:
        """What the GGUF says of its positions."""
        prefix = f"{self.arch}.rope.scaling"
        scaling = self.meta(f"{prefix}.type")
        factor = _number(self.meta(f"{prefix}.factor")) if scaling not in ("", "none") else 1.0
        original = int(_number(self.meta(f"{prefix}.original_context_length")))
        return RopeFacts(
            type=int(C.llama_model_rope_type(self.handle)),
            scaling="" if scaling == "none" else scaling,
            factor=factor,
            n_ctx_train=UNBOUNDED if self.policy == "recurrent" else self.n_ctx_train,
            n_ctx_orig=min(self.n_ctx_train, original)
            if original > 1
            else max(1, int(self.n_ctx_train / factor)),
            attn_factor=_number(self.meta(f"{prefix}.attn_factor")),
        )

    def fingerprint(self) -> str:
        """Return a digest that tells models apart: all metadata, sizes, and samples of the tensors.

        64 samples of 4 KiB, evenly over each of its files: cheap on any size, and another
        quantization or another fine-tune of the same model differs in them.
        """
        digest = hashlib.sha256(f"{self.arch} {self.n_params} {self.n_vocab}".encode())
        for part in self.file.parts:
            size = part.stat().st_size
            with part.open("rb") as f:
                for i in range(64):
                    f.seek(size * i // 64)
                    digest.update(f.read(4096))
            digest.update(str(size).encode())
        return digest.hexdigest()[:32]

    def vocab_digest(self) -> str:
        """Return a digest of the vocabulary: tokens of a save mean the same where it is equal."""
        keys = ("tokenizer.ggml.model", "tokenizer.ggml.pre")
        texts = [self.token_text(t) for t in range(0, self.n_vocab, max(1, self.n_vocab // 512))]
        parts = [*map(self.meta, keys), str(self.n_vocab), *texts]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    @property
    def head_sizes(self) -> tuple[int, int]:
        """Numbers in one head's key, and in its value."""
        head = C.llama_model_n_embd(self.handle) // self.n_head
        n_k = int(self.meta(f"{self.arch}.attention.key_length") or head)
        return n_k, int(self.meta(f"{self.arch}.attention.value_length") or head)

    def takes(self, layout: Layout) -> bool:
        """Whether a KV cache of this layout would be sound.

        llama.cpp quantizes in blocks of 32 numbers. Where a head is no multiple of that (80 in
        Phi-2), it reads across blocks without a word, and a K-shift ends the process.
        """
        kinds = (layout.type_k, layout.type_v)
        return not any(
            kind[0] == "q" and n % _BLOCK for kind, n in zip(kinds, self.head_sizes, strict=True)
        )

    def kv_bytes_per_token(self, layout: Layout) -> int:
        """Estimate the KV cache's bytes for one token of one sequence (full attention).

        0 for a recurrent model: its state is the same for any number of tokens.
        """
        if self.policy == "recurrent":
            return 0
        # Of the first layer. A hybrid's first may have no attention: then as if all had all heads.
        per_layer = C.llama_model_n_head_kv(self.handle) or self.n_head
        n_k, n_v = (per_layer * n for n in self.head_sizes)
        n_layer = C.llama_model_n_layer(self.handle)
        return int(n_layer * (n_k * _BYTES[layout.type_k] + n_v * _BYTES[layout.type_v]))

    def _spm_prefix(self) -> list[int]:
        """The tokens that an SPM vocabulary puts before the text that follows a newline.

        Empty where it adds no space at the beginning: there is nothing to work around.
        """
        adds_space = self.meta("tokenizer.ggml.add_space_prefix") != "false"
        if C.llama_vocab_type(self.vocab) != _SPM or not adds_space:
            return []
        return self._tokenize("\n", False)


def _number(text: str) -> float:
    """A positive number of the metadata, 1 where there is none."""
    try:
        number = float(text)
    except ValueError:
        return 1.0
    return number if 0 < number < 1e9 else 1.0


def _progress_callback(
    progress: Callable[[float], None] | None,
) -> Callable[[float, object], bool]:
    def call(fraction: float, _data: object) -> bool:
        if progress:
            progress(fraction)
        return True  # go on

    return call
