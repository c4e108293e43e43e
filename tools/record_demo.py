"""Draw docs/demo.svg, the picture in the README: a real talk, as the terminal shows it.

usage: .venv/bin/python tools/record_demo.py MODEL.gguf [docs/demo.svg]

Whatever the model says is what the picture shows. Needs the extra [chat].
"""

import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from npc_engine.chat import Talk
from npc_engine.demo import await_reading
from npc_engine.example_characters import example_card, example_names
from npc_engine.sidecar import Sidecar
from npc_engine.terminal import Screen

__all__ = ["main"]

WIDTH = 92


class Recorded(Screen):
    """A screen whose rows are kept, so none is ever rewritten."""

    @property
    def is_live(self) -> bool:
        """Never: a picture has no moving parts."""
        return False


def play(talk: Talk) -> None:
    """Meet a character, let it notice something, save, and meet another."""
    talk.meet("mara")
    await_reading(talk.engine)
    _say(talk, "Good evening. Do you have a room for the night?")
    talk.screen.player("/event A wet stranger stumbles in and bars the door behind him.")
    talk.event("A wet stranger stumbles in and bars the door behind him.")
    _say(talk, "Do you know that man?")
    talk.screen.player("/save")
    talk.save()


def _say(talk: Talk, text: str) -> None:
    talk.screen.player(text)
    talk.say(text)


def main() -> None:
    """Record the talk and write the picture."""
    model = sys.argv[1]
    out = sys.argv[2] if len(sys.argv) > 2 else "docs/demo.svg"
    console = Console(
        record=True,
        width=WIDTH,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
        emoji=False,
    )
    cast = {name: example_card(name) for name in example_names()}
    with (
        tempfile.TemporaryDirectory() as saves,
        Sidecar(model, "--saves", saves, "--max-tokens", "80") as sidecar,
        sidecar.client() as client,
    ):
        talk = Talk(client, Recorded(console), cast)
        play(talk)
    svg = console.export_svg(title=f"npc-engine demo --model {Path(model).name}")
    # The fonts would come from the net; every system has a monospace one.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path(out).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
