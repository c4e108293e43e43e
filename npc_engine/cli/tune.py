"""`npc-engine tune`: what suits a model, by long measurements. Owns which there are."""

import argparse

from npc_engine.cli.command_modules import add_commands

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "find out what suits a model"
ABOUT = "Find out what suits a model."
EXAMPLES = ""
MEASUREMENTS = {"sinks": "bench.stream.sinks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a command for each measurement."""
    add_commands(parser, "measurements", MEASUREMENTS)


def run(args: argparse.Namespace) -> int:
    """Measure; return the exit status. Raises NpcError."""
    return int(args.run(args))
