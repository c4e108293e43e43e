"""What is kept of a reply, and where that lies in the bytes that were sampled.

Owns the text in pieces, its offsets in the raw bytes, and the blanks at both of its ends, which are
no part of it (rule 6 of `detokenizer`). It knows no marks: what is kept, `detokenizer` says.
"""

import re
from bisect import bisect_left

from npc_engine.text import punctuation

__all__ = ["BLANKS", "UNDECODABLE", "KeptText", "n_bytes"]

BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + punctuation.UNSEEN
BLANKS += "".join(map(chr, range(0xDC80, 0xDD00)))
# An undecodable byte is carried as one lone surrogate, so that offsets in bytes stay exact.
UNDECODABLE = re.compile(r"[\udc80-\udcff]")
# Behind what only opens a speech, nothing is said yet.
_SAID = re.compile(r"[^*_\"'\u2018\u201c\u201e\u00ab\u300c\u300e(\[#>`\u2013\u2014-]")


class KeptText:
    """The text of one reply so far: `n` characters. `has_said`: more than the opening of a speech.

    What comes in is as it was decoded; what goes out has U+FFFD for each byte that could not be.
    """

    def __init__(self) -> None:
        self.n = 0
        self.has_said = False
        self._blank = ""  # what is held back behind the text
        self._parts: list[str] = []
        self._fresh: list[str] = []
        # Runs of text that are also contiguous in the raw bytes.
        self._run_starts: list[int] = []
        self._run_raws: list[int] = []
        self._run_raw_end = -1

    @property
    def text(self) -> str:
        """All of it, clean and in whole code points."""
        return UNDECODABLE.sub("\ufffd", self._source())

    def take_fresh(self) -> str:
        """Return what came since the last call."""
        text = UNDECODABLE.sub("\ufffd", "".join(self._fresh))
        self._fresh.clear()
        return text

    def raw_offset(self, offset: int) -> int:
        """Return how many raw bytes reach to `offset` (code points, clamped to the text)."""
        offset = min(max(offset, 0), self.n)
        if offset == 0:
            return 0
        run = bisect_left(self._run_starts, offset) - 1
        return self._run_raws[run] + n_bytes(self._source()[self._run_starts[run] : offset])

    def add(self, source: str, raw: int) -> None:
        """Append what stands at offset `raw` of the raw bytes."""
        if not self.n:
            kept = source.lstrip(BLANKS)
            raw += n_bytes(source[: len(source) - len(kept)])
            source = kept
        if not source:
            return
        if raw != self._run_raw_end:
            self._run_starts.append(self.n + len(self._blank))
            self._run_raws.append(raw)
        self._run_raw_end = raw + n_bytes(source)
        source = self._blank + source
        kept = source.rstrip(BLANKS)
        self._blank = source[len(kept) :]
        if kept:
            self._parts.append(kept)
            self._fresh.append(kept)
            self.n += len(kept)
            self.has_said = self.has_said or _SAID.search(kept) is not None

    def _source(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""


def n_bytes(source: str) -> int:
    """Return how many raw bytes a decoded text was."""
    return len(source) if source.isascii() else len(source.encode(errors="surrogateescape"))
