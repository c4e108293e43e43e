"""A crowd on eight slots: no character ever holds a word that it was not told, wherever its tokens
are; nobody's reply is lost; and memory keeps to its budget.

Each thing that is said, and each event, has a canary: a word that only its hearers know. Looked at
are the ledger, the cells of the slot, and the parked payload in memory and on disk, its states too.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.kvcache.parking import Parking
from npc_engine.kvcache.payload import Payload
from npc_engine.llama.model import Model
from tests.support.canaries import CANARY, Walk
from tests.support.next_word import MOST_KL, WINDOW, next_distribution, read_afresh
from tests.support.real import GREEDY, kl, make_engine

N_NAMES = 200
N_SLOTS = 8
N_REQUESTS = 2_000
BUDGET = 30_000  # bytes: some ten payloads of the fake


class Crowd(Walk):
    """The random walk, with a disk that parked characters go to, and that fails at times."""

    look_every = 100

    def __init__(self, folder: Path, seed: int, kind: str) -> None:
        names = [f"npc{i}" for i in range(N_NAMES)]
        super().__init__(folder / "saves", seed, kind, names, N_SLOTS)
        self.rig.check_every = 100
        (folder / "disk").mkdir()
        self.disk = folder / "disk"
        self.parking.budget = BUDGET
        self.parking._under = self.disk
        self.n_on_disk = self.n_damaged = 0
        self.has_room = True
        self.rig.may_lose = True
        self.watch(self.parking)
        for name in names:
            self.told[name] = set()
            card = {"name": name, "system_prompt": "Brief."}
            self.send(m.Spawn(id=self.rig.id(), npc=name, card=card))

    @property
    def parking(self) -> Parking:
        return self.rig.engine.stage.parking

    @property
    def moves(self) -> list[tuple[Callable[[], None], int]]:
        return [*super().moves, (self.damage, 6)]

    def step(self) -> None:
        super().step()
        if self.rig.n_steps % 10 == 0:
            self.check_memory()

    def check_canaries(self) -> None:
        super().check_canaries()
        for name, character in self.rig.engine.stage.characters.items():
            sequence = character.dialogue.sequence
            held = [] if sequence.slot is None else [self.fake.held(sequence.slot)]
            states = [state for _, state in sequence.states.kept if state]
            held += [[t for _, t in json.loads(state)] for state in states]
            held += [_tokens(part) for part in _parts(sequence.copy)]
            for tokens in held:
                known = _canaries(tokens)
                assert known <= self.told[name], f"{name} holds {known - self.told[name]}"

    def watch(self, parking: Parking) -> None:
        """Whenever the budget is looked after, it holds."""
        trim = parking.trim

        def trimmed(n_kept: int = 0) -> None:
            sequences = [c.dialogue.sequence for c in self.rig.engine.stage.characters.values()]
            assert n_kept == sum(s.n_parked_bytes for s in sequences if s.slot is not None)
            trim(n_kept)
            n_writing = parking.n_writing_bytes  # first: the writer goes on meanwhile
            n_bytes = sum(s.n_parked_bytes for s in sequences)
            assert n_bytes - n_writing <= max(BUDGET, n_kept)

        parking.trim = trimmed  # type: ignore[method-assign]

    def check_memory(self) -> None:
        copies = [c.dialogue.sequence.copy for c in self.rig.engine.stage.characters.values()]
        self.n_on_disk = max(self.n_on_disk, sum(c.n_disk_bytes > 0 for c in copies if c))
        if self.parking._scratch:
            self.parking._scratch.has_room = (  # type: ignore[method-assign]
                lambda n_bytes: self.has_room
            )

    # moves

    def damage(self) -> None:
        """A file of somebody who is parked goes, or is not what it was, or the disk is full."""
        files = sorted(path for path in self.disk.rglob("*") if path.name.isdecimal())
        if files:
            path = self.random.choice(files)
            damage = self.random.choice(["gone", "damaged", "full"])
            with suppress(FileNotFoundError):  # it was called in just now
                if damage == "gone":
                    path.unlink()
                elif damage == "damaged":
                    path.write_bytes(b"?")
                else:
                    self.has_room = not self.has_room
            self.n_damaged += 1
        else:
            self.has_room = True  # or it might stay full to the end, with nothing to damage


def _parts(copy: Payload | None) -> Iterable[bytes]:
    return (copy.read() or ()) if copy is not None else ()


def _tokens(part: bytes) -> list[int]:
    """The tokens of a payload of the fake, or of one of its states."""
    cells = json.loads(part)
    return [t for _, t in (cells[1] if isinstance(cells[0], str) else cells)]


def _canaries(tokens: Iterable[int]) -> set[str]:
    return set(CANARY.findall(bytes(t for t in tokens if t < 256).decode("utf-8", "replace")))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shifts", "recurrent"])
def test_nobody_holds_what_it_did_not_hear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    monkeypatch.setattr("npc_engine.storage.scratch_folder.RESERVE_BYTES", 0)
    crowd = Crowd(tmp_path, 7, kind)
    crowd.run(N_REQUESTS)
    crowd.rig.rest()
    crowd.check_memory()
    counts = crowd.counts
    assert counts["Done"] > 150 and counts["Saved"] > 5 and counts["Loaded"] > 5
    assert crowd.n_checked > 1_000, "the canaries must have something to say"
    stats = crowd.rig.ask(m.Stats(id="stats")).stats
    assert stats["n_parks"] > 100 and stats["n_call_ins"] > 50
    assert crowd.n_on_disk > 10 and crowd.n_damaged > 10
    crowd.rig.close()  # every request has had one terminal reply
    assert list(crowd.disk.iterdir()) == []


# -- over llama.cpp -----------------------------------------------------------------------------


@pytest.fixture
def model(tiny_model: Path) -> Iterator[Model]:
    model = Model(tiny_model)
    yield model
    model.close()


@pytest.mark.model
def test_what_comes_back_from_disk_is_what_it_heard(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven characters on two slots, all parked on disk: at the end each one's cells say what a
    fresh reading of its own tokens says, and these hold no word that it was not told.
    """
    monkeypatch.setattr("npc_engine.storage.scratch_folder.RESERVE_BYTES", 0)
    engine, backend = make_engine(model, tmp_path, n_slots=2, window=WINDOW)
    engine.core.stage.parking.budget = 0
    rng, names = random.Random(3), [f"npc{i}" for i in range(7)]
    told: dict[str, set[str]] = {name: set() for name in names}
    n_canaries = itertools.count(1)

    def words(name: str) -> str:
        canary = f"k{next(n_canaries)}q"
        told[name].add(canary)
        return f"{canary} it is."

    with engine:
        for name in names:
            engine.spawn(name, {"name": name, "system_prompt": "Brief."}, sampling=GREEDY)
        for _ in range(60):
            name = rng.choice(names)
            act = rng.choice(["say", "say", "cut", "event", "hear", "attend"])
            if act in ("say", "cut"):
                speech = engine.say(name, words(name), max_tokens=6)
                if act == "cut":
                    engine.poll()
                    speech.cancel(heard=2)
                speech.wait()
            elif act == "attend":
                engine.attend(name)
            elif act == "hear":
                engine.hear(name, words(name))
            else:
                engine.event(words(name), [name])
            for _ in range(rng.choice([0, 1, 5])):
                engine.poll()
        stats = engine.stats()
        assert stats["n_parks"] > 10 and stats["n_call_ins"] > 10
        assert stats["parked_disk_bytes"] > 0
        for name in names:
            tokens, logits = next_distribution(engine, backend, name)
            text = b"".join(map(model.piece, tokens)).decode("utf-8", "replace")
            known = set(CANARY.findall(text))
            assert known and known <= told[name], f"{name} holds {known - told[name]}"
            assert kl(read_afresh(model, tokens), logits) < MOST_KL
        assert engine.stats()["parked_bytes"] <= engine.core.stage.parking.n_writing_bytes + sum(
            c.dialogue.sequence.n_parked_bytes
            for c in engine.core.stage.characters.values()
            if c.dialogue.sequence.slot is not None
        )


