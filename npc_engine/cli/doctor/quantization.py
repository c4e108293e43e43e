"""What a GGUF file's quantization is called, and which ones a CPU build reads fast.

Owns those names and rules, and the verdict on types that were tried. The rules come from measured
builds and from which types ggml repacks (ggml/src/ggml-cpu/repack.cpp, amx/). It measures nothing:
`doctor` shows the figures beside it, `requantize` tries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Annotated

import msgspec

__all__ = [
    "Advice",
    "Figures",
    "Verdict",
    "advise",
    "is_clearly_faster",
    "judge",
    "name_of",
    "number_of",
]

# llama.h: enum llama_ftype, from 0 on; - was removed
_FILE_TYPES = """
    F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M
    Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M
    BF16 - - - TQ1_0 TQ2_0 MXFP4 NVFP4
"""
_NAMES = _FILE_TYPES.split()
_PLAIN = ("F32", "F16", "BF16")

CLEARLY = 1.1  # how many times faster the turn of a talk must be
WORSE = 0.01  # nats of a token, so a percent of perplexity, that count as worse
N_READ, N_SPOKEN = 30, 40  # tokens of a turn

_Speed = Annotated[float, msgspec.Meta(gt=0, lt=1e9)]
_Nats = Annotated[float, msgspec.Meta(ge=0, lt=100)]


class Figures(msgspec.Struct, frozen=True):
    """One type, tried: tokens a second, read and spoken, by one speaker.

    `nats`: the negative log likelihood of a token of a text; None where it was not read, since the
    type is no faster.
    """

    read_tps: _Speed
    speak_tps: _Speed
    nats: _Nats | None = None

    @property
    def turn_s(self) -> float:
        """Seconds that a turn of a talk takes."""
        return N_READ / self.read_tps + N_SPOKEN / self.speak_tps


@dataclass(frozen=True)
class Verdict:
    """`best`: the type that is clearly faster and no worse, or None. `reason`: the figures."""

    best: str | None
    reason: str


@dataclass(frozen=True)
class Advice:
    """`suits`: nothing is known to be faster. `faster`: quantizations that are. `reason`: why."""

    suits: bool
    faster: tuple[str, ...]
    reason: str


def name_of(file_type: str) -> str:
    """Return the name of a GGUF's `general.file_type`, such as `Q4_K_M`; "unknown" if it has none.

    It says what most tensors are; some are always kept finer.
    """
    if not file_type.isascii() or not file_type.isdigit():
        return "unknown"
    number = int(file_type[:9])
    name = _NAMES[number] if number < len(_NAMES) else "-"
    return f"file type {number}" if name == "-" else name


def number_of(name: str) -> int:
    """Return the `general.file_type` of a quantization."""
    return _NAMES.index(name)


def is_clearly_faster(other: Figures, own: Figures) -> bool:
    """Say whether a turn takes clearly less time with another type."""
    return other.turn_s * CLEARLY <= own.turn_s


def judge(own: str, figures: Mapping[str, Figures]) -> Verdict:
    """Say which of the types that were tried is better than a file's own, and what each came to."""
    base = figures[own]
    others = {name: f for name, f in figures.items() if name != own}
    good = [n for n, f in others.items() if is_clearly_faster(f, base) and not _is_worse(f, base)]
    best = min(good, key=lambda name: others[name].turn_s, default=None)
    told = "; ".join(f"{name} {_came_to(f, base)}" for name, f in others.items())
    if best:
        return Verdict(best, f"{best} made from it is clearly faster here and no worse: {told}.")
    if not told:
        return Verdict(None, "llama.cpp makes no other type of this file.")
    return Verdict(
        None, f"tried here, no type made from it is both clearly faster and no worse: {told}."
    )


def _is_worse(other: Figures, own: Figures) -> bool:
    return other.nats is None or own.nats is None or other.nats - own.nats > WORSE


def _came_to(other: Figures, own: Figures) -> str:
    took = f"{other.turn_s / own.turn_s:.2f} times as long for a turn"
    if other.nats is None or own.nats is None:
        return took
    return f"{took}, perplexity {exp(other.nats - own.nats) - 1:+.1%}"


def advise(quantization: str, *, amx: bool, repack: bool) -> Advice:
    """Say whether a quantization suits a CPU build, and which would be faster.

    `amx`: the build has AMX code that works here. `repack`: it rearranges weights for the CPU.
    """
    if not repack:
        return Advice(
            True, (), "This build rearranges no weights, so the smaller file is the faster one."
        )
    fast = ("Q4_0", "Q4_1", "Q8_0") if amx else ("Q4_0", "Q4_K_S", "Q4_K_M")
    if quantization in fast:
        return Advice(True, (), _why(amx))
    if quantization == "unknown" or quantization.startswith("file type"):
        return Advice(True, (), "The file does not say how it is quantized.")
    return Advice(False, fast, f"{_why(amx)} {_slow(quantization)}")


def _why(amx: bool) -> str:
    if amx:
        return "Q4_0, Q4_1 and Q8_0 run on this CPU's AMX units in this build."
    return "Q4_0 and Q4_K are rearranged at load for this CPU's vector instructions."


def _slow(quantization: str) -> str:
    if quantization in _PLAIN:
        return f"{quantization} weights are large, and memory speed limits every token."
    if quantization.startswith("IQ"):
        return f"{quantization} is looked up in tables, which is slow on a CPU."
    if quantization == "Q8_0":
        return "Q8_0 is twice as large as 4 bits, and memory speed limits every token."
    return f"{quantization} gets no such help."
