"""Draw docs/window.svg, the picture in docs/window.md: a window after a real talk.

usage: .venv/bin/python tools/record_window.py MODEL.gguf [docs/window.svg]

Whatever the model says is what the picture shows. Needs the extra [chat].
"""

import sys

from recording import console, recorded, write_svg

from npc_engine.cli.chat.script import await_reading
from npc_engine.cli.chat.talk import Talk

__all__ = ["main"]

WIDTH = 92
FLAGS = ("--window", "900", "--max-tokens", "40")
SCRIPT = (
    "Good evening. Do you have a room for the night?",
    "What is in the soup tonight?",
    "Who is Bram?",
    ("The ferry bell rings twice out in the rain.", 0.6),
    "Did you hear that?",
    "Has it rung before?",
    "Do you have a brother?",
    ("A wet stranger comes in and bars the door behind him.", 0.9),
    "Do you know that man?",
    "What does he want here?",
    "May I sit with him?",
    "I will pay for his soup.",
    "Where does the path by the mill lead?",
    ("The cat jumps onto the counter.", 0.1),
    "What is the name of the cat?",
    "Is there bread left?",
    "How long have you kept this inn?",
    "And before that?",
    "Wake me before the ferry leaves.",
    ("The lantern outside goes out.", 0.7),
)


def play(talk: Talk) -> None:
    """Talk unseen for longer than the window is, then look at it."""
    talk.engine.spawn("mara", talk.cast["mara"])
    talk.engine.pin("mara", "You promised the player the room over the kitchen.")
    for step in SCRIPT:
        if isinstance(step, str):
            talk.engine.say("mara", step).wait()
        else:
            talk.engine.event(step[0], importance=step[1])
    await_reading(talk.engine)
    talk.meet("mara")
    talk.window()


def main() -> None:
    """Record the window and write the picture."""
    model = sys.argv[1]
    out = sys.argv[2] if len(sys.argv) > 2 else "docs/window.svg"
    screen = console(WIDTH)
    with recorded(screen, model, *FLAGS) as talk:
        play(talk)
    write_svg(screen, "npc-engine inspect --live tcp://127.0.0.1:5757", out)


if __name__ == "__main__":
    main()
