"""The context half of llama.cpp: what would end the process is refused, and state moves whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npc_engine.config import Sampling
from npc_engine.errors import BackendError, NoRoom
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Layout, Model
from tests.support.real import kl

pytestmark = pytest.mark.model

TEXT = "The old inn by the sea has three rooms."
GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[Model]:
    model = Model(tiny_llama)
    yield model
    model.close()


@pytest.fixture
def llama(model: Model) -> Iterator[Llama]:
    llama = Llama(model, n_slots=2, n_cells=256, n_batch=64, layout=Layout("f32", "f32"))
    yield llama
    llama.close()


@pytest.fixture
def any_llama(tiny_model: Path) -> Iterator[Llama]:
    """One of each kind of memory."""
    model = Model(tiny_model)
    llama = Llama(
        model, n_slots=2, n_cells=256, n_batch=64, layout=Layout("f32", "f32"), owns_model=True
    )
    yield llama
    llama.close()


def read(llama: Llama, slot: int, first: int, tokens: list[int]) -> Any:
    """Decode tokens and return the distribution behind them."""
    return llama.logits(llama.decode([Span(slot, first, tokens, True)])[0])


# Batches


def test_a_batch_is_no_larger_than_llama_cpps(model: Model) -> None:
    """llama.cpp lowers n_batch to n_ctx, and ends the process at a batch above it."""
    llama = Llama(model, n_cells=128, n_batch=512)
    assert llama.n_batch <= llama.n_cells < 512
    with pytest.raises(BackendError, match="may not hold"):
        llama.decode([Span(0, 0, [5] * (llama.n_batch + 1), True)])
    assert llama.decode([Span(0, 0, [5] * llama.n_batch, True)]) == [llama.n_batch - 1]
    llama.close()


@pytest.mark.parametrize(
    "span",
    [
        Span(0, 0, [], True),
        Span(2, 0, [5], True),
        Span(-1, 0, [5], True),
        Span(0, -1, [5], True),
        Span(0, 0, [5] * 65, True),
    ],
)
def test_a_span_that_cannot_be_is_refused(llama: Llama, span: Span) -> None:
    with pytest.raises(BackendError, match="may not hold"):
        llama.decode([Span(1, 0, [6], True), span])
    assert llama.positions(0) == llama.positions(1) == (-1, -1)
    assert llama.decode([Span(0, 0, [5], True)]) == [0]


def test_no_token_of_this_vocabulary(llama: Llama) -> None:
    for token in (-1, llama.model.n_vocab):
        with pytest.raises(BackendError, match="code -1"):
            llama.decode([Span(0, 0, [token], True)])
    with pytest.raises(BackendError, match="on 0 tokens"):
        llama.decode([])


def test_a_gap_is_refused(llama: Llama) -> None:
    read(llama, 0, 0, [5, 6])
    with pytest.raises(BackendError, match="code -1"):
        llama.decode([Span(0, 7, [5], True)])
    assert llama.positions(0) == (0, 1)


def test_a_full_slot_says_so(llama: Llama) -> None:
    for first in range(0, llama.n_cells, 64):
        llama.decode([Span(0, first, [5] * 64, False)])
    with pytest.raises(NoRoom):
        llama.decode([Span(0, llama.n_cells, [5], True)])
    assert llama.positions(0) == (0, llama.n_cells - 1)
    assert llama.decode([Span(1, 0, [5], True)]) == [0]  # its neighbour has cells of its own


def test_rows_are_the_last_tokens_of_their_spans(llama: Llama) -> None:
    tokens = llama.model.tokenize(TEXT)
    rows = llama.decode([Span(0, 0, tokens, True), Span(1, 0, tokens[:3], True)])
    assert rows == [len(tokens) - 1, len(tokens) + 2]
    whole, part = (llama.logits(row) for row in rows)
    assert whole.shape == (llama.model.n_vocab,)
    assert whole.dtype == np.float32
    llama.remove(0, 0, -1)
    assert kl(read(llama, 0, 0, tokens[:3]), part) < 1e-4 < kl(whole, part)


def test_a_row_without_logits_is_refused(llama: Llama) -> None:
    """llama.cpp ends the process where its sampler finds none."""
    sampler = llama.sampler(GREEDY, 1)

    def has_none(row: int) -> bool:
        for ask in (lambda: llama.sample(row, sampler), lambda: llama.logits(row)):
            with pytest.raises(BackendError, match=f"Row {row} .*no logits"):
                ask()
        return True

    assert has_none(0)  # nothing was decoded yet
    silent, loud = llama.decode([Span(0, 0, [5, 6], False), Span(1, 0, [5, 6], True)])
    assert has_none(silent)
    assert has_none(99)
    assert has_none(-1)
    assert 0 <= llama.sample(loud, sampler) < llama.model.n_vocab
    with pytest.raises(BackendError):
        llama.decode([Span(1, 2, [5], True), Span(0, 77, [5], True)])
    assert has_none(0)  # of a batch that failed
    assert has_none(loud)
    sampler.close()
    sampler.close()


def test_a_reply_does_not_begin_with_its_end(llama: Llama) -> None:
    """`may_end` bans the end tokens, however likely they are."""
    row = llama.decode([Span(0, 0, llama.model.tokenize(TEXT), True)])[0]
    sampler = llama.sampler(GREEDY, 1)
    best = llama.sample(row, sampler)
    assert best == int(llama.logits(row).argmax())
    llama.model.eog, eog = frozenset({best}), llama.model.eog
    try:
        second = llama.sample(row, sampler, may_end=False)
    finally:
        llama.model.eog = eog
    assert second == int(llama.logits(row).argsort()[-2])
    assert best == int(llama.logits(row).argmax())  # the row itself is as it was
    sampler.close()


def test_each_token_of_a_reply_has_a_random_number_of_its_own(llama: Llama) -> None:
    """Of equal logits, the first token and the second are not the same by their draw."""
    row = llama.decode([Span(0, 0, llama.model.tokenize(TEXT), True)])[0]
    flat = Sampling(temperature=5.0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, dry=0.0)
    n_same = 0
    for seed in range(40):
        banned, free = llama.sampler(flat, seed), llama.sampler(flat, seed)
        drawn = [llama.sample(row, banned, may_end=n > 0) for n in range(6)]
        # Where no end token is drawn, to forbid it changes nothing.
        assert drawn == [llama.sample(row, free) for _ in range(6)]
        n_same += drawn[0] == drawn[1]
        banned.close()
        free.close()
    assert n_same < 20


def test_penalties_look_at_recent_tokens(llama: Llama) -> None:
    row = llama.decode([Span(0, 0, llama.model.tokenize(TEXT), True)])[0]
    best = int(llama.logits(row).argmax())
    sampling = Sampling(temperature=0.0, presence_penalty=2.0, repeat_penalty=2.0)
    fresh, tired = llama.sampler(sampling, 1), llama.sampler(sampling, 1, [best])
    assert llama.sample(row, fresh) == best
    assert llama.sample(row, tired) != best
    fresh.close()
    tired.close()


@pytest.mark.parametrize("repeat", [1.0, 2.0])
@pytest.mark.parametrize(("frequency", "presence"), [(0.0, 0.0), (3.0, 0.0), (1.0, 3.0)])
def test_what_is_quoted_is_not_penalized(
    llama: Llama, repeat: float, frequency: float, presence: float
) -> None:
    sampling = Sampling(
        temperature=0.0,
        dry=0.0,
        repeat_penalty=repeat,
        frequency_penalty=frequency,
        presence_penalty=presence,
    )
    row = llama.decode([Span(0, 0, llama.model.tokenize(TEXT), True)])[0]
    second, best = llama.logits(row).argsort()[-2:]
    for recent in ([best], [best, second, best]):
        sampler = llama.sampler(sampling, 1, recent)
        sampler._quotation.spared = list  # type: ignore[method-assign, assignment]
        assert llama.sample(row, sampler) == best
        sampler.close()


# The cache


def test_positions(any_llama: Llama) -> None:
    assert any_llama.positions(0) == (-1, -1)
    read(any_llama, 0, 0, [5, 6, 7])
    assert any_llama.positions(0)[1] == 2
    assert any_llama.positions(1) == (-1, -1)
    assert any_llama.remove(0, 0, -1)
    assert any_llama.positions(0) == (-1, -1)


def test_an_export_comes_back_as_it_was(any_llama: Llama) -> None:
    tokens = any_llama.model.tokenize(TEXT * 4)
    n = len(tokens)
    assert n < 64
    read(any_llama, 0, 0, tokens[:-1])
    payload = any_llama.export(0)
    assert any_llama.export_size(0) == len(payload)
    expected = read(any_llama, 0, n - 1, tokens[-1:])
    assert any_llama.restore(1, payload)
    assert any_llama.positions(1)[1] == n - 2
    assert kl(expected, read(any_llama, 1, n - 1, tokens[-1:])) < 1e-4


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_payload_that_does_not_fit_leaves_the_slot_empty(any_llama: Llama, part: float) -> None:
    read(any_llama, 0, 0, any_llama.model.tokenize(TEXT))
    payload = any_llama.export(0)
    assert not any_llama.restore(1, payload[: int(len(payload) * part)])
    assert any_llama.positions(1) == (-1, -1)
    assert any_llama.decode([Span(1, 0, [5], True)]) == [0]
    any_llama.remove(1, 0, -1)
    assert any_llama.restore(1, payload)


def test_a_payload_of_another_layout_is_refused(model: Model, llama: Llama) -> None:
    other = Llama(model, n_cells=256, n_batch=64, layout=Layout("f16", "f16"))
    read(other, 0, 0, [5, 6])
    assert not llama.restore(0, other.export(0))
    assert llama.positions(0) == (-1, -1)
    other.close()


def test_a_tail_that_is_removed_is_gone_or_cannot_be(any_llama: Llama) -> None:
    """Either what follows is as if it had never been read, or `remove` says that it cannot."""
    llama, policy = any_llama, any_llama.model.policy
    tokens = llama.model.tokenize(TEXT)
    read(llama, 0, 0, tokens)
    expected = read(llama, 1, 0, tokens[:5])
    assert llama.remove(0, 4, -1) == (policy in ("full", "swa"))
    if policy in ("full", "swa"):
        assert llama.positions(0) == (0, 3)
        assert kl(expected, read(llama, 0, 4, tokens[4:5])) < 1e-4


def test_what_a_sliding_window_has_let_go_is_missed(tiny_llama: Path) -> None:
    """An export holds no more than the window: a cut behind it needs what is not there."""
    model = Model(tiny_llama.with_name("tiny-gemma3-swa.gguf"))
    llama = Llama(model, n_slots=2, n_cells=256, n_batch=64, owns_model=True)
    assert model.policy == "swa"
    tokens = (llama.model.tokenize(TEXT) * 20)[:150]
    for first in range(0, 150, 50):
        read(llama, 0, first, tokens[first : first + 50])
    payload = llama.export(0)
    assert llama.remove(0, 140, -1)  # a slot that was not exported has it all
    assert llama.remove(0, 10, -1)
    assert llama.restore(1, payload)
    assert llama.remove(1, 150, -1)  # nothing to remove, nothing lost
    assert not llama.remove(1, 120, -1)
    llama.close()


def test_slots_merge_in_a_unified_cache_only(model: Model, llama: Llama) -> None:
    with pytest.raises(BackendError, match="unified"):
        llama.merge(0, 1)
    unified = Llama(model, n_slots=2, n_cells=128, unified=True)
    read(unified, 0, 0, [5, 6])
    unified.merge(0, 1)
    assert unified.positions(0) == (-1, -1)
    assert unified.positions(1) == (0, 1)
    unified.close()


# Its end


def test_close_frees_the_model_only_if_it_was_handed_over(tiny_llama: Path) -> None:
    model = Model(tiny_llama)
    Llama(model, n_cells=128).close()
    assert model.handle
    owner = Llama(model, n_cells=128, owns_model=True)
    owner.close()
    owner.close()
    assert model.handle is None


def test_about(llama: Llama) -> None:
    about = llama.about
    assert about["model"]["policy"] == "full"
    assert about["n_vocab"] == llama.model.n_vocab
    assert about["kv_bytes"] == 2 * llama.n_cells * llama.model.kv_bytes_per_token(llama.layout)
    before = llama.n_threads
    llama.set_threads(7)
    assert llama.about["n_threads"] == 7
    llama.set_threads(before)
    with pytest.raises(BackendError, match="on 0 threads"):
        llama.set_threads(0)


def test_the_words_are_the_same_on_any_number_of_threads(tiny_llama: Path) -> None:
    model = Model(tiny_llama)
    llama = Llama(model, n_cells=64)
    found = []
    for n in (1, 2, 3, 1):
        llama.set_threads(n)
        row = llama.decode([Span(0, 0, [1, 2, 3, 4, 5, 6, 7, 8], True)])[0]
        found.append(llama.logits(row))
        llama.remove(0, 0, -1)
    assert all(np.allclose(logits, found[0], atol=1e-4) for logits in found)
    llama.close()
    model.close()


def test_dry_keeps_a_phrase_from_being_said_again(tiny_llama: Path) -> None:
    """The likeliest token is the one that would go on with a phrase said before: not this time."""
    model = Model(tiny_llama)
    llama = Llama(model, n_cells=64)
    phrase = model.tokenize("one two three four five six seven")
    row = llama.decode([Span(0, 0, phrase, True)])[0]
    likeliest = int(llama.logits(row).argmax())
    said = [*phrase, likeliest, *phrase]
    chosen = {}
    for dry in (0.0, 10.0):
        sampler = llama.sampler(Sampling(temperature=0.0, repeat_penalty=1.0, dry=dry), 1, said)
        chosen[dry] = llama.sample(row, sampler)
        sampler.close()
    assert chosen[0.0] == likeliest
    assert chosen[10.0] != likeliest
    llama.close()
    model.close()
