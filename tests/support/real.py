"""Engines over real llama.cpp for the tests that need one; and twins whose words are compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npc_engine.client.in_process import Engine
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.llama.context import Llama
from npc_engine.llama.model import Layout, Model
from npc_engine.llama.sampler import Sampler
from npc_engine.loading import chat_format_of

GREEDY = {"temperature": 0.0, "repeat_penalty": 1.0}
INNKEEPER = {
    "name": "Mara",
    "description": "Mara keeps the Crooked Lantern inn. She is warm, dry and curious. She lost "
    "her brother to the sea and never speaks of it. She knows everybody's business.",
}
SMITH = {
    "name": "Bram",
    "description": "Bram is the village smith: gruff, honest, slow to trust, proud of his work.",
}


class Twin(Llama):
    """A Llama that notes the distribution at each sampled token, by reply.

    `script`: the tokens that it says instead of its own choice, by reply (the sampler's seed is
    one for each character and turn), so that two runs stay comparable token by token.
    """

    def __init__(self, *args: Any, script: dict[int, list[int]] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.script = script
        self.said: dict[int, list[int]] = {}
        self.heard: dict[int, list[Any]] = {}

    def sample(self, row: int, sampler: Sampler, may_end: bool = True) -> int:
        said = self.said.setdefault(sampler.seed, [])
        self.heard.setdefault(sampler.seed, []).append(self.logits(row))
        token = super().sample(row, sampler, may_end)
        if self.script is not None:
            token = self.script[sampler.seed][len(said)]
        said.append(token)
        return token


def make_engine(
    model: Model,
    saves: Path,
    *,
    layout: Layout | None = None,
    script: dict[int, list[int]] | None = None,
    n_slots: int = 4,
    n_batch: int = 512,
    window: int = 512,
    step_ms: float = 50.0,
    world: str = "",
) -> tuple[Engine, Twin]:
    """Return an engine over a real model, and its backend. The cache is float32 by default."""
    backend = Twin(
        model,
        n_slots=n_slots,
        n_cells=window,
        n_batch=n_batch,
        n_threads=2,
        layout=layout or Layout("f32", "f32"),
        script=script,
    )
    settings = Settings(window=window, step_ms=step_ms, saves=str(saves), save_kv="yes")
    return Engine(EngineCore(backend, chat_format_of(model, world), settings)), backend


def kl(p_logits: Any, q_logits: Any) -> float:
    """The Kullback-Leibler divergence in nats of two next-token distributions."""
    p, q = _log_softmax(p_logits), _log_softmax(q_logits)
    return float((np.exp(p) * (p - q)).sum())


def _log_softmax(logits: Any) -> Any:
    x = logits.astype(np.float64)
    x -= x.max()
    return x - np.log(np.exp(x).sum())


def worst_kl(a: Twin, b: Twin, seeds: Sequence[int] | None = None) -> float:
    """The largest divergence between two runs that said the same words."""
    worst = 0.0
    for seed in seeds if seeds is not None else b.heard:
        assert a.said[seed] == b.said[seed]
        for p, q in zip(a.heard[seed], b.heard[seed], strict=True):
            worst = max(worst, kl(p, q))
    return worst
