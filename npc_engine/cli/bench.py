"""`npc-engine bench`: long measurements of the engine. Owns which there are."""

import argparse

from npc_engine.cli.command_modules import add_commands

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "measure the engine and a model: how they do over time"
ABOUT = "Measure the engine on this machine, beside what else there is."
EXAMPLES = ""
MEASUREMENTS = {
    "stream": "bench.stream.command",
    "talk": "bench.talk.command",
    "crowd": "bench.crowd.command",
    "save": "bench.save.command",
    "soak": "bench.soak.command",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a command for each measurement."""
    add_commands(parser, "measurements", MEASUREMENTS)


def run(args: argparse.Namespace) -> int:
    """Measure; return the exit status. Raises NpcError."""
    return int(args.run(args))
