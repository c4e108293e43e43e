"""Our side of `bench talk`: one character over one slot, turn by turn, metered at the backend.

Owns how a turn is measured. Between turns the engine has its pause, as it has while a player reads
or thinks: what it decodes there is counted apart.
"""

import time
from collections.abc import Sequence
from typing import Any

import psutil

from npc_engine.bench.talk.figures import Turn
from npc_engine.cards.small_talk import CARD
from npc_engine.client.in_process import Engine
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.llama.context import Llama
from npc_engine.llama.model import Layout, Model
from npc_engine.llama.rope import resolve
from npc_engine.loading import chat_format_of, window_of

__all__ = ["EngineSide"]

NPC = "mara"
GREEDY = {"temperature": 0.0, "repeat_penalty": 1.0, "dry": 0.0}


class Metered(Llama):
    """A Llama that counts what it decodes."""

    n_tokens = 0

    def decode(self, spans: Sequence[Any], every: bool = False) -> list[int]:
        """Decode, and count the tokens."""
        rows = super().decode(spans, every)
        self.n_tokens += sum(len(span[2]) for span in spans)
        return rows


class EngineSide:
    """A talk in a window of `window` tokens, with `max_tokens` to a reply. Close it after use."""

    def __init__(
        self, model: Model, layout: Layout, window: int, n_threads: int, max_tokens: int
    ) -> None:
        settings = Settings(window=window, slots=1, max_tokens=max_tokens)
        rope = resolve(model.rope, "auto", None, window)
        self._llama = Metered(
            model, n_cells=window_of(settings, rope, model.rope), n_threads=n_threads, layout=layout
        )
        self.engine = Engine(EngineCore(self._llama, chat_format_of(model), settings))
        self.n_pinned = self.engine.spawn(NPC, CARD, sampling=GREEDY).n_pinned
        self._ledger = self.engine.core.stage.characters[NPC].dialogue.ledger
        self._process = psutil.Process()
        self._n_turns = self._n_evicted = self._n_renumbered = 0
        self._pause()

    def say(self, text: str) -> Turn:
        """Say a line and hear the whole reply, then pause. Raises NpcError."""
        before = self._llama.n_tokens
        done = self.engine.say(NPC, text, stream=["text"]).wait()
        n_read = self._llama.n_tokens - before - (done.stats.n_decoded - 1)
        n_evicted, self._n_evicted = self._n_evicted, self._ledger.n_evicted
        self._n_turns += 1
        n_idle, idle_ms = self._pause()
        n_renumbered, self._n_renumbered = self._n_renumbered, self._ledger.n_renumbered
        return Turn(
            number=self._n_turns,
            overflow=self._n_evicted > n_evicted,
            n_message=len(self.engine.core.stage.chat_format.words(text)),
            n_read=n_read,
            n_decoded=done.stats.n_decoded,
            ttft_ms=done.stats.ttft_ms,
            total_ms=done.stats.total_ms,
            rss=self._process.memory_info().rss,
            n_idle=n_idle,
            idle_ms=idle_ms,
            n_renumbered=self._n_renumbered - n_renumbered,
        )

    def _pause(self) -> tuple[int, float]:
        """Let the engine do what it does in a pause; return tokens and milliseconds."""
        before, began = self._llama.n_tokens, time.perf_counter()
        while self.engine.core.patience() == 0:
            self.engine.core.step()
        return self._llama.n_tokens - before, (time.perf_counter() - began) * 1000

    def close(self) -> None:
        """Free the context, not the model."""
        self.engine.close()
