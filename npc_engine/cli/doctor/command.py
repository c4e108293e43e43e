"""`npc-engine doctor`: is this machine fit, is this model, and what would be faster?

Owns the judgement: which fact is fine (`ok`), worth knowing (`!`) or to be mended (`x`).
`machine` and `model_trial` find the facts, `text` shows them.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from npc_engine.cli.doctor.model_trial import try_model
from npc_engine.cli.doctor.quantization import advise
from npc_engine.cli.doctor.requantize import try_types
from npc_engine.cli.doctor.text import render
from npc_engine.cli.output import write
from npc_engine.cpu import BUSY
from npc_engine.errors import NpcError
from npc_engine.llama.machine import computer, library
from npc_engine.llama.model import Model
from npc_engine.llama.model_file import fitted
from npc_engine.llama.selftest import ADVICE, Answer, last_answer, self_test, uses_amx
from npc_engine.loading import n_auto_threads

__all__ = ["examine", "main"]

ABOUT = """\
Check this machine, this llama.cpp build and, with --model, a model: what they are, how fast they
are together, and what would be faster. Takes some seconds; half a minute, once, where another
quantization of a small model may be faster: it is made, timed and read with. A model's KV cache is
calibrated anew; all is kept in the user's cache folder (NPC_ENGINE_CACHE_DIR names another),
unless this machine is busy now and was quiet before. What was measured on a busy machine is
measured again by the first engine that starts on a quiet one. The self-test of AMX code is kept,
too, with its date and cause; --retest runs it again.
Exit status: 0 all is well, 1 something needs attention, 2 the model cannot be used.
"""
NEAR_LOSSLESS = "Q8_0"  # what it is made of is kept, so it is always worth a try
TOO_BUSY = 0.5  # other work per core beyond which figures say little

Check = tuple[str, str]  # mark, text


def main(argv: Sequence[str]) -> int:
    """Run the command; the report goes to stdout, progress and errors to stderr."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.retest and not args.model:
        parser.error("--retest needs --model: it is what the self-test runs.")
    try:
        report = examine(Path(args.model) if args.model else None, _say, retest=args.retest)
    except NpcError as e:
        _say(f"npc-engine: error: {' '.join(str(e).split())}")
        return 2
    text = json.dumps(report, indent=2) + "\n" if args.json else render(report)
    write(text, end="")
    return 0 if report["healthy"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="npc-engine doctor",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", metavar="FILE", help="the GGUF model to try")
    parser.add_argument(
        "--retest", action="store_true", help="run the AMX self-test again, whatever is known"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _say(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")


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
    checks = [{"mark": mark, "text": text} for mark, text in _checks(report)]
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


def _checks(report: dict[str, Any]) -> Iterator[Check]:
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
