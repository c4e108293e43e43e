"""A machine, a llama.cpp build and a model examined: the report of `doctor`, in plain JSON types.

Owns what is found out and in which order. `machine` and `model_trial` find the facts, `checks`
judges them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from npc_engine.cli.doctor.checks import judged
from npc_engine.cli.doctor.model_trial import try_model
from npc_engine.cli.doctor.quantization import advise
from npc_engine.cli.doctor.requantize import try_types
from npc_engine.llama.machine import computer, library
from npc_engine.llama.model import Model
from npc_engine.llama.model_file import fitted
from npc_engine.llama.selftest import Answer, last_answer, self_test, uses_amx
from npc_engine.loading import n_auto_threads

__all__ = ["examine"]

NEAR_LOSSLESS = "Q8_0"  # what it is made of is kept, so it is always worth a try


def examine(
    model_path: Path | None = None,
    say: Callable[[str], None] = lambda _text: None,
    retest: bool = False,
) -> dict[str, Any]:
    """Return the report, all of plain JSON types; `say` hears what takes long.

    `retest`: the self-test is run again, whatever is known. Keys: computer, library, threads,
    model (None without a path), checks, healthy. Raises ModelError for a model that cannot be used.
    """
    model = None
    busy = computer()["busy"]  # before the measurement adds to it
    if model_path is not None:
        if uses_amx() and (retest or last_answer() is None):
            say("Testing this llama.cpp build ...")
        tested = self_test(model_path, fresh=retest)
        say(f"Loading and measuring {model_path.name} ...")
        model = _examine_model(model_path, tested.works)
    report: dict[str, Any] = {
        "computer": {**computer(), "busy": busy},
        "library": library(),
        "threads": n_auto_threads(),
        "model": model,
    }
    if model and model_path:
        report["library"] = {**report["library"], **_tested(tested)}
        model["advice"] = _advice(model, report["library"])
        if not model["advice"]["suits"]:
            model["advice"] = _tried(model_path, model["advice"], tested.works, say)
    checks = [{"mark": mark, "text": text} for mark, text in judged(report)]
    return {**report, "checks": checks, "healthy": all(c["mark"] != "x" for c in checks)}


def _tested(answer: Answer) -> dict[str, Any]:
    """What the model was tried with, also where that is not kept."""
    return {
        "extra_bufts_work": answer.works,
        "self_test": msgspec.to_builtins(answer) if answer.at or not answer.works else None,
    }


def _examine_model(path: Path, extra_bufts: bool) -> dict[str, Any]:
    model = Model(path, extra_bufts=extra_bufts)
    try:
        return try_model(model, n_auto_threads())
    finally:
        model.close()


def _advice(model: dict[str, Any], lib: dict[str, Any]) -> dict[str, Any]:
    """Which quantization would be faster: a rule and its reason, no figures."""
    works = lib["extra_bufts_work"] is not False
    vectors = {"avx2", "neon"} & set(lib["features"])
    given = advise(
        model["quantization"],
        amx=lib["amx"] and works,
        repack=bool(lib["repack"] and works and vectors),
    )
    return {
        "suits": given.suits,
        "faster": list(given.faster),
        "tried": False,
        "reason": given.reason,
    }


def _tried(
    path: Path, advice: dict[str, Any], extra_bufts: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """What becomes of the advice when the types are made from a small file, and tried."""
    names = list(dict.fromkeys((*advice["faster"], NEAR_LOSSLESS)))
    verdict = try_types(path, names, n_auto_threads(), extra_bufts=extra_bufts, say=say)
    if verdict is None:
        return advice
    reason, made = verdict.reason, fitted(path)
    is_there = verdict.best is not None and made.is_file()
    if verdict.best:
        more = f"It is {made.name!r}." if is_there else "`python models/fit.py FILE` makes it."
        reason = f"{reason} {more}"
    return {
        "suits": verdict.best is None or is_there,
        "faster": [verdict.best] if verdict.best else [],
        "tried": True,
        "reason": reason,
    }
