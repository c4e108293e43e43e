"""The command line `npc-engine`: it composes everything, and owns none of it.

Owns which commands there are, exit statuses and how an error looks. Exit statuses: 0 done,
1 failed while running, 2 cannot start, 130 interrupted.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence

from npc_engine.cli.command_modules import load, parser_of
from npc_engine.errors import NpcError

__all__ = ["COMMANDS", "main", "run"]

log = logging.getLogger("npc_engine")

ABOUT = """\
Characters for games: a small language model on the player's own machine, no cloud.
Each command explains itself: npc-engine serve --help
"""
COMMANDS: Mapping[str, str] = {
    "serve": "cli.serve",
    "chat": "cli.chat.command",
    "demo": "cli.chat.demo",
    "doctor": "cli.doctor.command",
    "saves": "cli.saves.command",
    "inspect": "cli.inspect.command",
    "top": "cli.top.command",
    "bench": "cli.bench",
    "tune": "cli.tune",
    "selftest": "cli.selftest",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Only argparse exits by itself."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if not argv or argv[0] not in COMMANDS:
            parser = _list_of_commands()
            parser.parse_args(argv)  # --help, --version or an error: it ends here
            parser.error("the command comes first")
        return run(argv[0], argv[1:])
    except NpcError as error:
        return _failed(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough: npc-engine doctor | head
        from npc_engine.server.serve import drop_stdout

        drop_stdout()
        return 1
    except Exception:
        log.exception("npc-engine failed; this is a bug in it")
        return 1


def run(name: str, argv: Sequence[str]) -> int:
    """Run a command and return its exit status. Raises NpcError."""
    command = load(COMMANDS[name])
    parser = parser_of(name, command)
    args = parser.parse_args(argv)
    try:
        return command.run(args)
    except argparse.ArgumentError as error:
        parser.error(str(error))
    except NpcError as error:
        if getattr(args, "log_level", None) in ("trace", "debug"):  # they asked for the traceback
            log.error("npc-engine cannot go on", exc_info=error)
        raise


def _list_of_commands() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="npc-engine",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"npc-engine {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        if summary := load(module).SUMMARY:
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def _failed(error: NpcError) -> int:
    """Say what went wrong in one row."""
    if sys.stderr is not None:
        print(f"npc-engine: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("npc-engine-llama")
    except PackageNotFoundError:  # a source checkout, or a frozen build
        return "(not installed as a package)"
