"""llama.cpp's samplers: how the next token of one reply is chosen.

With `llama_model` and `llama` the only files that know ctypes and llama_cpp. Owns which samplers
make a chain, and their order. It knows no KV cache.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# First llama_model: it sets the environment that the native library reads when it is loaded.
from npc_engine.llama_model import Model  # isort: skip

import llama_cpp.llama_cpp as C  # noqa: N812

from npc_engine.config import N_RECENT, Sampling

__all__ = ["Sampler"]

DRY_BASE = 1.75  # llama.cpp's default (common/common.h)
DRY_ALLOWED = 4  # tokens that may be said again for free: names, "the Crooked Lantern"


class Sampler:
    """A chain of llama.cpp's own samplers, for one reply of one sequence.

    One chain, so one stream of random numbers: a second chain of the same seed, for the tokens
    before the reply may end, would draw the first number twice.
    """

    def __init__(self, model: Model, sampling: Sampling, seed: int, recent: Iterable[int]) -> None:
        self.chain = _chain(model, sampling, seed)
        self._model = model
        self.seed = seed
        for token in recent:
            C.llama_sampler_accept(self.chain, token)

    def sample(self, ctx: Any, row: int, may_end: bool) -> int:
        """Choose the next token from a row's logits; an end token only if `may_end`."""
        changes = {} if may_end else dict.fromkeys(self._model.eog, float("-inf"))
        with _changed(C.llama_get_logits_ith(ctx, row), changes):
            return int(C.llama_sampler_sample(self.chain, ctx, row))

    def close(self) -> None:
        """Free the chain."""
        if self.chain:
            C.llama_sampler_free(self.chain)
            self.chain = None


@contextmanager
def _changed(logits: Any, changes: Mapping[int, float]) -> Iterator[None]:
    """Let some tokens have other logits for a while: few, so this costs microseconds."""
    before = {token: logits[token] for token in changes}
    for token, logit in changes.items():
        logits[token] = logit
    try:
        yield
    finally:
        for token, logit in before.items():
            logits[token] = logit


def _chain(model: Model, s: Sampling, seed: int) -> Any:
    """top_k first: every later sampler then looks at k tokens instead of the whole vocabulary."""
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    stages = []
    if s.top_k:
        stages.append(C.llama_sampler_init_top_k(s.top_k))
    if s.repeat_last_n and (s.repeat_penalty, s.frequency_penalty, s.presence_penalty) != (1, 0, 0):
        stages.append(
            C.llama_sampler_init_penalties(
                model.n_vocab,
                s.repeat_last_n,
                s.repeat_penalty,
                s.frequency_penalty,
                s.presence_penalty,
            )
        )
    if s.dry:
        # No sequence breakers: finding their tokens looks at the whole vocabulary, each time.
        dry = (s.dry, DRY_BASE, DRY_ALLOWED, N_RECENT, None, 0)
        stages.append(C.llama_sampler_init_dry(model.vocab, *dry))
    if s.temperature == 0:
        stages.append(C.llama_sampler_init_greedy())
    else:
        stages.append(C.llama_sampler_init_top_p(s.top_p, 1))
        stages.append(C.llama_sampler_init_min_p(s.min_p, 1))
        stages.append(C.llama_sampler_init_temp(s.temperature))
        stages.append(C.llama_sampler_init_dist(seed))
    for stage in stages:
        C.llama_sampler_chain_add(chain, stage)
    return chain
