"""`npc-engine bench save`: what a save takes, what it spares, and whether anybody notices.

Owns the command and which parts are measured. `parts` measures them,
`figures` says what they come to, `report` how it is shown.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from npc_engine.bench.crowd.command import quiet
from npc_engine.bench.save.figures import Measured
from npc_engine.bench.save.parts import PARTS, Setup
from npc_engine.bench.save.report import as_json, as_markdown, as_tables, figure, passed, verdicts
from npc_engine.bench.shared import report
from npc_engine.config import KV_TYPES
from npc_engine.errors import ConfigError, NpcError
from npc_engine.llama.kv_layout import choose_layout
from npc_engine.llama.model import Layout, Model
from npc_engine.llama.selftest import self_test
from npc_engine.loading import n_auto_threads

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "what a save takes: bytes, time, restoring beside reading again, and who speaks meanwhile"
ABOUT = """\
Save characters with a long past and load them again, and measure two things:

  trips   one character there and back, for each KV type and number of tokens: bytes per token; the
          time to copy it out, encode, write and read it; and from the load to the moment when it
          may speak: with its KV cache, and read again from its tokens
  beside  20 characters are saved while 4 of them speak: every step of theirs, with and without

It passes when a character of 1,000 tokens is restored 20 times faster than it is read again, and
when a save adds at most one step's time to any line of those who speak. What is not measured is not
judged. Exit status: 0 it passes, 1 it does not, 2 it cannot start. Interrupted, it keeps what was
measured so far.

The engine saves each character with its KV cache here, whatever --save-kv would say. Files go into
a temporary folder: --folder names another disk. By default it takes 5-10 minutes with a model of
135 million parameters on one slow core: --rounds 2 --depths 1000 makes it short. On a machine that
is busy with other things the ratios still mean something, and the times little.
"""
EXAMPLES = """\
examples:
  npc-engine bench save --model q4.gguf
  npc-engine bench save --model q4.gguf --parts trips --kv-types q8_0 --depths 500,4000
  npc-engine bench save --model q4.gguf --parts beside --characters 10 --out beside.json
"""
LIMITS = {
    "rounds": (1, 1000),
    "characters": (1, 64),
    "speakers": (1, 64),
    "depth": (256, 1 << 20),
    "steps": (2, 100),
    "threads": (1, 256),
}
DEFAULT_KV_TYPES = ("f16", "q8_0")
LEAST_DEPTH, MOST_DEPTH = LIMITS["depth"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its flags."""
    add = parser.add_argument
    add("--model", metavar="FILE", required=True, help="a GGUF instruct model")
    parts = ",".join(PARTS)
    add("--parts", metavar="A,B,..", default=parts, help=f"which (default: {parts})")
    add(
        "--kv-types",
        metavar="A,B",
        help="of trips (default: f16 and q8_0, as far as the model takes them)",
    )
    add(
        "--depths",
        metavar="N,...",
        default="300,1000,2000",
        help="tokens of the one character (default: 300,1000,2000)",
    )
    add("--rounds", metavar="N", type=int, default=5, help="turns of each (default: 5)")
    add("--characters", metavar="N", type=int, default=20, help="saved beside (default: 20)")
    add("--speakers", metavar="N", type=int, default=4, help="of them, who speak (default: 4)")
    add("--depth", metavar="N", type=int, default=1000, help="tokens of each (default: 1000)")
    add(
        "--steps",
        metavar="N",
        type=int,
        default=60,
        help="steps without a save, before it and behind it (default: 60)",
    )
    add("--threads", metavar="N", type=int, help="CPU threads (default: physical cores less one)")
    add("--folder", metavar="DIR", help="where to save, for the time (default: a temporary folder)")
    add(
        "--out",
        metavar="FILE.json",
        default="save.json",
        help="the report; FILE.md and the plot FILE.png stand beside it (default: save.json)",
    )
    add("--no-plot", action="store_true", help="write no plot")


def run(args: argparse.Namespace) -> int:
    """Measure; print the tables, write report and plot. Raises NpcError."""
    parts, kv_types, depths = _parts(args.parts), _kv_types(args.kv_types), _depths(args.depths)
    _check(args)
    with quiet(), _folder(args.folder) as folder:
        model = Model(args.model, extra_bufts=self_test(Path(args.model)).works)
        try:
            setup = _setup(args, model, kv_types, depths, Path(folder))
            facts = _facts(args, setup)
            found = _measure(parts, setup)
        finally:
            model.close()
    whole = as_json(facts, found)
    _write(args, whole)
    return 0 if passed(whole) else 1


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PARTS:
            raise ConfigError(f"--parts has {name!r}.", f"There are: {', '.join(PARTS)}.")
    return [name for name in PARTS if name in names]


