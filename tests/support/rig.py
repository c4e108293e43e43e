"""An engine over FakeLlama with a clock of its own, and all that it ever answered.

Whatever a test does with it, `step` checks what must always hold: one terminal reply for each
request, streams without gaps, no window overfull, every KV cache exactly what its ledger says.
"""

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from npc_engine import protocol as m
from npc_engine.characters.character import Character
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.kvcache.ledger import Kind, Ledger
from npc_engine.saving.saving import POLL_S
from npc_engine.scheduling.prefix_cache import MIN_TOKENS, MOST_KEPT, PrefixCache
from npc_engine.scheduling.threads import Threads
from tests.support.fake_llama import END, FakeLlama

GAME = b"game"
WRITE_TIMEOUT_S = 20.0
CARD = {"name": "Mara", "system_prompt": "{{char}} keeps the inn."}

Mind = Callable[[Sequence[int]], int]


class TimedLlama(FakeLlama):
    """Each decode takes `seconds` of the rig's clock."""

    rig: "Rig"
    seconds = 0.0

    def decode(self, spans: Sequence[Any]) -> list[int]:
        self.rig.now += self.seconds
        return super().decode(spans)


def scripted(text: str | bytes, end: bool = True) -> Mind:
    """A mind that answers every line with these bytes, then ends (or begins again)."""
    script = text.encode() if isinstance(text, str) else text
    lead = [257, *b"assistant\n"]

    def mind(tokens: Sequence[int]) -> int:
        starts = (i for i in range(len(tokens) - 1, -1, -1) if tokens[i] == lead[0])
        at = next(i for i in starts if list(tokens[i : i + len(lead)]) == lead) + len(lead)
        n = len(tokens) - at
        if n < len(script):
            return script[n]
        return END if end else script[n % len(script)]

    return mind


