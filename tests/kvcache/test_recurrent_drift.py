"""Going back to the persona: in pauses, as often as it changes what would be said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npc_engine import protocol as m
from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.kvcache.recurrent_drift import LITTLE, MUCH, RecurrentDrift, divergence
from npc_engine.kvcache.sequence import Sequence
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Layout, Model
from tests.support.fake_llama import FakeLlama
from tests.support.real import GREEDY, INNKEEPER, kl, make_engine
from tests.support.rig import MakeRig, Rig, TimedLlama

WINDOW = 100
SAME = np.zeros(4, np.float32)
OTHER = np.array([5, 0, 0, 0], np.float32)


def test_the_divergence_of_two_distributions() -> None:
    assert divergence(SAME, SAME) == 0
    assert divergence(OTHER, SAME) == pytest.approx(kl(OTHER, SAME), rel=1e-4)
    assert divergence(SAME, OTHER) > MUCH


def sequence_of(cache: FakeLlama) -> Sequence:
    """Ten tokens of persona and three turns, of which the first has left."""
    sequence = Sequence(Ledger(WINDOW, 1000), cache)
    sequence.append(Segment(Kind.PERSONA, [1] * 10, pinned=True))
    for turn in (1, 2, 3):
        sequence.append(Segment(Kind.SAID, [turn * 10] * 20, turn=turn))
    sequence.take_slot(0)
    read(sequence, cache)
    sequence.drop([sequence.ledger.segments[1]])
    sequence.ledger.n_evicted += 20
    return sequence


def read(sequence: Sequence, cache: FakeLlama, n: int = 1000) -> None:
    while n and (tokens := sequence.ledger.pending(min(n, sequence.n_ready, cache.n_batch))):
        cache.decode([(sequence.slot, sequence.ledger.next_pos, tokens, False)])
        sequence.commit(len(tokens))
        n -= len(tokens)


@pytest.fixture
def cache() -> FakeLlama:
    return FakeLlama(keeps_states=True, can_shift=False)


def evict_a_window(drift: RecurrentDrift, sequence: Sequence) -> None:
    sequence.ledger.n_evicted = drift.next_look


@pytest.mark.parametrize(
    ("after", "factor"), [(SAME, 2.0), (OTHER, 0.5), (OTHER * 0.14, 1.0)], ids=["0", "much", "some"]
)
def test_it_looks_as_often_as_it_drifts(cache: FakeLlama, after: Any, factor: float) -> None:
    sequence = sequence_of(cache)
    drift = RecurrentDrift(sequence)
    assert not drift.wants_to_look
    evict_a_window(drift, sequence)
    assert drift.wants_to_look
    drift.look(SAME)
    assert (sequence.n_pending, cache.held(0)) == (40, [1] * 10)
    assert drift.wants_to_look
    read(sequence, cache)
    drift.look(after)
    assert cache.held(0) == sequence.ledger.tokens()
    assert sequence.ledger.n_holes == 0
    assert not drift.wants_to_look
    assert drift.n_reread == 1
    assert drift.nats == pytest.approx(divergence(after, SAME))
    assert (LITTLE < drift.nats < MUCH) == (factor == 1)
    assert drift.interval == WINDOW * factor


def test_who_is_spoken_to_goes_back_at_once(cache: FakeLlama) -> None:
    sequence = sequence_of(cache)
    before = dict(cache.slots[0])
    drift = RecurrentDrift(sequence)
    evict_a_window(drift, sequence)
    drift.look(SAME)
    read(sequence, cache, 15)
    drift.give_up()
    assert (sequence.n_pending, cache.slots[0]) == (0, before)
    assert not drift.wants_to_look
    assert drift.n_reread == 0
    drift.give_up()
    assert cache.slots[0] == before


def test_what_came_meanwhile_is_not_lost(cache: FakeLlama) -> None:
    """An eviction, a cut, a new event: then back."""
    sequence = sequence_of(cache)
    drift = RecurrentDrift(sequence)
    evict_a_window(drift, sequence)
    drift.look(SAME)
    read(sequence, cache, 5)
    sequence.drop([sequence.ledger.segments[1]])
    sequence.append(Segment(Kind.EVENT, [7] * 5, turn=4))
    drift.give_up()
    assert cache.held(0) == [1] * 10 + [30] * 20
    read(sequence, cache)
    assert cache.held(0) == sequence.ledger.tokens() == [1] * 10 + [30] * 20 + [7] * 5


def test_what_came_meanwhile_has_positions_also_after_going_back(cache: FakeLlama) -> None:
    sequence = sequence_of(cache)
    sequence.ledger.n_pos = cache.n_pos = 75
    drift = RecurrentDrift(sequence)
    evict_a_window(drift, sequence)
    drift.look(SAME)
    read(sequence, cache, 5)
    sequence.make_room(10, turn=4)
    sequence.append(Segment(Kind.EVENT, [7] * 10, turn=4))
    sequence.park()
    sequence.take_slot(1)
    while tokens := sequence.ledger.pending(1000):
        cache.decode([(1, sequence.ledger.next_pos, tokens, False)])
        sequence.commit(len(tokens))
    assert cache.held(1) == sequence.ledger.tokens()


def test_words_that_changed_meanwhile_are_read_again(cache: FakeLlama) -> None:
    sequence = sequence_of(cache)
    drift = RecurrentDrift(sequence)
    evict_a_window(drift, sequence)
    drift.look(SAME)
    sequence.cut(sequence.ledger.segments[1], 5)
    sequence.ledger.segments[1].tokens += [8, 8]
    sequence.ledger.n_tokens += 2
    drift.give_up()
    read(sequence, cache)
    assert cache.held(0) == sequence.ledger.tokens() == [1] * 10 + [20] * 5 + [8] * 2 + [30] * 20


def test_parking_gives_up_too(cache: FakeLlama) -> None:
    sequence = sequence_of(cache)
    drift = RecurrentDrift(sequence)
    evict_a_window(drift, sequence)
    drift.look(SAME)
    sequence.park()
    sequence.take_slot(1)
    assert (sequence.n_pending, cache.held(1)) == (0, sequence.ledger.tokens())
    drift.look(SAME)  # nothing was read again: no drift was measured, and it begins anew
    assert (drift.nats, drift.n_reread, cache.held(1)) == (None, 0, [1] * 10)


def test_what_was_heard_meanwhile_is_no_drift(cache: FakeLlama) -> None:
    sequence = sequence_of(cache)
    drift = RecurrentDrift(sequence)
    evict_a_window(drift, sequence)
    drift.look(SAME)
    sequence.append(Segment(Kind.EVENT, [7] * 5, turn=4))
    read(sequence, cache)
    drift.look(OTHER)
    assert (drift.nats, drift.interval) == (None, WINDOW)
    assert drift.n_reread == 1


@pytest.fixture
def rig(make_rig: MakeRig, cache: FakeLlama) -> Rig:
    fake = TimedLlama(n_cells=400, keeps_states=True, can_shift=False)
    return make_rig(window=400, fake=fake)


def test_an_engine_goes_back_in_pauses(rig: Rig) -> None:
    rig.spawn("mara")
    for i in range(30):
        rig.talk("mara", f"Day {i} is like the day before it.", max_tokens=20)
        rig.rest()
    drift = rig["mara"].dialogue.drift
    assert drift is not None
    assert drift.n_reread > 0
    assert rig.ask(m.Stats(id=rig.id())).stats["n_reread"] == drift.n_reread


def test_a_line_never_waits_for_it(rig: Rig) -> None:
    """It costs what it costs where the character has nothing to go back to."""
    rig.spawn("mara")
    n_read: list[int] = []
    for i in range(60):
        n_batches = len(rig.fake.batches)
        rig.talk("mara", f"Day {i:2} is like the day before it.", max_tokens=20)
        tokens = [t for batch in rig.fake.batches[n_batches:] for _, _, ts, _ in batch for t in ts]
        n_read.append(len(tokens))
        rig.steps(i % 5)
    assert max(n_read) < min(n_read) + 40, "tokens decoded in a turn"


@pytest.mark.model
def test_a_real_state_is_as_if_read_afresh(tiny_model: Path, tmp_path: Path) -> None:
    model = Model(tiny_model)
    if model.policy not in ("recurrent", "hybrid"):
        model.close()
        pytest.skip("no recurrent state")
    engine, llama = make_engine(model, tmp_path, n_slots=1, window=256)
    with engine:
        engine.spawn("mara", INNKEEPER, sampling=GREEDY)
        character = engine.core.stage.characters["mara"]
        drift = character.dialogue.drift
        assert drift is not None
        for turn in range(60):
            engine.say("mara", f"And on day {turn}?", max_tokens=24).wait()
            while engine.core.patience() == 0:
                engine.core.step()
            if drift.n_reread:
                break
        assert drift.nats is not None, "nothing was measured"
        ledger, slot = character.dialogue.ledger, character.dialogue.sequence.slot
        assert slot is not None
        again = read_on(llama, slot, ledger.next_pos)
        fresh = Llama(model, n_cells=256, n_threads=2, layout=Layout("f32", "f32"))
        fresh.decode([Span(0, 0, ledger.tokens(), False)])
        assert kl(read_on(fresh, 0, ledger.n_tokens), again) < 1e-4
        fresh.close()
    model.close()


def read_on(llama: Llama, slot: int, first: int) -> Any:
    return llama.logits(llama.decode([Span(slot, first, [42], True)])[0])
