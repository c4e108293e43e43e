"""llama.cpp's samplers: how the next token of one reply is chosen.

With `model`, `vocab` and `context` the only files of the room that know llama_cpp. Owns which
samplers make a chain, and their order. It knows no KV cache.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# First `model`: it sets the environment that the native library reads when it is loaded.
from npc_engine.llama.model import Model  # isort: skip

import llama_cpp.llama_cpp as C  # noqa: N812

from npc_engine.config import N_RECENT, Sampling
from npc_engine.llama.dry import Dry
from npc_engine.text.quotation import Quotation

__all__ = ["Sampler"]


class Sampler:
    """A chain of llama.cpp's own samplers, for one reply of one sequence.

    One chain, so one stream of random numbers: a second chain of the same seed, for the tokens
    before the reply may end, would draw the first number twice. What a chain cannot know is done
    to the logits before it: end tokens, DRY, and what penalties may not touch.
    """

    def __init__(
        self,
        model: Model,
        sampling: Sampling,
        seed: int,
        recent: Sequence[int],
        quotable: Callable[[], Iterable[str]],
    ) -> None:
        self.chain = _chain(model, sampling, seed)
        self.seed = seed
        self._model = model
        self._sampling = sampling
        self._quotation = Quotation(model.piece, quotable)
        self._dry = Dry(sampling.dry, N_RECENT, recent, self._quotation.is_quoted)
        self._penalized = deque(recent, sampling.repeat_last_n if _has_penalties(sampling) else 0)
        for token in recent:
            C.llama_sampler_accept(self.chain, token)

    def sample(self, ctx: Any, row: int, may_end: bool) -> int:
        """Choose the next token from a row's logits; an end token only if `may_end`."""
        logits = C.llama_get_logits_ith(ctx, row)
        changed = {
            token: self._unpenalized(token, logits[token])
            for token in self._quotation.spared({*self._penalized})
        }
        for token, less in self._dry.penalties().items():
            changed[token] = logits[token] - less
        if not may_end:
            changed |= dict.fromkeys(self._model.eog, -math.inf)
        with _changed(logits, changed):
            token = int(C.llama_sampler_sample(self.chain, ctx, row))
        for listener in (self._dry.accept, self._quotation.accept, self._penalized.append):
            listener(token)
        return token

    def _unpenalized(self, token: int, logit: float) -> float:
        """Return the logit that the chain's penalties make this one of."""
        s = self._sampling
        logit += s.presence_penalty
        if s.frequency_penalty:
            logit += s.frequency_penalty * self._penalized.count(token)
        return logit * s.repeat_penalty if logit > 0 else logit / s.repeat_penalty

    def close(self) -> None:
        """Free the chain."""
        if self.chain:
            C.llama_sampler_free(self.chain)
            self.chain = None


@contextmanager
def _changed(logits: Any, changed: Mapping[int, float]) -> Iterator[None]:
    """Let some tokens have other logits for a while: few, so this costs microseconds."""
    before = {token: logits[token] for token in changed}
    for token, logit in changed.items():
        logits[token] = logit
    try:
        yield
    finally:
        for token, logit in before.items():
            logits[token] = logit


def _has_penalties(s: Sampling) -> bool:
    unchanged = (s.repeat_penalty, s.frequency_penalty, s.presence_penalty) == (1, 0, 0)
    return s.repeat_last_n > 0 and not unchanged


def _chain(model: Model, s: Sampling, seed: int) -> Any:
    """top_k first: every later sampler then looks at k tokens instead of the whole vocabulary."""
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    stages = []
    if s.top_k:
        stages.append(C.llama_sampler_init_top_k(s.top_k))
    if _has_penalties(s):
        stages.append(
            C.llama_sampler_init_penalties(
                model.n_vocab,
                s.repeat_last_n,
                s.repeat_penalty,
                s.frequency_penalty,
                s.presence_penalty,
            )
        )
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
