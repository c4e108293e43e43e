"""Pictures of a real talk: a screen that is recorded, and its SVG.

Owns how a recording is set up and written. It knows no script: see record_demo and record_window.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from npc_engine.cards.examples import example_card, example_names
from npc_engine.cli.chat.talk import Talk
from npc_engine.cli.terminal import Screen
from npc_engine.client.sidecar import Sidecar

__all__ = ["recorded", "say", "write_svg"]


class Recorded(Screen):
    """A screen whose rows are kept, so none is ever rewritten."""

    @property
    def is_live(self) -> bool:
        """Never: a picture has no moving parts."""
        return False


def console(width: int) -> Console:
    """Return a console that records, with colours."""
    return Console(
        record=True,
        width=width,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
        emoji=False,
    )


@contextmanager
def recorded(to: Console, model: str, *flags: str) -> Iterator[Talk]:
    """Give a talk with the example characters, shown on a recording console."""
    cast = {name: example_card(name) for name in example_names()}
    with (
        tempfile.TemporaryDirectory() as saves,
        Sidecar(model, "--saves", saves, *flags) as sidecar,
        sidecar.client() as client,
    ):
        yield Talk(client, Recorded(to), cast)


def say(talk: Talk, text: str) -> None:
    """Say something, as a player who types it."""
    talk.screen.player(text)
    talk.say(text)


def write_svg(of: Console, title: str, out: str) -> None:
    """Write what was recorded."""
    svg = of.export_svg(title=title)
    # The fonts would come from the net; every system has a monospace one.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path(out).write_text(svg, encoding="utf-8")
