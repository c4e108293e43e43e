"""The whole engine over each kind of memory: full attention, sliding window, recurrent, hybrid.

A short random walk with everything that a game may do, and: a reply that is cut after its character
was parked leaves exactly the cache that a fresh reading would make.
"""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.engine import EngineCore
from npc_engine.llama.context import Llama
from npc_engine.llama.model import Model
from tests.support.next_word import MOST_KL, TIMEOUT_S, WINDOW, next_distribution, read_afresh
from tests.support.real import GREEDY, INNKEEPER, SMITH, kl, make_engine

pytestmark = pytest.mark.model

GAME = b"game"
N_SLOTS = 2
N_TURNS = 40
CAST = {"a": INNKEEPER, "b": SMITH, "c": {"name": "Wren", "first_mes": "You again."}}
WORDS = ["the", "inn", "by", "the sea", "has", "*three*", "rooms\n", "caf\u00e9", "\u4f60\u597d",
         "<|im_end|>", "(sighs)"]  # fmt: skip


@pytest.fixture
def model(tiny_model: Path) -> Iterator[Model]:
    model = Model(tiny_model)
    yield model
    model.close()


@pytest.fixture(params=["smollm2", "gemma"])
def real_model(request: pytest.FixtureRequest) -> Iterator[Model]:
    model = Model(request.getfixturevalue(request.param))
    yield model
    model.close()


