"""llama.cpp's vocabularies: texts to tokens and back.

With `model`, `context` and `sampler` the only files of the room that know llama_cpp. Owns
that no text can hurt the tokenizer, and that only markup has special tokens. It knows no weights.

Many pre-tokenizers of llama.cpp go through `std::regex`, which calls itself once for each character
of a match: 26,000 letters in a row end the process on a stack of 8 MB, 3,300 on one of 1 MB, as the
threads of games have. So no stretch is longer than `MAX_RUN`. Ordinary text is cut where every
pre-tokenizer ends a word: before the blank between two words, before white space behind a letter,
before a mark of CJK writing. Where there is no such place in all of a stretch, it is cut anyhow.
"""

import ctypes
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import llama_cpp.llama_cpp as C  # noqa: N812

from npc_engine.errors import BackendError
from npc_engine.text.special_tokens import SpecialTokens, is_mark

__all__ = ["MAX_RUN", "N_PIECES", "LlamaVocab", "stretches"]

N_PIECES = 4096  # tokens whose bytes are kept: more than a model says in a long talk
MAX_RUN = 512  # characters: a sixth of what a stack of 1 MB bears

_MARKS = (
    "\u3001\u3002\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\u2026\u300d\u300f\u0f0b\u0f0d\u104a\u104b"
)
_WORD_END = rf"(?<=\S)(?= \S)|(?<=[^\W_])(?=\s)|(?<=[^\W\d_])(?=[{_MARKS}])"
_STRETCH = re.compile(rf".{{1,{MAX_RUN}}}(?:{_WORD_END})", re.DOTALL)

_BPE = 2  # llama.h: LLAMA_VOCAB_TYPE_BPE
_CONTROL, _USER_DEFINED = 1 << 3, 1 << 4  # llama.h: enum llama_token_attr


class LlamaVocab:
    """A vocabulary. `template`: the model's chat template, which tells what is markup."""

    vocab: Any
    n_vocab: int
    _spm_lead: list[int]

    def __init__(self, vocab: Any, template: str) -> None:
        self.add_bos: bool = C.llama_vocab_get_add_bos(vocab)
        self.bos: int = C.llama_vocab_bos(vocab)
        self.eos: int = C.llama_vocab_eos(vocab)
        self.eog = frozenset(t for t in range(self.n_vocab) if C.llama_vocab_is_eog(vocab, t))
        # Bounded: over a million tokens a dict would come to hold the whole vocabulary.
        self._piece = lru_cache(N_PIECES)(partial(_piece, vocab))
        kinds = [C.llama_vocab_get_attr(vocab, t) for t in range(self.n_vocab)]
        named = {
            t: self.token_text(t) for t, k in enumerate(kinds) if k & (_CONTROL | _USER_DEFINED)
        }
        loose = {t for t in named if kinds[t] & _USER_DEFINED}
        self.special: Mapping[int, str] = {
            t: text for t, text in named.items() if t not in loose or is_mark(text, template)
        }
        """Tokens that are markup, and their texts."""
        # llama.cpp finds these in plain text, too.
        self._marks = SpecialTokens(text for t, text in self.special.items() if t in loose)

    def tokenize(self, text: str, markup: bool = False) -> list[int]:
        """Return the tokens of a text. Only in `markup` are special tokens recognised.

        The text counts as going on after other text: an SPM vocabulary adds no leading space.
        """
        parts = [text] if markup else self._marks.parts(text)
        return [token for part in parts if part for token in self._going_on(part, markup)]

    def _going_on(self, text: str, markup: bool) -> list[int]:
        lead = self._spm_lead
        tokens = self._tokenize(("\n" + text) if lead else text, markup)
        return tokens[len(lead) :] if lead and tokens[: len(lead)] == lead else tokens

    def _tokenize(self, text: str, markup: bool) -> list[int]:
        """In stretches, where long ones would overflow the stack: here, so that nobody forgets."""
        if C.llama_vocab_type(self.vocab) != _BPE or len(text) <= MAX_RUN:
            return self._tokens(text, markup)
        parts = self._apart(text) if markup else [text]
        stretched = (stretch for part in parts for stretch in stretches(part))
        return [token for stretch in stretched for token in self._tokens(stretch, markup)]

    def _apart(self, markup: str) -> list[str]:
        """A template's own text, with each special token by itself: none is cut."""
        special = filter(None, self.special.values())
        found = sorted((text for text in special if text in markup), key=len, reverse=True)
        return re.split(f"({'|'.join(map(re.escape, found))})", markup) if found else [markup]

    def _tokens(self, text: str, markup: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        out = (ctypes.c_int32 * size)()
        n = C.llama_tokenize(self.vocab, data, len(data), out, size, False, markup)
        if n < 0:
            raise BackendError(f"A text of {len(data)} bytes cannot be tokenized (code {n}).")
        return list(out[:n])

    def piece(self, token: int) -> bytes:
        """Return the bytes that a token stands for; control tokens are empty."""
        return self._piece(token)

    def token_text(self, token: int) -> str:
        """Return a token as the vocabulary writes it, such as `<|im_end|>`; "" for none."""
        text = C.llama_vocab_get_text(self.vocab, token) if token >= 0 else None
        return text.decode("utf-8", "replace") if text else ""


def _piece(vocab: Any, token: int) -> bytes:
    size = 64
    buf = ctypes.create_string_buffer(size)
    n = C.llama_token_to_piece(vocab, token, buf, size, 0, False)
    if n < 0:
        size = -n
        buf = ctypes.create_string_buffer(size)
        n = C.llama_token_to_piece(vocab, token, buf, size, 0, False)
    return buf.raw[: max(n, 0)]


def stretches(text: str) -> Iterator[str]:
    """Yield a text in pieces of at most `MAX_RUN` characters, a short one as it is."""
    start = 0
    while len(text) - start > MAX_RUN:
        whole = _STRETCH.match(text, start)
        end = whole.end() if whole else start + MAX_RUN
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]
