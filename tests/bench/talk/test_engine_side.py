"""Our side of the talk on a tiny model: what is counted is what was decoded."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from npc_engine.bench.talk.engine_side import EngineSide
from npc_engine.bench.talk.figures import MOST_EXTRA
from npc_engine.cards.small_talk import lines
from npc_engine.llama.model import Layout, Model

pytestmark = pytest.mark.model


@pytest.fixture
def talk(tiny_llama: Path) -> Iterator[EngineSide]:
    with (
        closing(Model(tiny_llama)) as model,
        closing(EngineSide(model, Layout(), 384, 1, 12)) as talk,
    ):
        yield talk


def test_overflow_turns_read_no_more_than_their_message(talk: EngineSide) -> None:
    turns = [talk.say(line) for line in lines(40)]
    assert [t.number for t in turns] == list(range(1, 41))
    assert not any(t.overflow for t in turns[:2])
    assert sum(t.overflow for t in turns) > 20
    for turn in turns:
        assert turn.n_message < turn.n_read <= turn.n_message + MOST_EXTRA
        assert 0 < turn.n_decoded <= 12
        assert 0 < turn.ttft_ms <= turn.total_ms
        assert turn.rss > 1 << 20


def test_everything_that_is_decoded_is_counted_once(talk: EngineSide) -> None:
    before = talk._llama.n_tokens
    assert before == talk.n_pinned
    turns = [talk.say(line) for line in lines(5)]
    counted = sum(t.n_read + t.n_decoded - 1 + t.n_idle for t in turns)
    assert counted == talk._llama.n_tokens - before
    assert counted == talk._ledger.n_tokens + talk._ledger.n_evicted - before


def test_a_pause_may_renumber(talk: EngineSide) -> None:
    turns = [talk.say(line) for line in lines(60)]
    assert sum(t.n_renumbered for t in turns) == talk._ledger.n_renumbered > 0
