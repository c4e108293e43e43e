"""`npc-engine serve`: the engine that games connect to. Owns its flags; `server.serve` runs it."""

import argparse

from npc_engine.cli import flags

__all__ = ["ABOUT", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "run the engine"
ABOUT = """\
Run the engine for games to connect to. It loads one GGUF model, prints the line
READY {"endpoint": ..., "model": ..., "protocol": 1} on stdout once clients are served, and
logs to stderr. Ctrl-C or SIGTERM: open requests are answered, and it ends within 2 s.
"""
EXAMPLES = """\
examples:
  npc-engine serve --model q4.gguf
  npc-engine serve --model q4.gguf --bind tcp://127.0.0.1:0 --window 4096 --threads 4
  npc-engine serve --config engine.toml --log-level debug

Every flag is also a setting of the file of --config, by its name:
  model = "q4.gguf"
  window = 4096        # tokens
  step_ms = 30.0       # milliseconds
Flags win over the file. The token may also be in the environment: NPC_ENGINE_TOKEN.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --config, and a flag for every setting."""
    parser.add_argument("--config", metavar="FILE.toml", help="settings file; flags win over it")
    flags.add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until told to end; return the exit status. Raises NpcError."""
    from npc_engine.server.serve import serve

    return serve(flags.settings_from(args))
