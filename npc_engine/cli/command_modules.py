"""What a command is: a module with SUMMARY, ABOUT, EXAMPLES, `add_arguments` and `run`.

Owns how such modules are found, and what parser they get. A command imports what it works with
when it runs, so that the list of all of them costs nothing. It knows none of them.
"""

import argparse
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

__all__ = ["Command", "add_commands", "load", "parser_of"]


class Command(Protocol):
    """What a command's module has. SUMMARY is its row in the list: with none it is not listed."""

    SUMMARY: str
    ABOUT: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what it takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; return the exit status.

        Raises NpcError, and argparse.ArgumentError for arguments that do not go together.
        """


def load(module: str) -> Command:
    """Return the command that a module of this package is, by its name within it."""
    return cast("Command", import_module(f"npc_engine.{module}"))


def parser_of(name: str, command: Command) -> argparse.ArgumentParser:
    """Return the parser of `npc-engine NAME`."""
    parser = argparse.ArgumentParser(prog=f"npc-engine {name}", **_texts(command))
    command.add_arguments(parser)
    return parser


def add_commands(parser: argparse.ArgumentParser, title: str, modules: Mapping[str, str]) -> None:
    """Let a command have commands of its own; `args.run` is that of the chosen one."""
    commands = parser.add_subparsers(title=title, metavar="WHAT", required=True)
    for name, module in modules.items():
        command = load(module)
        one = commands.add_parser(name, help=command.SUMMARY, **_texts(command))
        command.add_arguments(one)
        one.set_defaults(run=command.run)


def _texts(command: Command) -> dict[str, Any]:
    return {
        "description": command.ABOUT,
        "epilog": command.EXAMPLES,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
