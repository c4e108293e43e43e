"""The text that a measurement reads, as tokens.

Owns what may be wrong with the file. It knows no policy.
"""

from pathlib import Path

from npc_engine.errors import SetupError
from npc_engine.llama.model import Model

__all__ = ["read_text"]

MAX_BYTES_PER_TOKEN = 64
"""More of a file is not read: prose has 3 to 6 a token."""


def read_text(model: Model, path: Path, n_tokens: int, is_begin: bool = True) -> list[int]:
    """Return the first `n_tokens` + 1 tokens of a text, the model's BOS before them if `is_begin`.

    Raises SetupError when it cannot be read, is no UTF-8, or is too short.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES_PER_TOKEN * (n_tokens + 1))
            is_whole = not file.read(1)
        words = (data if is_whole else _cut(data)).decode("utf-8")
    except OSError as error:
        raise SetupError(
            f"The text {str(path)!r} cannot be read: {error.strerror}.", "Check the path."
        ) from None
    except UnicodeDecodeError as error:
        raise SetupError(
            f"The text {str(path)!r} is no UTF-8: byte {error.start} is {data[error.start]:#x}.",
            "Save it as UTF-8.",
        ) from None
    tokens = [model.bos] * (model.add_bos and is_begin) + model.tokenize(words)
    if len(tokens) <= n_tokens:
        raise SetupError(
            f"The text {str(path)!r} has {len(tokens):,} tokens.",
            f"Give a longer one, or --tokens {max(2, len(tokens) - 1)} at most.",
        )
    return tokens[: n_tokens + 1]


def _cut(data: bytes) -> bytes:
    """Return the beginning of a text without its last character, which may be in pieces."""
    end = len(data) - 1
    while end and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end]