class Walk:
    """Sends whatever comes to mind, and checks after each step what must always hold."""

    def __init__(self, engine: EngineCore, backend: Llama, seed: int) -> None:
        self.engine = engine
        self.backend = backend
        self.random = random.Random(seed)
        self.open: dict[str, m.Request] = {}
        self.said: list[str] = []
        self.ended: list[str] = []
        self.errors: list[m.Error] = []
        self.n_replies: dict[type[m.Reply], int] = {}
        self.n_ids = 0
        self.n_cut_late = 0
        self.n_parked = 0

    def id(self) -> str:
        self.n_ids += 1
        return f"r{self.n_ids}"

    def send(self, request: m.Request) -> None:
        self.open[request.id] = request
        self.engine.handle(m.unpack(m.pack(request)), GAME)

    def step(self) -> None:
        for client, reply in self.engine.step():
            assert client == GAME
            assert reply.id in self.open, f"a reply to what is not open: {reply}"
            if reply.terminal:
                self.end(self.open.pop(reply.id), reply)
        self.check()

    def end(self, request: m.Request, reply: m.Reply) -> None:
        self.n_replies[type(reply)] = self.n_replies.get(type(reply), 0) + 1
        if isinstance(request, m.Say):
            self.ended.append(request.id)
        if isinstance(request, m.Cancel) and isinstance(reply, m.Ok):
            self.n_cut_late += not reply.cancelled
        elif isinstance(reply, m.Error) and not isinstance(request, m.Cancel):
            self.errors.append(reply)

    def check(self) -> None:
        for name, character in self.engine.stage.characters.items():
            sequence = character.dialogue.sequence
            ledger = sequence.ledger
            assert ledger.n_tokens <= ledger.window, name
            self.n_parked += sequence.parked is not None
            if sequence.slot is not None:
                low, high = self.backend.positions(sequence.slot)
                assert high == (ledger.next_pos - 1 if ledger.n_cells else -1), (name, low, high)

    def until(self, is_over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not is_over():
            assert time.monotonic() < deadline, f"still open: {self.open}"
            time.sleep(self.engine.patience() or 0)
            self.step()

    def text(self, n: int) -> str:
        return " ".join(self.random.choice(WORDS) for _ in range(n))

    # moves

    def say(self) -> None:
        pick = self.random.choice
        text = pick([self.text(self.random.randint(1, 20)), self.text(500), "", "Hi."])
        notes = pick([[], ["Be kind."], [self.text(100)]])
        request = m.Say(id=self.id(), npc=pick("abc"), text=text, notes=notes,
                        max_tokens=pick([1, 5, 12, 24]))  # fmt: skip
        self.said.append(request.id)
        self.send(request)

    def event(self) -> None:
        npcs: Any = self.random.choice(["*", [self.random.choice("abc")]])
        text = self.text(self.random.choice([5, 200]))
        self.send(m.Event(id=self.id(), npcs=npcs, text=text,
                          expires_s=self.random.choice([None, 0.01])))  # fmt: skip

    def hear(self) -> None:
        text, npc = self.text(20), self.random.choice("abc")
        for n in (8, 30, len(text)):
            self.send(m.Hear(id=self.id(), npc=npc, text=text[:n]))
            self.step()

    def cancel(self) -> None:
        """Mostly of a line under way; else one that has ended: it was not heard to its end."""
        under_way = [i for i in self.said if i in self.open]
        targets = under_way or self.ended[-2:]
        if targets:
            target, heard = targets[-1], self.random.choice([None, 0, 2, 9, 99])
            self.send(m.Cancel(id=self.id(), target=target, heard=heard))

    def cut_late(self) -> None:
        if self.ended:
            self.send(m.Cancel(id=self.id(), target=self.ended[-1], heard=1))

    def rewind(self) -> None:
        npc, turns = self.random.choice("abc"), self.random.randint(1, 4)
        self.send(m.Rewind(id=self.id(), npc=npc, turns=turns))

    def save(self) -> None:
        self.send(m.Save(id=self.id(), slot="s", npcs=self.random.choice([None, ["a"]])))

    def load(self) -> None:
        self.send(m.Load(id=self.id(), slot="s"))

    def run(self, n_turns: int) -> None:
        for name, card in CAST.items():
            self.send(m.Spawn(id=self.id(), npc=name, card=card))
        self.send(m.Save(id=self.id(), slot="s"))
        moves = [self.say] * 9 + [self.event, self.hear, self.cut_late] * 2
        moves += [self.cancel] * 3 + [self.save, self.load, self.rewind]
        while len(self.said) < n_turns:
            self.random.choice(moves)()
            for _ in range(self.random.choice([0, 1, 4, 20])):
                self.step()
            if self.random.random() < 0.4:
                self.until(lambda: not self.open)
        self.until(lambda: not self.open and self.engine.patience() is None)


def test_a_random_walk(model: Model, tmp_path: Path) -> None:
    engine, backend = make_engine(model, tmp_path, n_slots=N_SLOTS, n_batch=128, window=WINDOW)
    walk = Walk(engine.core, backend, seed=7)
    try:
        walk.run(N_TURNS)
    finally:
        engine.close()
    assert walk.errors == []
    assert walk.n_replies[m.Done] == N_TURNS
    assert walk.n_replies[m.Loaded] >= 1
    assert walk.n_replies[m.Saved] >= 2
    assert walk.n_cut_late >= 2
    assert walk.n_parked > 0


def test_a_random_walk_with_a_real_model(real_model: Model, tmp_path: Path) -> None:
    engine, backend = make_engine(real_model, tmp_path, n_slots=N_SLOTS, n_batch=128, window=WINDOW)
    walk = Walk(engine.core, backend, seed=3)
    try:
        walk.run(N_TURNS // 2)
    finally:
        engine.close()
    assert walk.errors == []
    assert walk.n_replies[m.Done] == N_TURNS // 2


def test_a_persona_that_was_read_ahead_is_as_if_read_just_now(model: Model, tmp_path: Path) -> None:
    """Five characters over two slots, of whom nobody was spoken to."""
    engine, backend = make_engine(model, tmp_path, n_slots=N_SLOTS, window=WINDOW)
    try:
        for i, name in enumerate("abcde"):
            card = {"name": f"N{i}", "description": f"{i} sheep on a hill, {WORDS[i] * 9}."}
            engine.spawn(name, card, sampling=GREEDY)
        while engine.core.patience() is not None:
            engine.core.step()
        stats = engine.stats()
        assert (stats["n_pending_tokens"], stats["n_parked"]) == (0, 3)
        for name in "ace":
            n_before = engine.stats()["n_prefilled"]
            known = engine.core.stage.characters[name].dialogue.ledger.n_cells
            tokens, logits = next_distribution(engine, backend, name)
            assert kl(logits, read_afresh(model, tokens)) < MOST_KL
            assert engine.stats()["n_prefilled"] - n_before == len(tokens) - known
    finally:
        engine.close()


@pytest.mark.parametrize("parked", [False, True])
def test_a_reply_that_is_cut_late_leaves_what_a_fresh_reading_makes(
    model: Model, tmp_path: Path, parked: bool
) -> None:
    """A parked copy of a sliding window lacks what the cut needs: it has to be read again."""
    engine, backend = make_engine(model, tmp_path, n_slots=N_SLOTS, window=WINDOW)
    with engine:
        for name, card in CAST.items():
            engine.spawn(name, card, sampling=GREEDY)
        speech = engine.say("a", "Tell me about the inn.", max_tokens=80)
        assert speech.wait().stats.n_decoded > 20
        for name in "bc" if parked else "":
            engine.say(name, "Hm.", max_tokens=1).wait()
        sequence = engine.core.stage.characters["a"].dialogue.sequence
        assert (sequence.parked is not None) == parked
        speech.cancel(heard=2)
        tokens, logits = next_distribution(engine, backend, "a")
    assert kl(read_afresh(model, tokens), logits) < MOST_KL


@pytest.mark.parametrize("parked", [False, True])
def test_what_is_rewound_leaves_what_a_fresh_reading_makes(
    model: Model, tmp_path: Path, parked: bool
) -> None:
    """Two turns are more than a recurrent state has copies of, and it may be read from afresh."""
    engine, backend = make_engine(model, tmp_path, n_slots=N_SLOTS, window=WINDOW)
    with engine:
        for name, card in CAST.items():
            engine.spawn(name, card, sampling=GREEDY)
        for line in ("Good evening.", "I hate you.", "Where is the gold?"):
            engine.say("a", line, max_tokens=12).wait()
        for name in "bc" if parked else "":
            engine.say(name, "Hm.", max_tokens=1).wait()
        sequence = engine.core.stage.characters["a"].dialogue.sequence
        assert (sequence.parked is not None) == parked
        rewound = engine.rewind("a", 2)
        assert (rewound.turn, rewound.n_forgotten) == (1, 2)
        backend.heard.clear()  # the turn has the number, and so the seed, of one that is gone
        tokens, logits = next_distribution(engine, backend, "a")
    words = b"".join(map(model.piece, tokens)).decode("utf-8", "replace")
    assert "Good evening." in words
    assert "hate" not in words
    assert kl(read_afresh(model, tokens), logits) < MOST_KL


def test_taking_words_back_reads_one_turn_again(model: Model, tmp_path: Path) -> None:
    """Not the window: a recurrent state has a copy from where the reply began."""
    engine, backend = make_engine(model, tmp_path, n_slots=1, window=WINDOW)
    with engine:
        engine.spawn("a", INNKEEPER, sampling=GREEDY)
        for _ in range(6):
            engine.say("a", "Tell me about the inn.", max_tokens=24).wait()
        ledger = engine.core.stage.characters["a"].dialogue.ledger
        assert ledger.n_evicted > 0
        decode, n_read = backend.decode, 0

        def count(spans: Any, every: bool = False) -> list[int]:
            nonlocal n_read
            n_read += sum(
                len(span.tokens if hasattr(span, "tokens") else span[2]) for span in spans
            )
            return decode(spans, every)

        backend.decode = count  # type: ignore[method-assign]
        speech = engine.say("a", "And the cellar?", max_tokens=40)
        for _ in range(20):
            engine.poll()
        speech.cancel(heard=3)
        while engine.core.patience() == 0:
            engine.core.step()
        n_turn = len(
            engine.core.stage.characters["a"].dialogue.chat_format.words("And the cellar?")
        )
        assert n_read < n_turn + 20 + 40, "the line, what was said of it, and what of that was kept"
        assert ledger.n_pending == 0


def test_the_measure_notices_a_missing_token(model: Model) -> None:
    tokens = model.tokenize("The old inn by the sea has three rooms and a cellar. ") * 3
    other = tokens[:-4] + tokens[-2:]
    assert kl(read_afresh(model, tokens), read_afresh(model, other)) > 10 * MOST_KL