class Rig:
    def __init__(
        self,
        folder: Path,
        *,
        fake: FakeLlama | None = None,
        window: int = 400,
        threads: Threads | None = None,
        load: Callable[[], float | None] = lambda: None,
        **settings: Any,
    ) -> None:
        self.now = 1000.0
        self.fake = fake or TimedLlama()
        if isinstance(self.fake, TimedLlama):
            self.fake.rig = self
        values = {"saves": str(folder), "window": window, **settings}
        self.engine = EngineCore(
            self.fake,
            self.fake.chat_format(),
            Settings.parse(values),
            clock=lambda: self.now,
            threads=threads,
            load=load,
        )
        self.replies: list[tuple[bytes, m.Reply]] = []
        self.by_id: dict[tuple[bytes, str], list[m.Reply]] = {}
        self.open: set[tuple[bytes, str]] = set()
        self.n_steps = 0
        self.check_every = 1
        self.may_lose = False  # whether parked copies are lost on disk
        self._ids = itertools.count(1)

    # requests

    def send(self, request: m.Request, client: bytes = GAME) -> str:
        key = (client, request.id)
        assert key not in self.open
        # As it would come over the wire: a Struct made in Python is not validated.
        checked = m.unpack(m.pack(request))
        self.open.add(key)
        self.by_id[key] = []
        self.engine.handle(checked, client)
        return request.id

    def id(self) -> str:
        return f"r{next(self._ids)}"

    def say(self, npc: str, text: str = "Hello.", client: bytes = GAME, **keys: Any) -> str:
        return self.send(m.Say(id=self.id(), npc=npc, text=text, **keys), client)

    def event(self, text: str, npcs: Any = "*", **keys: Any) -> str:
        return self.send(m.Event(id=self.id(), npcs=npcs, text=text, **keys))

    def hear(self, npc: str, text: str, **keys: Any) -> str:
        return self.send(m.Hear(id=self.id(), npc=npc, text=text, **keys))

    def cancel(self, target: str, heard: int | None = None, client: bytes = GAME) -> str:
        return self.send(m.Cancel(id=self.id(), target=target, heard=heard), client)

    def ask(self, request: m.Request, client: bytes = GAME) -> Any:
        """Send and step until it is answered."""
        return self.until(self.send(request, client), client)

    def spawn(self, npc: str, **keys: Any) -> m.Spawned:
        keys = {"card": CARD, **keys}
        reply = self.ask(m.Spawn(id=self.id(), npc=npc, **keys))
        assert isinstance(reply, m.Spawned), reply
        return reply

    def talk(self, npc: str, text: str = "Hello.", **keys: Any) -> m.Done:
        done = self.until(self.say(npc, text, **keys))
        assert isinstance(done, m.Done), done
        return done

    def save(self, slot: str, npcs: list[str] | None = None, mode: Any = "full") -> Any:
        return self.ask(m.Save(id=self.id(), slot=slot, npcs=npcs, mode=mode))

    def load(self, slot: str, npcs: list[str] | None = None) -> Any:
        return self.ask(m.Load(id=self.id(), slot=slot, npcs=npcs))

    def scene(self, name: str, npcs: list[str], client: bytes = GAME, **keys: Any) -> str:
        return self.send(m.Scene(id=self.id(), scene=name, npcs=npcs, **keys), client)

    # the loop

    def step(self) -> list[m.Reply]:
        out = self.engine.step()
        self.n_steps += 1
        self.note(out)
        if self.n_steps % self.check_every == 0:
            self.check()
        return [reply for _, reply in out]

    def note(self, out: Sequence[tuple[bytes, m.Reply]]) -> None:
        for client, reply in out:
            assert reply.id is not None
            key = (client, reply.id)
            assert key in self.open, f"a reply to what is not open: {reply}"
            self.replies.append((client, reply))
            self.by_id[key].append(reply)
            if reply.terminal:
                self.open.remove(key)
            else:
                n_before = len(self.by_id[key]) - 1
                assert isinstance(reply, m.Text | m.Line | m.Gesture | m.Turn)
                assert reply.seq == n_before, "a gap in the stream"

    def until(self, request_id: str, client: bytes = GAME) -> Any:
        """Step until a request has its terminal reply, and return it."""
        key = (client, request_id)
        self._loop(lambda: key not in self.open)
        return self.by_id[key][-1]

    def rest(self) -> None:
        """Step until there is nothing to do."""
        self._loop(lambda: self.engine.patience() is None)

    def steps(self, n: int) -> None:
        for _ in range(n):
            self.step()

    def _loop(self, is_over: Callable[[], bool], limit: int = 20_000) -> None:
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        for _ in range(limit):
            if is_over():
                return
            patience = self.engine.patience()
            assert patience is not None, f"the loop would block for ever; open: {self.open}"
            if patience:
                assert time.monotonic() < deadline, "a file write takes too long"
                self._await_files(min(patience, POLL_S))  # a file is written in real time,
                pause = patience if patience > POLL_S else 0.0
                self.now += self.engine.scheduler.patience() or pause  # a pause in the rig's
            self.step()
        raise AssertionError(f"no end after {limit} steps; open: {self.open}")

    def _await_files(self, timeout: float) -> None:
        """Wait until the threads have done what is queued now, and no longer than that."""
        for thread in (self.engine._files, self.engine._saving._arrivals._thread):
            if thread._thread is not None:
                done = threading.Event()
                thread.run(done.set)
                done.wait(timeout)

    def close(self) -> None:
        self.note(self.engine.close())
        assert not self.open, f"never answered: {self.open}"
        assert all(s.closed for s in self._samplers), "a sampler leaks"

    # what to look at

    def __getitem__(self, npc: str) -> Character:
        return self.engine.stage.characters[npc]

    def records(self, request_id: str, client: bytes = GAME) -> list[Any]:
        return self.by_id[client, request_id]

    def texts(self, request_id: str, kind: type[m.Reply]) -> list[str]:
        return [r.text for r in self.records(request_id) if isinstance(r, kind)]  # type: ignore[attr-defined]

    def tokens(self, npc: str) -> list[int]:
        return self[npc].dialogue.ledger.tokens()

    def heard(self, npc: str) -> str:
        """All that a character remembers, as text."""
        return bytes(t for t in self.tokens(npc) if t < 256).decode("utf-8", "replace")

    def last_reply(self, npc: str) -> str:
        """The last reply in the ledger, from its tokens."""
        replies = [s for s in self[npc].dialogue.ledger.segments if s.kind == "reply"]
        return bytes(t for t in replies[-1].tokens if t < 256).decode("utf-8", "replace")

    @property
    def _samplers(self) -> Any:
        return self.fake.samplers

    # what must always hold

    def check(self) -> None:
        for name, character in self.engine.stage.characters.items():
            check_character(self.fake, character, name, self.may_lose)
        check_prefixes(self.engine.stage.prefix_cache, self.engine.stage.characters)


