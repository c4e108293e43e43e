"""`npc-engine chat`: a talk with a character. Owns its flags; `start` chooses, `loop` goes on."""

import argparse

from npc_engine.cli import flags
from npc_engine.cli.output import need_rich

__all__ = ["ABOUT", "EXAMPLES", "NOT_PASSED_ON", "SUMMARY", "TALK_SETTINGS", "add_arguments", "run"]

SUMMARY = "talk in the terminal"
ABOUT = """\
Talk with a character in the terminal. With --model an engine is started for the talk; without
it, ENDPOINT is an engine that runs already, with settings of its own. /help lists what you can
do; Ctrl-C cuts the character short, Ctrl-D leaves. Below each reply stand its speed in tokens
per second (tok/s), the wait for its first word in milliseconds (ms), and how many tokens of the
window the character has filled.
"""
EXAMPLES = """\
examples:
  npc-engine chat --model q4.gguf --card mara
  npc-engine chat --model q4.gguf --card my-character.png --window 4096
  npc-engine chat tcp://127.0.0.1:5757
"""
TALK_SETTINGS = (
    "model",
    "window",
    "kv_type",
    "flash_attn",
    "rope_scaling",
    "rope_freq_scale",
    "n_gpu_layers",
    "threads",
    "nice",
    "max_tokens",
    "world",
    "saves",
    "log_level",
)
NOT_PASSED_ON = ("model", "token", "log_level")  # used here, and not by the engine of a talk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which engine, who talks, and the settings of an engine of its own."""
    parser.add_argument(
        "endpoint",
        nargs="?",
        metavar="ENDPOINT",
        help="engine to connect to, if no --model is given (default: tcp://127.0.0.1:5757)",
    )
    parser.add_argument(
        "--card", metavar="FILE|NAME", help="who talks: a card (.toml, .json, .png) or an example"
    )
    parser.add_argument(
        "--save-slot", metavar="SLOT", default="talk", help="what /save uses (default: talk)"
    )
    flags.add_settings(parser, (*TALK_SETTINGS, "token"))


def run(args: argparse.Namespace) -> int:
    """Talk until the player leaves; return the exit status. Raises NpcError."""
    need_rich()
    from npc_engine.cli.chat import start

    settings = flags.settings_from(args)
    own = flags.as_flags(flags.given(args), leave_out=NOT_PASSED_ON)
    return start.chat(settings, own, args.endpoint, args.card, args.save_slot)
