"""npc-engine COMMAND: what a person at a terminal does.

Begin with `commands`. Its `main` is what is installed: the room hands it out.
"""

from npc_engine.cli.commands import main

__all__ = ["main"]
