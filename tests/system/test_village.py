"""Many speak at once, through the whole engine: who waits for whom, and for how many steps."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.client.in_process import Engine
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.scheduling.threads import Threads
from tests.support.machines import Machine
from tests.support.rig import CARD, Rig, TimedLlama, scripted

ENDLESS = scripted("We talk about the weather. ", end=False)


class VillageLlama(TimedLlama):
    """Decodes on a simulated machine."""

    machine: Machine

    def decode(self, spans: Sequence[Any]) -> list[int]:
        n_tokens = sum(len(tokens) for _, _, tokens, _ in spans)
        self.seconds = self.machine.step(self.n_threads, n_tokens)
        return super().decode(spans)


@pytest.fixture
def village(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs = []

    def make(n_ambient: int = 8, machine: Machine | None = None, **settings: Any) -> Rig:
        """So many villagers, all amid an ambient line; the steps before are not counted."""
        fake = VillageLlama(n_slots=8, n_batch=512, mind=ENDLESS)
        fake.machine = machine or Machine(1, noise=0, hiccups=0)
        rig = Rig(tmp_path, fake=fake, **settings)
        rigs.append(rig)
        for i in range(n_ambient):
            rig.spawn(f"v{i}")
        rig.rest()
        for i in range(n_ambient):
            rig.say(f"v{i}", "Hello.", priority="ambient", max_tokens=10_000, stream=["text"])
        while sum(rig[f"v{i}"].claim.speaking for i in range(n_ambient)) < n_ambient:
            walk(rig)
        for _ in range(30):
            walk(rig)
        return rig

    yield make
    for rig in rigs:
        rig.close()


def walk(rig: Rig) -> bool:
    """One step of the loop, which sleeps as long as the engine says; whether a batch ran."""
    patience = rig.engine.patience()
    assert patience is not None
    rig.now += patience
    n_before = len(rig.fake.batches)
    rig.step()
    return len(rig.fake.batches) > n_before


def first_token(rig: Rig, said: str, limit: int = 60) -> int:
    """Run batches until a line has its first record; return how many that took."""
    n = 0
    for _ in range(limit):
        if rig.records(said):
            return n
        n += walk(rig)
    raise AssertionError("no first token")


def n_rows(rig: Rig) -> int:
    return len(rig.fake.batches[-1])


def n_own_steps(rig: Rig, npc: str, before: int) -> int:
    """Batches since `before` that held prefill of a character."""
    slot = rig[npc].dialogue.sequence.slot
    return sum(
        any(s == slot and len(tokens) > 1 for s, _, tokens, _ in batch)
        for batch in rig.fake.batches[before:]
    )


def test_a_player_waits_for_two_steps_at_most_beside_eight_ambient_speakers(
    village: Callable[..., Rig],
) -> None:
    """He speaks to one who is silent, and to one who is spoken to for the first time."""
    rig = village(7)
    rig.spawn("mara")
    for text in ("Hello.", "Tell me about the wars of the north, and of the kings. " * 4):
        n_before = len(rig.fake.batches)
        said = rig.say("mara", text, stream=["text"], max_tokens=5)
        n = first_token(rig, said)
        assert n <= 2 + n_own_steps(rig, "mara", n_before)
        assert n_own_steps(rig, "mara", n_before) <= 12
        rig.until(said)


def test_a_ninth_character_where_all_slots_chatter(village: Callable[..., Rig]) -> None:
    rig = village(8)
    rig.spawn("mara")
    n_before = len(rig.fake.batches)
    began = rig.now
    said = rig.say("mara", "Hello.", stream=["text"], max_tokens=5)
    rig.step()
    assert rig["mara"].dialogue.sequence.slot is not None  # at once, in the place of a villager
    n = first_token(rig, said)
    assert 1 + n <= 2 + n_own_steps(rig, "mara", n_before)
    assert rig.now - began < 0.05 * (n + 2)  # none of these steps was long
    rig.until(said)
    for _ in range(60):
        walk(rig)
    lengths = [rig[f"v{i}"].dialogue.ledger.n_tokens for i in range(8)]
    for _ in range(60):
        walk(rig)
    assert all(rig[f"v{i}"].dialogue.ledger.n_tokens > lengths[i] for i in range(8))  # all go on


def test_ambient_lines_go_on_beside_a_player_who_is_answered(village: Callable[..., Rig]) -> None:
    """Their rows ride along, and no pause comes between."""
    rig = village(4, ambient_share=0.05)
    rig.spawn("mara")
    said = rig.say("mara", "Hello.", stream=["text"], max_tokens=40)
    first_token(rig, said)
    for _ in range(20):
        assert rig.engine.patience() == 0
        assert walk(rig)
        assert n_rows(rig) == 5


@pytest.mark.parametrize("priority", ["player", "near"])
def test_nobody_waits_for_the_pause_of_ambient_speech(
    village: Callable[..., Rig], priority: str
) -> None:
    rig = village(4, ambient_share=0.05)
    rig.spawn("mara")
    while not (rig.engine.patience() or 0) > 0.1:
        walk(rig)
    said = rig.say("mara", "Hello.", stream=["text"], priority=priority)
    while not rig.records(said):
        assert rig.engine.patience() == 0
        rig.step()


def test_a_cancel_in_the_pause_is_answered_by_the_next_step(village: Callable[..., Rig]) -> None:
    rig = village(8, ambient_share=0.05)
    while not rig.engine.patience():
        walk(rig)
    target = next(iter(rig.open))[1]
    rig.cancel(target)
    assert rig.engine.patience() == 0
    rig.step()
    assert rig.records(target)[-1].reason == "cancelled"


@pytest.mark.parametrize("priority", ["player", "near", "ambient"])
def test_a_cancel_is_done_within_a_step(village: Callable[..., Rig], priority: str) -> None:
    rig = village(7)
    rig.spawn("mara")
    said = rig.say("mara", "Hello.", priority=priority, stream=["text"], max_tokens=10_000)
    first_token(rig, said)
    rig.cancel(said)
    rig.step()
    done = rig.records(said)[-1]
    assert isinstance(done, m.Done) and done.reason == "cancelled"


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("n_ambient", [1, 8])
def test_ambient_speech_keeps_to_its_share(
    village: Callable[..., Rig], share: float, n_ambient: int
) -> None:
    rig = village(n_ambient, ambient_share=share)
    began, busy = rig.now, 0.0
    while rig.now < began + 20 and rig.engine.patience() is not None:
        before = rig.now + (rig.engine.patience() or 0)
        walk(rig)
        busy += rig.now - before
    assert busy > 0.8
    assert busy / (rig.now - began) == pytest.approx(share, abs=0.03)


def test_the_loop_does_not_spin_in_the_pause(village: Callable[..., Rig]) -> None:
    """Each batch takes two calls of `step`: the batch, and the look at who else is there."""
    rig = village(8)
    n_batches, n_steps = len(rig.fake.batches), rig.n_steps
    for _ in range(100):
        walk(rig)
    assert rig.n_steps - n_steps <= 2 * (len(rig.fake.batches) - n_batches) + 2


def test_steps_keep_to_their_time_while_villagers_speak(village: Callable[..., Rig]) -> None:
    """New ones are read beside them, a piece at a time."""
    machine = Machine(1, token_s=0.001, weights_s=0.010, noise=0.03, hiccups=0)
    rig = village(7, machine)
    longest = 0.0
    for i in range(20):
        name = f"new{i}"
        rig.spawn(name, card={"name": "New", "description": "Says much. " * 11})
        said = rig.say(name, "Hello.", priority=("near", "player")[i % 2], max_tokens=3)
        while (b"game", said) in rig.open:
            walk(rig)
            longest = max(longest, machine.exact(1, sum(len(s[2]) for s in rig.fake.batches[-1])))
        rig.ask(m.Despawn(id=rig.id(), npc=name))
    assert longest < 1.25 * 0.05


def test_a_long_line_gives_way_to_a_game(tmp_path: Path) -> None:
    """The engine hears what its steps take, and sets the backend's threads."""
    fake = VillageLlama(n_slots=4, n_batch=512, mind=ENDLESS)
    fake.machine = Machine(2, noise=0.03, hiccups=0)
    rig = Rig(tmp_path, fake=fake, threads=Threads(1, 2), load=lambda: float(fake.machine.load))
    rig.spawn("mara")
    said = rig.say("mara", "Talk.", stream=["text"], max_tokens=100_000)
    rig.steps(300)
    assert rig.ask(m.Stats(id="quiet")).stats["n_threads"] == 2
    fake.machine.load = 2
    rig.steps(300)
    stats = rig.ask(m.Stats(id="busy")).stats
    assert (stats["n_threads"], stats["load"]) == (1, 2.0)
    assert stats["n_thread_switches"] >= 2
    assert fake.about["n_threads"] == fake.n_threads
    rig.cancel(said)
    rig.close()


