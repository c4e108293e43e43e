"""Draw docs/demo.svg, the picture in the README: a real talk, as the terminal shows it.

usage: .venv/bin/python tools/record_demo.py MODEL.gguf [docs/demo.svg]

Whatever the model says is what the picture shows. Needs the extra [chat].
"""

import sys
from pathlib import Path

from recording import console, recorded, say, write_svg

from npc_engine.cli.chat.script import await_reading
from npc_engine.cli.chat.talk import Talk

__all__ = ["main"]

WIDTH = 92


def play(talk: Talk) -> None:
    """Meet a character, let it notice something, save, and meet another."""
    talk.meet("mara")
    await_reading(talk.engine)
    say(talk, "Good evening. Do you have a room for the night?")
    talk.screen.player("/event A wet stranger stumbles in and bars the door behind him.")
    talk.event("A wet stranger stumbles in and bars the door behind him.")
    say(talk, "Do you know that man?")
    talk.screen.player("/save")
    talk.save()


def main() -> None:
    """Record the talk and write the picture."""
    model = sys.argv[1]
    out = sys.argv[2] if len(sys.argv) > 2 else "docs/demo.svg"
    screen = console(WIDTH)
    with recorded(screen, model, "--max-tokens", "80") as talk:
        play(talk)
    write_svg(screen, f"npc-engine demo --model {Path(model).name}", out)


if __name__ == "__main__":
    main()
