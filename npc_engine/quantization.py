"""What a GGUF file's quantization is called, and which ones a CPU build reads fast.

Owns those names and rules. The rules come from measured builds and from which types ggml repacks
(ggml/src/ggml-cpu/repack.cpp, amx/). It measures nothing: `doctor` shows the figures beside it.
"""

from dataclasses import dataclass

__all__ = ["Advice", "advise", "name_of"]

# llama.h: enum llama_ftype, from 0 on; - was removed
_FILE_TYPES = """
    F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M
    Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M
    BF16 - - - TQ1_0 TQ2_0 MXFP4 NVFP4
"""
_NAMES = _FILE_TYPES.split()
_PLAIN = ("F32", "F16", "BF16")


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
