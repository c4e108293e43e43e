"""A talk that plays itself: six turns, an event, a save, a load that undoes a turn, the window.

Owns the script and the check that the load restored what was saved. It plays through the same
`Talk` that a player uses; it knows no socket and no model.
"""

import time

from npc_engine.cli.chat.talk import Talk
from npc_engine.client.verbs import Verbs
from npc_engine.errors import SnapshotError

__all__ = ["await_reading", "play"]

READING_S = 60.0
LOOK_S = 0.05

BEFORE_EVENT = ("Good evening. Do you have a room for the night?", "What is in the soup?")
EVENT = "The ferry bell rings twice out in the rain, and then it is quiet."
BEFORE_SAVE = ("Did you hear that?", "Who could be out there in this weather?")
TO_BE_UNDONE = "I will go out and look. Keep my soup warm."
AFTER_LOAD = "On second thought I will stay by the fire. Tell me about this village."


def play(talk: Talk, npc: str) -> int:
    """Play the script with a character and return the exit status.

    Raises SnapshotError when the load does not bring back what was saved, and whatever the verbs
    raise.
    """
    talk.meet(npc)
    await_reading(talk.engine)
    for text in BEFORE_EVENT:
        _say(talk, text)
    talk.screen.player(f"/event {EVENT}")
    talk.event(EVENT)
    for text in BEFORE_SAVE:
        _say(talk, text)
    talk.screen.player("/save")
    talk.save()
    n_saved = talk.n_tokens()
    _say(talk, TO_BE_UNDONE)
    talk.screen.player("/load")
    n_undone = talk.n_tokens() - n_saved
    talk.load()
    _check(talk, n_saved, n_undone)
    _say(talk, AFTER_LOAD)
    talk.screen.player("/window")
    talk.window()
    return 0


def await_reading(engine: Verbs) -> None:
    """Wait until characters have read their personas, as they do while a player walks up to them.

    A script has no such pause; its first line would pay for all of the persona.
    """
    deadline = time.monotonic() + READING_S
    while engine.stats()["n_pending_tokens"] and time.monotonic() < deadline:
        time.sleep(LOOK_S)


def _say(talk: Talk, text: str) -> None:
    talk.screen.player(text)
    talk.say(text)


def _check(talk: Talk, n_saved: int, n_undone: int) -> None:
    n_tokens = talk.n_tokens()
    if n_tokens != n_saved:
        raise SnapshotError(
            f"The load brought back {n_tokens} tokens, and the save had {n_saved}.",
            "Please report this, with the model's name and the log.",
        )
    talk.screen.note(
        f"The window holds {n_tokens} tokens again, as at the save: "
        f"the last turn ({n_undone} tokens) never happened."
    )
