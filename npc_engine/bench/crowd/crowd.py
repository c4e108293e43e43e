"""Characters with the same long past over one context, for `bench crowd`: asked, and timed.

Owns how they come to their past in a moment, and how the engine is driven and watched. It knows
the engine's steps, and neither the bare loops nor what the figures come to.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from npc_engine import protocol as m
from npc_engine.bench.crowd.timed_llama import Past, Timed
from npc_engine.cards.small_talk import CARD, lines
from npc_engine.characters.character import Character
from npc_engine.config import Settings
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.paragraphs import as_event
from npc_engine.errors import BackendError, ConfigError
from npc_engine.llama.model import Layout, Model
from npc_engine.loading import chat_format_of, engine_over, n_auto_threads
from npc_engine.text.chat_format import ChatFormat

__all__ = ["CLIENT", "MOST_TOKENS", "ROOM", "Crowd", "Endless", "Spoken"]

CLIENT = b"bench"
ROOM = 256  # tokens of a window beyond the past: what is said and heard meanwhile
LEFT_OUT = 2  # tokens of the past that are left to be read: whoever has some takes a slot
PATIENCE = 400  # steps beyond those asked for until all speak at once; then it is given up
LINES = lines(200)
ASKED = "Who came in last night?"
MOST_TOKENS = 1 << 16  # of a reply: it ends when somebody ends it


class Endless:
    """The model's vocabulary with no end token: every reply has the length that is asked for."""

    eog: frozenset[int] = frozenset()
    special: Mapping[int, str] = MappingProxyType({})

    def __init__(self, model: Model) -> None:
        self.add_bos = model.add_bos
        self.bos = model.bos
        self.tokenize = model.tokenize
        self.piece = model.piece


@dataclass
class Spoken:
    """What came of asking all: ms to each one's first token, tokens of all together, and the
    seconds from the asking to the end.

    Where they speak at once: ms of each step in which all do, of these the ms beside decoding and
    sampling, and how many tokens a window held at the first such step (`depth`).
    """

    first_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    python_ms: list[float] = field(default_factory=list)
    n_tokens: int = 0
    seconds: float = 0.0
    depth: int = 0


