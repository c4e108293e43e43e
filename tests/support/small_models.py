"""Models of a few hundred tokens, written on the spot."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gguf import GGUFValueType

from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "models"))  # scripts, not a package

from tiny import Draft, Vocabulary, write_llama

U32, F32, I32 = GGUFValueType.UINT32, GGUFValueType.FLOAT32, GGUFValueType.INT32
TEXT, BOOL, ARRAY = GGUFValueType.STRING, GGUFValueType.BOOL, GGUFValueType.ARRAY
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # llama.h: the kinds of tokens

Keys = dict[str, tuple[Any, GGUFValueType, GGUFValueType | None]]
Make = Callable[..., Path]


def spm_keys(*, with_bytes: bool = True, space_first: bool = True) -> Keys:
    """A SentencePiece vocabulary: bytes, ASCII, and two words."""
    words = ["\u2581", *map(chr, range(33, 127)), "\u2581old", "\u2581inn", "old", "in"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *words]
    byte = BYTE if with_bytes else NORMAL
    kinds = [UNKNOWN, CONTROL, CONTROL, *[byte] * 256, *[NORMAL] * len(words)]
    scores = [0.0] * 259 + [float(len(word)) for word in words]
    return {
        "model": ("llama", TEXT, None),
        "tokens": (tokens, ARRAY, TEXT),
        "token_type": (kinds, ARRAY, I32),
        "scores": (scores, ARRAY, F32),
        "unknown_token_id": (0, U32, None),
        "bos_token_id": (1, U32, None),
        "eos_token_id": (2, U32, None),
        "add_space_prefix": (space_first, BOOL, None),
    }


def maker(folder: Path) -> Make:
    """What writes a small model of the given vocabulary into a folder, and returns its path."""

    def make(
        keys: Keys | None = None,
        *,
        name: str = "small.gguf",
        arch: str = "llama",
        write: Callable[[Draft], None] = write_llama,
        **facts: Any,
    ) -> Path:
        listed = [
            (f"tokenizer.ggml.{key}", value, kind, item)
            for key, (value, kind, item) in (keys or spm_keys()).items()
        ]
        draft = Draft(folder / name, arch, Vocabulary(358, listed), half=False)
        write(draft)
        for key, value in facts.items():
            draft.writer.kv_data[0].pop(f"{arch}.{key}", None)
            draft.writer.add_key_value(f"{arch}.{key.replace('__', '.')}", value, _kind(value))
        draft.close()
        return folder / name

    return make


def _kind(value: object) -> GGUFValueType:
    return BOOL if isinstance(value, bool) else U32
