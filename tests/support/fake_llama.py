"""A backend without a model that enforces llama.cpp's rules. Byte tokens, a hash for a mind.

The next token depends on the tokens that a slot holds, in order, and on nothing else: so batched
equals alone, restored equals continued, and a token that should have left shows at once.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npc_engine.config import Sampling
from npc_engine.errors import BackendError, NoRoom
from npc_engine.text.chat_format import ChatFormat
from npc_engine.text.chat_template import probe

BOS, START, END = 256, 257, 258
_MARKUP = {"<|im_start|>": START, "<|im_end|>": END}
_LETTERS = b"etaoin shrdlu etaoin. "
_NUMBERS = [b"%d" % token for token in range(END + 1)]


@dataclass
class FakeSampler:
    """Counts how it is used."""

    seed: int
    recent: list[int]
    quotable: Callable[[], Iterable[str]] = tuple
    closed: bool = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def babble(tokens: Sequence[int]) -> int:
    """The default mind: letters, and an end now and then."""
    h = zlib.crc32(b"[%b]" % b", ".join(map(_NUMBERS.__getitem__, tokens)))
    return END if h % 41 == 0 else _LETTERS[h % len(_LETTERS)]


@dataclass
class FakeLlama:
    n_slots: int = 4
    n_cells: int = 512
    n_batch: int = 64
    n_pos: int = 100_000
    mind: Callable[[Sequence[int]], int] = babble
    add_bos: bool = True
    bos: int = BOS
    layout: str = "fake"
    eog: frozenset[int] = frozenset({END})
    slots: list[dict[int, int]] = field(init=False)
    samplers: list[FakeSampler] = field(default_factory=list)
    batches: list[list[tuple[int, int, list[int], bool]]] = field(default_factory=list)
    n_failures: int = 0  # decodes that are to fail
    can_shift: bool = True
    keeps_states: bool = False  # a recurrent state: what was read last cannot be taken back
    closed: bool = False
    n_threads: int = 1
    world: str = ""  # what every character knows

    def __post_init__(self) -> None:
        self.slots = [{} for _ in range(self.n_slots)]
        self._rows: dict[int, int] = {}

    # vocabulary

    @property
    def special(self) -> dict[int, str]:
        return {BOS: "<s>", START: "<|im_start|>", END: "<|im_end|>"}

    def tokenize(self, text: str, markup: bool = False) -> list[int]:
        out: list[int] = []
        while text:
            mark = next((t for t in _MARKUP if markup and text.startswith(t)), None)
            if mark:
                out.append(_MARKUP[mark])
                text = text[len(mark) :]
            else:
                cut = min((i for i in (text.find("<|im", 1),) if i > 0), default=len(text))
                cut = cut if markup else len(text)
                out += text[:cut].encode("utf-8", "replace")
                text = text[cut:]
        return out

    def piece(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    # cache

    def decode(self, spans: Sequence[Any]) -> list[int]:
        if self.n_failures:
            self.n_failures -= 1
            raise BackendError("The fake was told to fail.")
        self._rows = {}
        self._check(spans)
        rows, n = [], 0
        for slot, first, tokens, logits in spans:
            self.slots[slot].update(zip(range(first, first + len(tokens)), tokens, strict=True))
            n += len(tokens)
            if logits:
                self._rows[n - 1] = slot
            rows.append(n - 1)
        self.batches.append([(s, f, list(t), lg) for s, f, t, lg in spans])
        return rows

    def _check(self, spans: Sequence[Any]) -> None:
        """A batch that llama.cpp would refuse or die of; a refused one changes nothing."""
        assert 0 < sum(len(tokens) for _, _, tokens, _ in spans) <= self.n_batch
        assert len({s[0] for s in spans}) == len(spans), "a slot twice in a batch"
        for slot, first, tokens, _ in spans:
            assert 0 <= slot < self.n_slots and tokens
            assert min(tokens) >= 0 and max(tokens) <= END, "a token that is not in the vocabulary"
            cells = self.slots[slot]
            assert first == max(cells, default=-1) + 1, "the tail is not contiguous"
            assert first + len(tokens) <= self.n_pos, "a position beyond the trained limit"
        if any(len(self.slots[slot]) + len(tokens) > self.n_cells for slot, _, tokens, _ in spans):
            raise NoRoom("full")

    def set_threads(self, n: int) -> None:
        assert n >= 1
        self.n_threads = n

    def held(self, slot: int) -> list[int]:
        """The tokens in a slot, by position."""
        cells = self.slots[slot]
        positions = sorted(cells)
        if positions == list(cells):  # nothing has moved
            return list(cells.values())
        return list(map(cells.__getitem__, positions))

    def sampler(
        self,
        sampling: Sampling,
        seed: int,
        recent: Sequence[int] = (),
        quotable: Callable[[], Iterable[str]] = tuple,
    ) -> FakeSampler:
        sampler = FakeSampler(seed, list(recent), quotable)
        self.samplers.append(sampler)
        return sampler

    def sample(self, row: int, sampler: FakeSampler, may_end: bool = True) -> int:
        assert not sampler.closed
        token = self.mind(self.held(self._rows[row]))  # KeyError: logits were not asked for
        return ord("m") if token in self.eog and not may_end else token

    def logits(self, row: int) -> Any:
        logits = np.zeros(END + 1, np.float32)
        logits[self.mind(self.held(self._rows[row]))] = 9.0
        return logits

    def remove(self, slot: int, first: int, last: int) -> bool:
        assert 0 <= slot < self.n_slots and first >= 0
        cells = self.slots[slot]
        if (
            self.keeps_states
            and cells
            and 0 < first <= max(cells)
            and (last < 0 or last > max(cells))
        ):
            return False
        for position in [p for p in cells if p >= first and (last == -1 or p < last)]:
            del cells[position]
        return True

    def copy_state(self, slot: int) -> bytes:
        assert self.keeps_states
        return json.dumps(sorted(self.slots[slot].items())).encode()

    def put_state(self, slot: int, state: bytes, end: int) -> int:
        """What has left since the copy was made stays away, as the KV cache of a hybrid does."""
        assert self.keeps_states
        held = {int(p): t for p, t in json.loads(state)}
        assert max(held) == end - 1
        cells = self.slots[slot]
        assert all(held[p] == t for p, t in cells.items() if p < end), "a state of another past"
        self.slots[slot] = {p: t for p, t in cells.items() if p < end}
        return max(self.slots[slot], default=-1) + 1

    def shift(self, slot: int, first: int, last: int, by: int) -> None:
        assert self.can_shift and 0 <= first < last and first + by >= 0
        cells = self.slots[slot]
        moved = {p: cells.pop(p) for p in sorted(cells) if first <= p < last}
        assert moved and not cells.keys() & {p + by for p in moved}, "two cells of one position"
        cells.update({p + by: token for p, token in moved.items()})

    def settle(self, slot: int) -> bool:
        self._rows = {}
        return len(self.slots[slot]) < self.n_cells

    def export(self, slot: int) -> bytes:
        return json.dumps([self.layout, sorted(self.slots[slot].items())]).encode()

    def export_size(self, slot: int) -> int:
        return len(self.export(slot))

    def restore(self, slot: int, payload: bytes) -> bool:
        assert not self.slots[slot], "a slot that is not empty"
        layout, cells = json.loads(payload)
        if layout != self.layout or len(cells) > self.n_cells:
            return False
        self.slots[slot] = {int(p): t for p, t in cells}
        return True

    @property
    def about(self) -> dict[str, Any]:
        return {
            "model": {"name": "fake", "arch": "fake", "n_params": 0, "n_ctx_train": self.n_pos},
            "fingerprint": "fake-model",
            "vocab": "fake-vocab",
            "n_vocab": 259,
            "layout": self.layout,
            "llama": "0",
            "model_bytes": 0,
            "kv_bytes": 0,
            "n_threads": self.n_threads,
        }

    def chat_format(self, template: str | None = None) -> ChatFormat:
        """The ChatML voice, or that of a template."""
        return ChatFormat(self, probe(template, bos="", eos="<|im_end|>"), self.world)

    def close(self) -> None:
        self.closed = True
