"""`npc-engine bench` and `npc-engine tune`: long measurements of a model on this machine.

Owns which there are. Each is a module of its own with SUMMARY, ABOUT, EXAMPLES, `add_arguments`
and `run`, imported when it is asked for.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

__all__ = ["bench", "tune"]


class Measurement(Protocol):
    """What a measurement's module has."""

    SUMMARY: str
    ABOUT: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add its flags."""

    def run(self, args: argparse.Namespace) -> int:
        """Measure; return the exit status. Raises NpcError."""


Find = Callable[[], Measurement]


def bench(argv: Sequence[str]) -> int:
    """Run `npc-engine bench ...`; return its exit status. Raises NpcError."""
    about = "Measure the engine on this machine, beside what else there is."
    return _run("bench", about, BENCH, argv)


def tune(argv: Sequence[str]) -> int:
    """Run `npc-engine tune ...`; return its exit status. Raises NpcError."""
    return _run("tune", "Find out what suits a model.", TUNE, argv)


def _soak() -> Measurement:
    from npc_engine.bench.soak import command as bench_soak

    return bench_soak


def _talk() -> Measurement:
    from npc_engine.bench.talk import command as bench_talk

    return bench_talk


def _crowd() -> Measurement:
    from npc_engine.bench.crowd import command as bench_crowd

    return bench_crowd


def _save() -> Measurement:
    from npc_engine.bench.save import command as bench_save

    return bench_save


def _stream() -> Measurement:
    import npc_engine.bench.stream.command as stream

    return stream


def _sinks() -> Measurement:
    import npc_engine.bench.stream.sinks as sinks

    return sinks


BENCH: Mapping[str, Find] = {
    "stream": _stream,
    "talk": _talk,
    "crowd": _crowd,
    "save": _save,
    "soak": _soak,
}
TUNE: Mapping[str, Find] = {"sinks": _sinks}


def _run(command: str, about: str, kinds: Mapping[str, Find], argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"npc-engine {command}", description=about, allow_abbrev=False
    )
    parsers = parser.add_subparsers(title="measurements", metavar="WHAT", required=True)
    for name, find in kinds.items():
        kind = find()
        one = parsers.add_parser(
            name,
            help=kind.SUMMARY,
            description=kind.ABOUT,
            epilog=kind.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        kind.add_arguments(one)
        one.set_defaults(run=kind.run)
    args = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)
