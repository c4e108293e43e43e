"""`npc-engine doctor`: is this machine fit, is this model, and what would be faster?

Owns its flags and exit status. `examination` finds out, `text` shows it.
"""

import argparse
import json
import sys
from pathlib import Path

from npc_engine.cli.output import write

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "check this machine and a model"
ABOUT = """\
Check this machine, this llama.cpp build and, with --model, a model: what they are, how fast they
are together, and what would be faster. Takes some seconds; half a minute, once, where another
quantization of a small model may be faster: it is made, timed and read with. A model's KV cache is
calibrated anew; all is kept in the user's cache folder (NPC_ENGINE_CACHE_DIR names another),
unless this machine is busy now and was quiet before. What was measured on a busy machine is
measured again by the first engine that starts on a quiet one. The self-test of AMX code is kept,
too, with its date and cause; --retest runs it again.
Exit status: 0 all is well, 1 something needs attention, 2 the model cannot be used.
"""
EXAMPLES = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which model is tried, and how the report is shown."""
    parser.add_argument("--model", metavar="FILE", help="the GGUF model to try")
    parser.add_argument(
        "--retest", action="store_true", help="run the AMX self-test again, whatever is known"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the report to stdout and progress to stderr; return the exit status."""
    if args.retest and not args.model:
        raise argparse.ArgumentError(None, "--retest needs --model: it is what the self-test runs.")
    from npc_engine.cli.doctor.examination import examine
    from npc_engine.cli.doctor.text import render

    report = examine(Path(args.model) if args.model else None, _say, retest=args.retest)
    text = json.dumps(report, indent=2) + "\n" if args.json else render(report)
    write(text, end="")
    return 0 if report["healthy"] else 1


def _say(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")
