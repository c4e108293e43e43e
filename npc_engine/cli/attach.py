"""What commands share that look at an engine which runs: how long it may take, and its token."""

import argparse
import os

from npc_engine.cli.flags import TOKEN_VARIABLE

__all__ = ["CONNECT_S", "add_token", "token_from"]

CONNECT_S = 3.0  # an engine that runs answers at once, unless it is amid a long step


def add_token(parser: argparse._ActionsContainer) -> None:
    """Add --token."""
    parser.add_argument("--token", metavar="TEXT", help="the engine's token")


def token_from(args: argparse.Namespace) -> str | None:
    """Return the token of a command line, else the environment's; None where there is none."""
    return args.token or os.environ.get(TOKEN_VARIABLE) or None
