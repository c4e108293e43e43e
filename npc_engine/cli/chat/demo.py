"""`npc-engine demo`: our own characters. Owns its flags; `start` chooses, `script` plays alone."""

import argparse
import sys

from npc_engine.cli import flags
from npc_engine.cli.chat.command import NOT_PASSED_ON, TALK_SETTINGS
from npc_engine.cli.output import need_rich

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "meet our characters"
ABOUT = """\
Talk with our own characters in the terminal. Where no terminal is on stdin, it plays a talk of
six turns by itself, with an event, a save and a load (well under a minute), draws the
character's window, and ends with status 0 if all of that worked. Units as in chat: tokens per
second, ms, tokens of the window.
"""
EXAMPLES = """\
examples:
  npc-engine demo
  npc-engine demo --model q4.gguf
  npc-engine demo --model q4.gguf < /dev/null
"""
DEFAULTS = {  # in words; `start` chooses
    "model": "models/SmolLM2-135M-Instruct.Q4_1.gguf, which `make setup` fetches, or what it made "
    "of it for this CPU",
    "saves": "demo-saves in the user's data folder; a scripted talk keeps none",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of its engine."""
    flags.add_settings(parser, TALK_SETTINGS, DEFAULTS)


def run(args: argparse.Namespace) -> int:
    """Talk, or let the script play; return the exit status. Raises NpcError."""
    need_rich()
    from npc_engine.cli.chat import start

    settings = flags.settings_from(args)
    own = flags.as_flags(flags.given(args), leave_out=NOT_PASSED_ON)
    has_keyboard = sys.stdin is not None and sys.stdin.isatty()
    return start.demo(settings, own, scripted=not has_keyboard)