@pytest.mark.model
@pytest.mark.parametrize("n_ahead", [45, 60])
def test_a_half_typed_line_leaves_a_few_tokens_to_read(
    tiny_llama: Path, tmp_path: Path, n_ahead: int
) -> None:
    """Of a line of 60 tokens; counted, since time would measure the machine."""
    model = Model(tiny_llama)
    engine, backend = make_engine(model, tmp_path, n_slots=2, window=WINDOW)
    n_read: list[int] = []
    decode = backend.decode

    def count(spans: Any, every: bool = False) -> list[int]:
        n_read.append(sum(len(span[2]) for span in spans))
        return decode(spans, every)

    backend.decode = count  # type: ignore[method-assign]
    line = _line_of(model, 60)
    with engine:
        for name in ("a", "b", "c"):
            engine.spawn(name, {"name": name, "system_prompt": "Brief."}, sampling=GREEDY)
        engine.say("b", "Hm.", max_tokens=1).wait()
        engine.say("c", "Hm.", max_tokens=1).wait()
        n_markup = engine.core.stage.chat_format.n_markup
        cost = {}
        for name, ahead in (("a", line[: len(line) * n_ahead // 60]), ("b", "")):
            if ahead:
                engine.hear(name, ahead)  # nobody has read anything of hers yet
            while engine.core.patience() == 0:
                engine.core.step()
            n_read.clear()
            engine.say(name, line, max_tokens=1).wait()
            cost[name] = sum(n_read)
    assert cost["a"] <= n_markup + (60 - n_ahead) + 2
    assert cost["b"] >= 60
    model.close()


def _line_of(model: Model, n_tokens: int) -> str:
    line = "Have"
    while len(model.tokenize(line)) < n_tokens:
        line += " you seen the lamp by the door"
        while len(model.tokenize(line)) > n_tokens:
            line = line[:-1]
    return line
