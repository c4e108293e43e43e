"""What `doctor` makes of its report: which fact is fine, worth knowing or to be mended.

Owns the judgement and its words. It knows the report's keys, and no machine or model.
"""

from collections.abc import Iterator
from typing import Any

from npc_engine.cpu import BUSY
from npc_engine.llama.selftest import ADVICE, Answer

__all__ = ["judged"]

TOO_BUSY = 0.5  # other work per core beyond which figures say little

Check = tuple[str, str]  # mark, text


def judged(report: dict[str, Any]) -> Iterator[Check]:
    """Yield (mark, text) of each check: `ok`, `!` for worth knowing, `x` for to be mended."""
    yield from _check_library(report["library"], report["threads"])
    yield from _check_features(report["computer"]["features"], report["library"]["features"])
    if report["model"]:
        yield from _check_model(report["model"], report["computer"])
    if (report["computer"]["busy"] or 0) > TOO_BUSY:
        yield "!", "Other programs keep this machine busy: the figures are lower than they can be."


def _check_library(lib: dict[str, Any], n_threads: int) -> Iterator[Check]:
    if lib["openmp"]:
        yield "ok", f"Built with OpenMP: threads wait without spinning. Auto begins at {n_threads}."
    else:
        yield (
            "!",
            "Built without OpenMP: waiting threads would take the game's cores, so auto takes "
            "1 thread. A build with OpenMP (`make setup`) can use more.",
        )
    if lib["extra_bufts_work"] is False:
        yield "x", f"{Answer(**lib['self_test']).slow} {ADVICE}"
    elif lib["extra_bufts_work"] is None:
        yield "!", "AMX code is not tested yet: give --model."
    elif lib["amx"]:
        yield "ok", "AMX code tested: it works on this CPU."
    if lib["advice"]:
        yield "!", lib["advice"]


def _check_features(cpu: list[str] | None, build: list[str]) -> Iterator[Check]:
    # AMX is switched off on purpose where the compiler gets it wrong; the build's advice tells.
    unused = [f for f in cpu or () if f not in build and f != "amx_int8"]
    if unused:
        yield (
            "!",
            f"The CPU has {', '.join(unused)}, which this build does not use: build it on this "
            "machine (`make setup`) for more speed.",
        )
    elif cpu:
        yield "ok", "The build uses this CPU's vector instructions."


def _check_model(model: dict[str, Any], computer: dict[str, Any]) -> Iterator[Check]:
    if model["template_notice"]:
        yield "!", model["template_notice"]
    else:
        yield "ok", "The model's own chat template is used."
    advice = model["advice"]
    if advice["suits"]:
        yield "ok", f"{model['quantization']}: {advice['reason']}"
    else:
        *first, last = advice["faster"]
        faster = f"{', '.join(first)} or {last}" if first else last
        yield "!", f"A {faster} file of this model would be faster here. {advice['reason']}"
    yield _check_ram(model["ram"], computer["ram_total"])
    if any((row["busy"] or 0) > BUSY for row in model["kv"]):
        yield (
            "!",
            "The KV cache was measured beside busy programs: the next engine that starts on a "
            "quiet machine measures it again.",
        )


def _check_ram(ram: dict[str, int], total: int) -> Check:
    """The game needs the other half."""
    one, eight = ram["1"], ram["8"]
    if one > total / 2:
        return "x", "The model takes more than half of this machine's RAM: use a smaller one."
    if eight > total / 2:
        return "!", "8 characters take more than half of the RAM: use fewer --slots."
    return "ok", "The model and 8 characters leave half of the RAM or more to the game."