def _kv_types(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    known = [name for name in KV_TYPES if name != "auto"]
    for name in names:
        if name not in known:
            raise ConfigError(f"--kv-types has {name!r}.", f"There are: {', '.join(known)}.")
    return list(dict.fromkeys(names))


def _depths(text: str) -> tuple[int, ...]:
    try:
        depths = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--depths is {text!r}.", "Give numbers by comma: 300,1000.") from None
    for n in depths:
        if not LEAST_DEPTH <= n <= MOST_DEPTH:
            raise ConfigError(
                f"--depths has {n}.", f"Each must be from {LEAST_DEPTH} to {MOST_DEPTH:,}."
            )
    return tuple(sorted(set(depths)))


def _check(args: argparse.Namespace) -> None:
    for name, (least, most) in LIMITS.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise ConfigError(f"--{name} is {value}.", f"It must be from {least} to {most:,}.")
    if args.speakers > args.characters:
        raise ConfigError(
            f"--speakers is {args.speakers}, --characters {args.characters}.",
            "Give no more speakers than characters.",
        )
    if not args.no_plot:
        report.need_plots()


def _folder(parent: str | None) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="npc-engine-bench-", dir=parent)
    except OSError as error:
        raise ConfigError(
            f"No folder can be made for the saves in {parent!r}: {error.strerror}.",
            "Name a folder with --folder that may be written to.",
        ) from None


def _setup(
    args: argparse.Namespace,
    model: Model,
    kv_types: list[str] | None,
    depths: tuple[int, ...],
    folder: Path,
) -> Setup:
    n_threads = args.threads or n_auto_threads()
    return Setup(
        model=model,
        layouts=_layouts(model, kv_types, n_threads),
        layout=choose_layout(model, "auto", "auto", n_threads),
        n_threads=n_threads,
        folder=folder,
        depths=depths,
        n_rounds=args.rounds,
        n_characters=args.characters,
        n_speakers=args.speakers,
        depth=args.depth,
        n_quiet=args.steps,
    )


def _layouts(model: Model, kv_types: list[str] | None, n_threads: int) -> dict[str, Layout]:
    """The layout for each KV type; of the default ones, those that the model takes."""
    layouts = {}
    for kind in kv_types or DEFAULT_KV_TYPES:
        try:
            layouts[kind] = choose_layout(model, kind, "auto", n_threads)
        except ConfigError:
            if kv_types is not None:
                raise
    return layouts


def _measure(parts: list[str], setup: Setup) -> Measured:
    found = Measured()
    total = sum(PARTS[name].n_units(setup) for name in parts)
    n_done = 0
    try:
        with report.progress(total, "save") as show:
            for name in parts:
                for now in PARTS[name].measure(setup, found):
                    show(n_done, now)
                    n_done += 1
            show(n_done, "done")
    except KeyboardInterrupt:
        _cut_off(found, "Interrupted")
    except NpcError as error:
        if not found.has_any:
            raise
        _cut_off(found, str(error))
    return found


def _cut_off(found: Measured, why: str) -> None:
    found.interrupted = True
    if sys.stderr is not None:
        sys.stderr.write(f"{why.rstrip('.')}: the report has what was measured so far.\n")


def _facts(args: argparse.Namespace, setup: Setup) -> dict[str, Any]:
    return {
        "command": _command(args),
        "model": setup.model.name,
        "n_threads": setup.n_threads,
        "layout": str(setup.layout),
        "layouts": {kind: str(layout) for kind, layout in setup.layouts.items()},
    }


def _command(args: argparse.Namespace) -> str:
    """The command that was given, with the name of the model's file alone."""
    words = ["npc-engine", "bench", "save", "--model", Path(args.model).name]
    for flag in ("parts", "kv_types", "depths", *LIMITS):
        if (value := getattr(args, flag)) is not None:
            words += ["--" + flag.replace("_", "-"), str(value)]
    return " ".join(words)


def _write(args: argparse.Namespace, whole: dict[str, Any]) -> None:
    out, picture = Path(args.out), Path(args.out).with_suffix(".png")
    has_plot = not args.no_plot and bool(whole["characters"] or whole["crowd"])
    report.write_json(out, whole)
    if sys.stdout is not None:
        sys.stdout.write(as_tables(whole) + "\n" + verdicts(whole))
    report.write_text(out.with_suffix(".md"), as_markdown(whole, picture.name if has_plot else ""))
    if has_plot:
        report.save_figure(figure(whole), picture)