def check_prefixes(prefix_cache: PrefixCache, characters: Mapping[str, Character]) -> None:
    """What is kept is what it says, is of use to somebody, and is little."""
    kept = prefix_cache._kept
    assert len(kept) <= MOST_KEPT
    personas = [tuple(_persona(c.dialogue.ledger)) for c in characters.values()]
    assert prefix_cache._users.keys() == characters.keys()
    order = [tokens for tokens, _ in prefix_cache._personas._order]
    assert order == sorted(personas)
    for tokens, payload in kept.items():
        held = _exported(payload)
        assert [held.get(p) for p in range(len(tokens))] == list(tokens)
        assert len(held) == len(tokens) >= MIN_TOKENS, "other cells behind a prefix"
        assert any(persona[: len(tokens)] == tokens for persona in personas), "of no use"


def _persona(ledger: Ledger) -> list[int]:
    """The tokens of the persona, which stands first."""
    tokens: list[int] = []
    for segment in ledger.segments:
        if segment.kind is not Kind.PERSONA:
            break
        tokens += segment.tokens
    return tokens


@lru_cache(maxsize=64)
def _exported(payload: bytes) -> Mapping[int, int]:
    """The cells in what a fake has exported: the same bytes are looked at in many steps."""
    return dict(json.loads(payload)[1])


def check_character(
    fake: FakeLlama, character: Character, name: str = "", may_lose: bool = False
) -> None:
    """The ledger's counts are right, and the cache holds what the ledger says, no cell more."""
    sequence, ledger = character.dialogue.sequence, character.dialogue.ledger
    cells = _cells(ledger, name)
    if sequence.slot is not None:
        assert fake.slots[sequence.slot] == cells, f"{name}: the cache is not what the ledger says"
    elif sequence.copy is not None:
        parked = sequence.parked
        if parked is None:
            assert may_lose, f"{name}: the parked copy is lost"
            return
        held = _paid(parked, tuple(sequence._owed))
        assert held == cells, f"{name}: the parked copy is not what the ledger says"
    else:
        assert not cells, name
    persona = [t for s in ledger.segments if s.kind is Kind.PERSONA for t in s.tokens]
    if ledger.n_cells >= len(persona):
        assert list(map(cells.get, range(len(persona)))) == persona, f"{name}: persona has moved"


def _cells(ledger: Ledger, name: str) -> dict[int, int]:
    """The cells that there should be, by position; the counts and the order are looked at."""
    n_tokens = n_pinned = n_cells = end = 0
    cells: dict[int, int] = {}
    complete = True
    for segment in ledger.segments:
        n, n_cached = len(segment.tokens), segment.n_cached
        n_tokens += n
        n_pinned += n if segment.pinned else 0
        n_cells += n_cached
        if n_cached:
            assert complete, f"{name}: cached behind what is not"
            assert segment.start >= end, f"{name}: cells out of order"
            end = segment.start + n_cached
            cells.update(zip(range(segment.start, end), segment.tokens, strict=False))
        complete = complete and n_cached == n
    assert ledger.n_tokens == n_tokens <= ledger.window, name
    assert ledger.n_cells == n_cells == len(cells), name
    assert ledger.n_pinned == n_pinned, name
    return cells


@lru_cache(maxsize=64)
def _paid(parked: bytes, owed: tuple[tuple[int, int, int | None], ...]) -> Mapping[int, int]:
    """The cells of a parked copy, once what it owes to the ledger is carried out."""
    held = _exported(parked)
    for first, last, by in owed:
        found = {p for p in held if p >= first and (last == -1 or p < last)}
        moved = {} if by is None else {p + by: held[p] for p in found}
        held = {p: t for p, t in held.items() if p not in found} | moved
    return held


MakeRig = Callable[..., Rig]
