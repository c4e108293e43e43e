"""`npc-engine selftest`: the child process that `llama.selftest` starts of a frozen engine."""

import argparse

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = ""  # for the engine itself: nobody has to know of it
ABOUT = "Try whether this llama.cpp build survives this CPU. `npc-engine doctor` tells of it."
EXAMPLES = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is handed on as it is: the name of a model may begin with a dash."""
    parser.prefix_chars = "\0"
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="MODEL")


def run(args: argparse.Namespace) -> int:
    """Return the exit status that tells the answer."""
    from npc_engine.llama.selftest import main

    return main(args.arguments)
