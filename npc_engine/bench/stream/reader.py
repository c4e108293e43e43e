"""One policy of `bench stream` reads a text: in chunks, with likelihoods and times.

Owns how a text is cut into blocks and chunks, the mirror of a `policies.Plan` in a llama_context,
and what is counted. It knows no other policy and writes no report.

    block (1,024 tokens)    chunk chunk chunk ... chunk | 1 1 1 1 ... 1
                            read together, timed          read one by one, timed

Every token's logits are scored with the token that follows it. Room is made before each chunk,
and once for those that are read one by one.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from npc_engine.bench.stream.policies import Pinned, Plan, Reread, Rolling, Room
from npc_engine.errors import BackendError
from npc_engine.llama.context import Llama, Span

__all__ = ["N_BLOCK", "N_SINGLE", "Block", "Reader"]

N_BLOCK = 1024
"""Tokens of a block: perplexity and times are kept for each."""
N_SINGLE = 16
"""Tokens at a block's end that are read one by one, as a reply is generated."""


@dataclass
class Block:
    """What was counted over one block. Times in ms; `nll`: negative log likelihood, a sum in nats.

    `single_ms`: the median of the tokens read one by one; `first_ms`: the first of them, behind
    which room was made. `n_same`, `nll_same`: of the tokens that a sampled policy reads too.
    `context`: the sum, over the tokens scored, of the tokens that each could see.
    """

    n: int = 0
    nll: float = 0.0
    n_same: int = 0
    nll_same: float = 0.0
    n_read: int = 0
    read_ms: float = 0.0
    single_ms: float = 0.0
    first_ms: float = 0.0
    context: float = 0.0
    n_peak: int = 0


@dataclass
class Reader:
    """A policy over a text. `llama` has one slot and gives logits for `n_chunk` rows.

    `sample`: of so many chunks, a sampled policy reads one. `n_single`: tokens of a block that are
    read one by one.
    """

    llama: Llama
    plan: Plan
    n_chunk: int
    sample: int
    blocks: list[Block] = field(default_factory=list)
    n_single: int = N_SINGLE
    n_done: int = 0
    ended: str = ""

    @property
    def is_sampled(self) -> bool:
        """Whether only some chunks are read."""
        return isinstance(self.plan, Reread)

    def read(self, text: list[int], last: int) -> None:
        """Read one block, text[n_done:last]; text[last] must exist, for the last score."""
        if self.ended:
            return
        block = Block()
        singles: list[float] = []
        for first, n, alone, same in self._chunks(self.n_done, last):
            tokens = text[first : first + n]
            if self.is_sampled and not same:
                self.plan.add(tokens)
                continue
            ms = self._chunk(block, tokens, text[first + 1 : first + n + 1], alone, same)
            if ms is None:
                break
            if alone:
                singles = ms
            else:
                block.n_read += n
                block.read_ms += sum(ms)
                singles += ms if self.is_sampled else []
            self.n_done = first + n
        self._finish(block, singles, last)

    def _chunks(self, first: int, last: int) -> Iterator[tuple[int, int, bool, bool]]:
        """Yield (first, n, whether one by one, whether a sampled policy reads it) of a block."""
        end = max(first, last - self.n_single)
        for i, start in enumerate(range(first, end, self.n_chunk)):
            n = min(self.n_chunk, end - start)
            yield start, n, False, i % self.sample == self.sample // 2
        if end < last:
            yield end, last - end, True, False

    def _finish(self, block: Block, singles: list[float], last: int) -> None:
        if singles:
            block.single_ms = median(singles[1:] or singles)
            block.first_ms = block.single_ms if self.is_sampled else singles[0]
        if block.n:
            self.blocks.append(block)
        if not self.ended:
            self.n_done = last

    def _chunk(
        self, block: Block, tokens: list[int], following: list[int], alone: bool, same: bool
    ) -> list[float] | None:
        """Read and score tokens; returns ms of each decode, None where the policy has ended."""
        began = time.perf_counter()
        room = self.plan.make_room(len(tokens))
        if room is None:
            self.ended = "no room"
            return None
        self._apply(room)
        times = []
        n = 1 if alone else len(tokens)
        for i in range(0, len(tokens), n):
            part = tokens[i : i + n]
            held = self.plan.n_cells
            self.llama.decode([Span(0, self.plan.next_pos, part, True)], every=True)
            times.append(1000 * (time.perf_counter() - began))
            self.plan.add(part)
            self._score(block, following[i : i + n], held, same)
            began = time.perf_counter()
        return times

    def _apply(self, room: Room) -> None:
        if room.reread is not None:
            self._change(0, -1)
            n_batch = self.llama.n_batch
            for i in range(0, len(room.reread), n_batch):
                part = room.reread[i : i + n_batch]
                self.llama.decode([Span(0, i, part, False)])
            return
        for first, last in room.remove:
            self._change(first, last)
        for first, last, by in room.moves:
            self.llama.shift(0, first, last, by)

    def _change(self, first: int, last: int) -> None:
        if not self.llama.remove(0, first, last):
            raise BackendError(f"The cells {first} to {last} cannot be removed.")

    def _score(self, block: Block, following: list[int], held: int, same: bool) -> None:
        nll = sum(self.llama.surprise(i, t) for i, t in enumerate(following))
        n = len(following)
        block.n += n
        block.nll += nll
        block.context += n * (held + (n + 1) / 2)
        block.n_peak = max(block.n_peak, held + n)
        if same:
            block.n_same += n
            block.nll_same += nll

    def settle(self) -> bytes:
        """Put the cells out and back in, and return them: whoever resumes goes on from the same.

        Cells that were put back lie in another order, and sums of floats in another order differ.
        Nothing is returned where the cells can be read again as they were.
        """
        if self.ended or not isinstance(self.plan, Rolling | Pinned):
            return b""
        payload = self.llama.export(0)
        self._put_back(payload)
        return payload

    def _put_back(self, payload: bytes) -> None:
        self._change(0, -1)
        if not self.llama.restore(0, payload):
            raise BackendError("Cells that were put out cannot be put back.")

    def resume(self, text: list[int], blocks: list[Block], n_done: int, payload: bytes) -> None:
        """Go on behind `n_done` tokens, a block's end, with the cells of `settle`.

        Raises BackendError where they do not fit.
        """
        for first in range(0, n_done, N_BLOCK):
            self._repeat(text, first, min(first + N_BLOCK, n_done), reads=not payload)
        if payload:
            self._put_back(payload)
        self.blocks, self.n_done = blocks, n_done

    def _repeat(self, text: list[int], first: int, last: int, reads: bool) -> None:
        """Go through a block's steps again; the cells of full attention are read again, too."""
        for start, n, alone, _ in self._chunks(first, last):
            self.plan.make_room(n)
            step = 1 if alone else n
            for i in range(start, start + n, step):
                part = text[i : i + step]
                if reads and not self.is_sampled:
                    self.llama.decode([Span(0, self.plan.next_pos, part, False)])
                self.plan.add(part)