class Crowd:
    """Up to `n_slots` characters at once in the cache, each behind `depth` tokens of past.

    `n_threads`: None lets the engine choose, as `--threads auto` does.
    Raises ConfigError for a depth that the model cannot do or that leaves no past, ModelError and
    BackendError where there is no room. Close it after use; the model stays.
    """

    def __init__(
        self,
        model: Model,
        layout: Layout,
        n_slots: int,
        depth: int,
        n_threads: int | None,
        **more: Any,
    ) -> None:
        """`more`: other names of config.Settings."""
        window = depth + ROOM
        if window > model.n_ctx_train:
            raise ConfigError(
                f"A past of {depth} tokens and {ROOM} to talk are beyond this model's "
                f"{model.n_ctx_train} positions.",
                f"Give {model.n_ctx_train - ROOM} tokens or less.",
            )
        self.depth = depth
        self.llama = Timed(
            model,
            n_slots=n_slots,
            n_cells=window,
            n_threads=n_threads or n_auto_threads(),
            layout=layout,
        )
        try:
            settings = Settings(
                window=window, slots=n_slots, threads=n_threads, max_tokens=MOST_TOKENS, **more
            )
            chat_format = ChatFormat(Endless(model), chat_format_of(model).pieces)
            self.engine = engine_over(self.llama, chat_format, settings)
            self.past = Past(self.llama, self._past())
        except BaseException:
            self.llama.close()
            raise
        self._n_asked = 0
        self._n_done: dict[str, int] = {}
        self._first_ms: dict[str, float] = {}

    def close(self) -> None:
        """Free the context, not the model."""
        self.engine.close()

    def _past(self) -> list[int]:
        """The past of every character, and what a bare loop may read beyond it."""
        tokens = self._create("past").ledger.tokens()
        if len(tokens) > self.depth:
            raise ConfigError(
                f"A past of {self.depth} tokens is too short: the persona alone has {len(tokens)}.",
                "Give some hundred tokens more.",
            )
        self._n_read = len(tokens) - LEFT_OUT
        return tokens + tokens[:ROOM]

    def _create(self, name: str) -> Dialogue:
        """A new character, its persona followed by turns up to the depth, not on the stage yet."""
        request = m.Spawn(id=name, npc=name, card=dict(CARD), sampling={"seed": len(self)})
        npc, _greeting = self.engine.stage.create(request)
        for i in range(len(LINES) * 10):
            event, reply = as_event(LINES[i % len(LINES)]), LINES[(i + 1) % len(LINES)]
            if npc.ledger.n_tokens + npc.n_turn(event, reply) > self.depth:
                break
            npc.insert(event, reply)
        return npc

    @property
    def _names(self) -> list[str]:
        return list(self.engine.stage.characters)

    def gather(self, n: int, copies: bool = False) -> None:
        """Bring n characters; those who find a slot sit in it. `copies`: a payload for each."""
        payload = self.past.payload(self._n_read)
        for i in range(n):
            npc = self._create(f"npc{i}")
            npc.ledger.commit(self._n_read)
            npc.sequence.adopt(bytes(bytearray(payload)) if copies else payload, [])
            self.engine.stage.add(npc)
        self.settle()

    def clear(self) -> None:
        """Send everybody away; every slot is empty then."""
        for name in self._names:
            self.engine.stage.remove(name)
        self.engine.step()
        self._n_done.clear()
        self._first_ms.clear()

    def settle(self) -> None:
        """Let the engine read what there is to read while nobody speaks."""
        while True:
            self.engine.step()
            if self.engine.patience() != 0:
                return

    def __getitem__(self, i: int) -> Character:
        return self.engine.stage.characters[f"npc{i}"]

    def __len__(self) -> int:
        return len(self.engine.stage.characters)

    # -- asking ----------------------------------------------------------------------------------

    def ask(self, names: Iterable[str], max_tokens: int | None = None) -> None:
        """Say a short line to each; the answers come with the steps."""
        for name in names:
            self._n_asked += 1
            say = m.Say(id=f"{self._n_asked}", npc=name, text=ASKED, stream=[])
            say.max_tokens = max_tokens
            self.engine.handle(say, CLIENT)

    def step(self) -> list[m.Done]:
        """Do a step of the engine; return the replies that are over. Raises BackendError."""
        done = []
        for _client, reply in self.engine.step():
            if isinstance(reply, m.Error):
                raise BackendError(reply.message, reply.help)
            if isinstance(reply, m.Done):
                self._n_done[reply.npc] = self._n_done.get(reply.npc, 0) + reply.stats.n_decoded
                self._first_ms.setdefault(reply.npc, reply.stats.ttft_ms)
                done.append(reply)
        return done

    def answer(self, name: str, max_tokens: int) -> m.Done:
        """Ask one, and step until it has answered."""
        self.ask([name], max_tokens)
        while True:
            for done in self.step():
                return done

    def n_said(self) -> list[int]:
        """Return how many tokens each has said since `gather`."""
        return [
            self._n_done.get(name, 0) + (c.generation.stats.n_decoded if c.generation else 0)
            for name, c in self.engine.stage.characters.items()
        ]

    def speak(self, n_steps: int) -> Spoken:
        """Ask all at once, and listen until there were `n_steps` steps in which all speak.

        Raises BackendError where that takes too long.
        """
        spoken = Spoken()
        began = time.perf_counter()
        self.ask(self._names)
        characters = [self[i] for i in range(len(self))]
        for _ in range(n_steps + PATIENCE * len(characters)):
            all_speak = all(c.claim.is_row for c in characters)
            if all_speak and not spoken.step_ms:
                spoken.depth = round(
                    sum(c.dialogue.ledger.n_tokens for c in characters) / len(self)
                )
            self.llama.inner_s = 0.0
            start = time.perf_counter()
            over = self.step()
            seconds = time.perf_counter() - start
            if all_speak:
                spoken.step_ms.append(seconds * 1000)
                spoken.python_ms.append((seconds - self.llama.inner_s) * 1000)
            if len(spoken.step_ms) == n_steps:
                break
            self.ask([done.npc for done in over])  # its own words cut it short: go on
        else:
            raise BackendError(f"{len(self)} characters never all spoke at once.")
        spoken.seconds = time.perf_counter() - began
        spoken.n_tokens = sum(self.n_said())
        for c in characters:
            if c.generation is not None and c.dialogue.name not in self._first_ms:
                self._first_ms[c.dialogue.name] = c.generation.stats.ttft_ms
        spoken.first_ms = list(self._first_ms.values())
        return spoken

    def one_by_one(self, n_tokens: int) -> Spoken:
        """Serve all who are asked at once one after the other, `n_tokens` each."""
        spoken = Spoken()
        began = time.perf_counter()
        for name in self._names:
            waited_ms = (time.perf_counter() - began) * 1000
            done = self.answer(name, n_tokens)
            spoken.first_ms.append(waited_ms + done.stats.ttft_ms)
            spoken.n_tokens += done.stats.n_decoded
        spoken.seconds = time.perf_counter() - began
        return spoken

    def chatter(self, seconds: float, n_tokens: int) -> Iterator[tuple[float, list[int]]]:
        """All speak, and are asked again as soon as they have answered.

        After each step it yields the seconds since all had begun, and the tokens of each since.
        """
        self.ask(self._names, n_tokens)
        while not all(self.n_said()):
            self.ask([done.npc for done in self.step()], n_tokens)
        first = self.n_said()
        began = time.perf_counter()
        done_s = 0.0
        while done_s < seconds:
            self.ask([done.npc for done in self.step()], n_tokens)
            done_s = time.perf_counter() - began
            yield done_s, [now - then for now, then in zip(self.n_said(), first, strict=True)]
