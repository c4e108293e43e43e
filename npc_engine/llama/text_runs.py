"""A text in stretches that a tokenizer can bear.

Owns where a text may be cut so that its tokens stay as they are. It knows text only.

Many pre-tokenizers of llama.cpp go through `std::regex`, which calls itself once for each character
of a match: 26,000 letters in a row end the process on a stack of 8 MB, 3,300 on one of 1 MB, as the
threads of games have. So no stretch is longer than `MAX_RUN`. Ordinary text is cut where every
pre-tokenizer ends a word: before the blank between two words, before white space behind a letter,
before a mark of CJK writing. Where there is no such place in all of a stretch, it is cut anyhow.
"""

import re
from collections.abc import Iterator

__all__ = ["MAX_RUN", "stretches"]

MAX_RUN = 512  # characters: a sixth of what a stack of 1 MB bears

_MARKS = (
    "\u3001\u3002\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\u2026\u300d\u300f\u0f0b\u0f0d\u104a\u104b"
)
_WORD_END = rf"(?<=\S)(?= \S)|(?<=[^\W_])(?=\s)|(?<=[^\W\d_])(?=[{_MARKS}])"
_STRETCH = re.compile(rf".{{1,{MAX_RUN}}}(?:{_WORD_END})", re.DOTALL)


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
