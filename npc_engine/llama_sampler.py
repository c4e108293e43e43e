"""llama.cpp's samplers: how the next token of one reply is chosen.

With `llama_model` and `llama` the only files that know ctypes and llama_cpp. Owns which samplers
make a chain, and their order. It knows no KV cache.
"""

from collections.abc import Iterable
from typing import Any

# First llama_model: it sets the environment that the native library reads when it is loaded.
from npc_engine.llama_model import Model  # isort: skip

import llama_cpp.llama_cpp as C  # noqa: N812

from npc_engine.config import N_RECENT, Sampling

__all__ = ["Sampler"]

DRY_BASE = 1.75  # llama.cpp's default (common/common.h)
DRY_ALLOWED = 4  # tokens that may be said again for free: names, "the Crooked Lantern"


class Sampler:
    """A chain of llama.cpp's own samplers, for one reply of one sequence."""

    def __init__(self, model: Model, sampling: Sampling, seed: int, recent: Iterable[int]) -> None:
        self.chain = _chain(model, sampling, seed, ())
        self._model = model
        self._sampling = sampling
        self.seed = seed
        for token in recent:
            C.llama_sampler_accept(self.chain, token)

    def sample(self, ctx: Any, row: int, may_end: bool) -> int:
        """Choose the next token from a row's logits; an end token only if `may_end`."""
        if may_end:
            return int(C.llama_sampler_sample(self.chain, ctx, row))
        opening = _chain(self._model, self._sampling, self.seed, self._model.eog)
        token = int(C.llama_sampler_sample(opening, ctx, row))
        C.llama_sampler_free(opening)
        C.llama_sampler_accept(self.chain, token)
        return token

    def close(self) -> None:
        """Free the chain."""
        if self.chain:
            C.llama_sampler_free(self.chain)
            self.chain = None


def _chain(model: Model, s: Sampling, seed: int, banned: Iterable[int]) -> Any:
    """top_k first: every later sampler then looks at k tokens instead of the whole vocabulary."""
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    bans = [C.llama_logit_bias(token=t, bias=float("-inf")) for t in banned]
    stages = []
    if bans:
        array = (C.llama_logit_bias * len(bans))(*bans)
        stages.append(C.llama_sampler_init_logit_bias(model.n_vocab, len(bans), array))
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
