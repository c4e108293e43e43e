"""A policy over a real model: exact likelihoods, and a cache that can be put out and back in."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from npc_engine.bench.stream.policies import Pinned, Plan, Reread, Rolling, Room, Whole
from npc_engine.bench.stream.reader import N_BLOCK, Reader
from npc_engine.kvcache.ledger import Ledger
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Layout, Model

pytestmark = pytest.mark.model
WINDOW, CHUNK = 64, 8
EXACT = Layout("f32", "f32")


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[Model]:
    model = Model(tiny_llama)
    yield model
    model.close()


@pytest.fixture(scope="module")
def text(model: Model) -> list[int]:
    tokens = model.tokenize("The ferry left at dawn, and nobody asked who had paid for it. " * 200)
    return [(t * 7919 + i) % model.n_vocab for i, t in enumerate(tokens)]


def llama(model: Model, n_cells: int = WINDOW) -> Llama:
    return Llama(model, n_cells=n_cells, n_batch=64, n_outputs=16, layout=EXACT)


PLANS: dict[str, Callable[[], Plan]] = {
    "no sinks": lambda: Rolling(WINDOW, 0),
    "4 sinks": lambda: Rolling(WINDOW, 4),
    "ours": lambda: Pinned(WINDOW, 256, 8, 8, True),
    "recompute": lambda: Reread(WINDOW),
    "full": lambda: Whole(2048),
}


def reader(model: Model, name: str, sample: int = 1) -> Reader:
    cells = 2048 if name == "full" else WINDOW
    return Reader(llama(model, cells), PLANS[name](), CHUNK, sample, n_single=4)


def nll(logits: "np.ndarray[tuple[int], np.dtype[np.float32]]", token: int) -> float:
    x = logits.astype(np.float64)
    return float(np.log(np.exp(x - x.max()).sum()) + x.max() - x[token])


def test_full_attention_is_what_one_reading_gives(model: Model, text: list[int]) -> None:
    one = Llama(model, n_cells=256, n_batch=256, n_outputs=256, layout=EXACT)
    one.decode([Span(0, 0, text[:200], True)], every=True)
    expected = sum(nll(one.logits(i), text[i + 1]) for i in range(200))
    one.close()
    read = reader(model, "full")
    read.read(text, 200)
    read.llama.close()
    assert read.blocks[0].n == 200
    assert read.blocks[0].nll == pytest.approx(expected, rel=1e-5)


class Unmoved(Rolling):
    """The window without sinks, its cells left where they are."""

    n_gone = 0

    def make_room(self, n_new: int) -> Room:
        room = super().make_room(n_new)
        n_out = sum(last - first for first, last in room.remove)
        gone = [(first + self.n_gone, last + self.n_gone) for first, last in room.remove]
        self.n_gone += n_out
        self.next_pos = self.n_cells + self.n_gone
        return Room(gone)


def test_moved_cells_are_exact(model: Model, text: list[int]) -> None:
    """Rotary positions are relative: a window that moves as a whole reads as one that stays."""
    moved, unmoved = reader(model, "no sinks"), reader(model, "no sinks")
    unmoved.plan = Unmoved(WINDOW, 0)
    for read in (moved, unmoved):
        read.read(text, 400)
        read.llama.close()
    assert moved.blocks[0].nll == pytest.approx(unmoved.blocks[0].nll, rel=1e-5)


def test_recomputation_reads_the_last_tokens_alone(model: Model, text: list[int]) -> None:
    read = reader(model, "recompute")
    read.n_single = 0
    for last in range(CHUNK, 201, CHUNK):  # a block for each chunk
        read.read(text, last)
    read.llama.close()
    fresh = Llama(model, n_cells=WINDOW, n_batch=WINDOW, n_outputs=WINDOW, layout=EXACT)
    for i, block in enumerate(read.blocks):
        last = CHUNK * (i + 1)
        seen = text[max(0, last - WINDOW) : last]
        fresh.remove(0, 0, -1)
        fresh.decode([Span(0, 0, seen, True)], every=True)
        rows = range(len(seen) - CHUNK, len(seen))
        expected = sum(nll(fresh.logits(row), text[last - len(seen) + row + 1]) for row in rows)
        assert block.nll == pytest.approx(expected, rel=1e-5)
    fresh.close()


def test_four_sinks_and_ours_agree_where_they_keep_the_same(
    model: Model, text: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ways to the same cells: positions within the cache, and holes that are closed at once."""
    monkeypatch.setattr(Ledger, "wants_renumbering", property(lambda self: self.n_holes > 0))
    rolling, pinned = reader(model, "4 sinks"), reader(model, "ours")
    rolling.plan = Rolling(WINDOW, 8)
    for read in (rolling, pinned):
        read.n_single = 0
        read.read(text, 400)
        read.llama.close()
    assert pinned.plan.n_cells == WINDOW
    assert pinned.blocks[0].context == rolling.blocks[0].context
    assert pinned.blocks[0].nll == pytest.approx(rolling.blocks[0].nll, rel=1e-5)


@pytest.mark.parametrize("name", PLANS)
def test_a_resumed_reader_goes_on_as_if_nothing_had_been(
    model: Model, text: list[int], name: str
) -> None:
    whole, half = reader(model, name, sample=2), reader(model, name, sample=2)
    for read in (whole, half):
        read.read(text, N_BLOCK)
        payload = read.settle()
    resumed = reader(model, name, sample=2)
    resumed.resume(text, half.blocks, half.n_done, payload)
    for read in (whole, resumed):
        read.read(text, 1200)
    counts = [[(b.n, b.nll, b.context, b.n_peak) for b in r.blocks] for r in (whole, resumed)]
    assert counts[0] == counts[1]
    assert whole.n_done == resumed.n_done == 1200
    for read in (whole, half, resumed):
        read.llama.close()


def test_full_attention_ends_where_the_cells_end(model: Model, text: list[int]) -> None:
    read = Reader(llama(model), Whole(WINDOW), CHUNK, 1, n_single=0)
    read.read(text, 100)
    read.read(text, 120)
    read.llama.close()
    assert read.ended == "no room"
    assert [b.n for b in read.blocks] == [64]
    assert read.n_done == 64


def test_tokens_read_one_by_one_are_timed_apart(model: Model, text: list[int]) -> None:
    read = reader(model, "4 sinks")
    read.read(text, 100)
    read.llama.close()
    block = read.blocks[0]
    assert (block.n, block.n_read) == (100, 96)
    assert block.read_ms > 0 < block.single_ms
    assert block.first_ms > 0
    assert block.n_peak == WINDOW