def test_ambient_speech_alone_finds_its_threads_between_its_pauses(tmp_path: Path) -> None:
    fake = VillageLlama(n_slots=4, n_batch=512, mind=ENDLESS)
    fake.machine = Machine(2, noise=0.03, hiccups=0)
    rig = Rig(tmp_path, fake=fake, threads=Threads(1, 2))
    rig.spawn("mara")
    rig.say("mara", "Chat.", priority="ambient", stream=["text"], max_tokens=100_000)
    for _ in range(200):
        walk(rig)
    assert rig.ask(m.Stats(id="s")).stats["n_threads"] == 2
    rig.close()


def test_a_count_that_is_given_stays(tmp_path: Path) -> None:
    fake = VillageLlama(n_threads=3, mind=ENDLESS)
    fake.machine = Machine(4)
    rig = Rig(tmp_path, fake=fake)
    rig.spawn("mara")
    said = rig.say("mara", max_tokens=400)
    rig.steps(300)
    assert fake.n_threads == 3
    assert rig.ask(m.Stats(id="s")).stats["n_threads"] == 3
    rig.until(said)
    rig.close()


# in process, with a clock that runs by itself


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose decodes take 2 ms."""

    class SlowLlama(VillageLlama):
        def decode(self, spans: Sequence[Any]) -> list[int]:
            threading.Event().wait(0.002)
            return super(TimedLlama, self).decode(spans)

    fake = SlowLlama(n_slots=4, mind=ENDLESS)
    settings = Settings(saves=str(tmp_path), window=400, ambient_share=0.25)
    with Engine(EngineCore(fake, fake.chat_format(), settings)) as engine:
        engine.spawn("mara", CARD)
        yield engine


def test_iterating_an_ambient_line_in_process_ends(local: Engine) -> None:
    speech = local.say("mara", "Chat.", priority="ambient", stream=["text"], max_tokens=20)
    assert speech.wait().reason == "length"


def test_polling_an_ambient_line_never_waits_and_never_spins(local: Engine) -> None:
    speech = local.say("mara", "Chat.", priority="ambient", stream=["text"], max_tokens=10)
    local.core.backend.batches.clear()  # type: ignore[attr-defined]
    waited = 0.0
    for _ in range(20_000):
        began = local.core._clock()
        speech.poll()
        waited = max(waited, local.core._clock() - began)
        if speech.done:
            break
        threading.Event().wait(0.001)
    assert speech.done is not None
    assert waited < 1.0  # a step; on a busy machine it may take long
    assert len(local.core.backend.batches) <= 14  # type: ignore[attr-defined]


def test_a_timeout_is_kept_in_the_pause(local: Engine) -> None:
    """The pause may be longer than what a caller wants to wait."""
    local.core.scheduler._ambient.note(0.0, local.core._clock() + 60)
    speech = local.say("mara", "Chat.", priority="ambient")
    began = local.core._clock()
    local._receive(0.05)
    assert local.core._clock() - began < 20
    speech.close()
