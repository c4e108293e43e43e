"""How a model turns positions into angles (RoPE), and what follows from it.

Owns how many positions there are, and whether cached keys can be moved to other positions. Pure
arithmetic over facts of the GGUF; it knows no llama.cpp.

A key is cached rotated by its position, so it can be moved by rotating it further, the K-shift of
llama.cpp (llama-kv-cache.cpp, build_rope_shift). That is exact where a rotation is all there is:
plain RoPE, linear position interpolation (arXiv 2306.15595), llama-3's frequency factors. YaRN
(arXiv 2309.00071) and longrope also scale the key, and a shift scales it again; and M-RoPE gives
a token several positions.
"""

from dataclasses import dataclass

from npc_engine.errors import ConfigError

__all__ = ["UNBOUNDED", "Rope", "RopeFacts", "resolve"]

UNBOUNDED = 1 << 30
"""Positions of a recurrent state, which has none: llama.cpp only counts them."""

_ROTATIONS = (0, 2)  # llama.h: LLAMA_ROPE_TYPE_NORM, LLAMA_ROPE_TYPE_NEOX


@dataclass(frozen=True)
class RopeFacts:
    """What a GGUF says. `type`: of llama.h's enum llama_rope_type. `factor`: of its stretching.

    `n_ctx_train`, `n_ctx_orig`: positions with the GGUF's own scaling, and without any.
    `attn_factor`: what each key is scaled by (Phi-3's longrope is told by it alone).
    """

    type: int
    scaling: str
    factor: float
    n_ctx_train: int
    n_ctx_orig: int
    attn_factor: float = 1.0


@dataclass(frozen=True)
class Rope:
    """The scaling in use. `freq_scale`: by what positions are multiplied. `n_pos`: how many."""

    scaling: str
    freq_scale: float
    n_pos: int
    is_own: bool = True
    rotates_only: bool = True

    def __str__(self) -> str:
        if self.n_pos == UNBOUNDED:
            return "no positions"
        if self.scaling == "none":
            return f"RoPE without scaling, {self.n_pos:,} positions"
        return f"RoPE scaling {self.scaling} x {1 / self.freq_scale:g}, {self.n_pos:,} positions"


def resolve(facts: RopeFacts, scaling: str, freq_scale: float | None, window: int) -> Rope:
    """Return the Rope for `--rope-scaling` and `--rope-freq-scale`.

    `window`: tokens that must fit, for a scale that is not given. Raises ConfigError for what this
    model cannot do.
    """
    own = facts.scaling or "none"
    if (scaling in ("auto", own) and freq_scale is None) or (own == "none" and freq_scale == 1):
        return Rope(own, 1 / facts.factor, facts.n_ctx_train, True, _rotates_only(facts, own))
    if facts.type not in (*_ROTATIONS, 8, 40):
        raise ConfigError(
            "This model has no rotary positions: there is nothing to scale.",
            "Leave --rope-scaling and --rope-freq-scale out.",
        )
    if scaling == "auto":
        scaling = facts.scaling if facts.scaling in ("linear", "yarn") else "linear"
    if scaling == "none":
        if freq_scale not in (None, 1.0):
            raise ConfigError(
                f"--rope-freq-scale is {freq_scale:g}, with --rope-scaling none.",
                "Give --rope-scaling linear, or leave the scale out.",
            )
        freq_scale = 1.0
    elif freq_scale is None:
        freq_scale = min(1.0, facts.n_ctx_orig / window)
    n_pos = int(facts.n_ctx_orig / freq_scale + 0.5)
    return Rope(scaling, freq_scale, n_pos, False, _rotates_only(facts, scaling))


def _rotates_only(facts: RopeFacts, scaling: str) -> bool:
    scales = scaling not in ("none", "linear") or facts.attn_factor != 1.0
    return facts.type in _ROTATIONS and not scales
