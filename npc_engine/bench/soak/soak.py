"""A talk that never ends, in cycles of the same work, and a sample after each.

Owns the cycle and what must hold between ledger and cache. Every cycle says the same
things to the same characters, so that a late one can be held against an early one; the answers
differ, since every turn has its own seed. It knows no report.

Between the acts goes a fixed piece of work: how fast is this machine just now? Other programs slow
it down as they slow down the talk; the quotient of the two tells of a change that they did not
make.
"""

import logging
import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil

from npc_engine import protocol as m
from npc_engine.bench.soak.acts import ACTS, CARDS
from npc_engine.bench.soak.checking_client import CheckingClient
from npc_engine.bench.soak.figures import Sample
from npc_engine.characters.character import Character
from npc_engine.config import Sampling
from npc_engine.engine import EngineCore
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Model

__all__ = ["N_SLOTS", "ReferenceWork", "Soak"]

N_SLOTS = 2  # fewer than characters, so that they are parked all the time
MOST_FAULTS = 20  # a run that fails all the time says no more by going on
SEED = 20
N_PREFILL = 64  # tokens of the reference work
N_ROWS = 16


class ReferenceWork:
    """A short prefill and some decode steps in a context of its own, which knows no characters.

    Made over a loaded model; close it before the model.
    """

    def __init__(self, model: Model) -> None:
        self._llama = Llama(model, n_cells=2 * N_PREFILL, n_batch=N_PREFILL)
        self._tokens = [token % model.n_vocab for token in range(N_PREFILL)]

    def measure(self) -> float:
        """Do it; return seconds of processor time."""
        began = time.process_time()
        llama = self._llama
        sampler = llama.sampler(Sampling(), 0, ())
        (row,) = llama.decode([Span(0, 0, self._tokens, True)])
        for i in range(N_ROWS):
            token = llama.sample(row, sampler)
            (row,) = llama.decode([Span(0, N_PREFILL + i, [token], True)])
        sampler.close()
        llama.remove(0, 0, -1)
        return time.process_time() - began

    def close(self) -> None:
        """Free its context."""
        self._llama.close()


class Soak:
    """A run over an engine. `client` has what was asked and answered, and what went wrong."""

    def __init__(self, engine: EngineCore) -> None:
        self.client = CheckingClient(engine)
        self.n_cycles = 0
        self._engine = engine
        self._personas: dict[str, list[int]] = {}
        self._process = psutil.Process()
        self._wall_s = self._cpu_s = self._yard_s = 0.0

    def run(self, n_tokens: int) -> Iterator[Sample]:
        """Talk until `n_tokens` were read and spoken in all; yields after each cycle."""
        with _logged_errors(self.client), closing(ReferenceWork(self._llama.model)) as reference:
            self._fill()
            for name, card in CARDS.items():
                self.client.ask(m.Spawn, npc=name, card=card)
                self._personas[name] = list(
                    self._character(name).dialogue.ledger.segments[0].tokens
                )
            n_done = 0
            while n_done < n_tokens and self.client.n_faults < MOST_FAULTS:
                self._cycle(reference)
                sample = self._sample()
                n_done = sample.n_tokens
                yield sample

    def _sample(self) -> Sample:
        counts = self.client.ask(m.Stats).stats
        return Sample(
            n_tokens=counts["n_decoded"] + counts["n_prefilled"],
            n_decoded=counts["n_decoded"],
            wall_s=self._wall_s,
            cpu_s=self._cpu_s,
            yard_s=self._yard_s,
            rss=self._process.memory_info().rss,
        )

    def _fill(self) -> None:
        """Decode the largest batch there can be, once, so that llama.cpp's work buffer has its
        final size: it grows with the largest batch so far, which may come late by chance.
        """
        llama = self._llama
        n = min(llama.n_batch, llama.n_cells)
        llama.decode([Span(0, 0, [0] * n, True)])
        llama.remove(0, 0, -1)

    def _cycle(self, reference: ReferenceWork) -> None:
        rng = random.Random(SEED)  # noqa: S311
        names = list(CARDS)
        for i, act in enumerate(ACTS):
            wall, cpu = time.perf_counter(), time.process_time()
            act(self.client, names[i % len(names)], rng)
            self.client.rest()
            self._wall_s += time.perf_counter() - wall
            self._cpu_s += time.process_time() - cpu
            self._yard_s += reference.measure()
            for name in names:
                self._check(self._character(name))
        self.n_cycles += 1

    def facts(self) -> dict[str, Any]:
        """Return what was run, and how much of it, in plain JSON types."""
        about, replies = self._engine.backend.about, self.client.replies
        ledgers = [self._character(name).dialogue.ledger for name in CARDS]
        return {
            "model": dict(about["model"]),
            "layout": about["layout"],
            "n_threads": about["n_threads"],
            "window": self._engine.stage.window,
            "n_cycles": self.n_cycles,
            "n_requests": self.client.n_requests,
            "n_steps": self.client.n_steps,
            "replies": dict(sorted(replies.items())),
            "n_evicted": sum(ledger.n_evicted for ledger in ledgers),
            "n_renumbered": sum(ledger.n_renumbered for ledger in ledgers),
        }

    def _character(self, name: str) -> Character:
        return self._engine.stage.characters[name]

    def _check(self, character: Character) -> None:
        """Note a fault where ledger and cache disagree, or one of them is too large."""
        npc, ledger = character.dialogue, character.dialogue.ledger
        slot = npc.sequence.slot
        holds = {
            "its persona stands first": ledger.segments[0].tokens == self._personas[npc.name],
            "it counts its tokens": ledger.n_tokens == len(ledger.tokens()),
            "it stays within its window": ledger.n_tokens <= ledger.window,
            "it stays within the positions": ledger.next_pos <= ledger.n_pos,
            "its cells are counted": ledger.n_cells == sum(s.n_cached for s in ledger.segments),
            "its tail is the cache's": slot is None
            or self._llama.positions(slot)[1] == ledger.next_pos - 1,
        }
        for what, true in holds.items():
            if not true:
                self.client.fault(f"{npc.name}: not true in cycle {self.n_cycles}: {what}.")

    @property
    def _llama(self) -> Llama:
        backend = self._engine.backend
        if not isinstance(backend, Llama):
            raise TypeError(f"a soak wants llama.cpp, not {type(backend).__name__}")
        return backend


class _Errors(logging.Handler):
    """What the engine logs as an error is a fault, whatever it answers."""

    def __init__(self, client: CheckingClient) -> None:
        super().__init__(logging.ERROR)
        self._client = client

    def emit(self, record: logging.LogRecord) -> None:
        self._client.fault(f"log: {record.getMessage()}")


@contextmanager
def _logged_errors(client: CheckingClient) -> Iterator[None]:
    handler = _Errors(client)
    log = logging.getLogger("npc_engine")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
