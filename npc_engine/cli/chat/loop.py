"""What the player types, row by row: talk goes to the character, commands to what they are for.

Owns the commands, how a talk goes on after an error, and when it ends. It knows no engine: `talk`
does what is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass

from npc_engine.cli.chat.talk import Talk
from npc_engine.errors import ConnectionLost, NpcError

__all__ = ["COMMANDS", "run"]

LEAVE = ("/quit", "/exit")
CTRL_C_HINT = "Ctrl-D or /quit leaves; Ctrl-C cuts a character short while it speaks."


def run(talk: Talk, npc: str) -> int:
    """Talk with `npc` until the player leaves; return the exit status.

    1 if the engine goes away in mid-talk. Raises RequestError when `npc` cannot come at all.
    """
    talk.meet(npc)
    talk.screen.note(f"You talk with {talk.display_name()}. Say something, or /help.")
    try:
        while _turn(talk):
            pass
    except ConnectionLost as error:
        talk.screen.problem(error)
        return 1
    return 0


def _turn(talk: Talk) -> bool:
    """Take one row of the player; return whether the talk goes on."""
    try:
        text = talk.screen.ask().strip()
    except KeyboardInterrupt:
        talk.screen.note(f"\n{CTRL_C_HINT}")
        return True
    except EOFError:
        talk.screen.note("")
        return False
    if text.lower() in LEAVE:
        return False
    try:
        _heed(talk, text)
    except ConnectionLost:
        raise
    except NpcError as error:
        talk.screen.problem(error)
    return True


def _heed(talk: Talk, text: str) -> None:
    if not text.startswith("/"):
        if text:
            talk.say(text)
        return
    word, _, rest = text.partition(" ")
    command = COMMANDS.get(word.lower())
    if command is None:
        talk.screen.note(f"There is no command {word}. /help lists them.")
    elif command.wants and not rest.strip():
        talk.screen.note(f"Use it so: {command.usage}")
    else:
        command.call(talk, rest.strip())


def _help(talk: Talk, _rest: str) -> None:
    """List the commands."""
    talk.screen.rows([(command.usage, command.meaning) for command in COMMANDS.values()])
    talk.screen.note(CTRL_C_HINT)


@dataclass(frozen=True)
class _Command:
    usage: str
    meaning: str
    call: Callable[[Talk, str], None]
    wants: bool = False


COMMANDS = {
    "/save": _Command("/save [SLOT]", "save everybody there", Talk.save),
    "/load": _Command("/load [SLOT]", "go back to how they were", Talk.load),
    "/event": _Command("/event TEXT", "let something happen", Talk.event, wants=True),
    "/who": _Command("/who [NAME]", "who is there, or turn to somebody", Talk.who),
    "/rewind": _Command("/rewind [N]", "unsay the last turn, or the last N", Talk.rewind),
    "/transcript": _Command("/transcript [N]", "what it remembers, as text", Talk.transcript),
    "/window": _Command("/window [NAME]", "what a character has in mind, drawn", Talk.window),
    "/help": _Command("/help", "this list", _help),
    "/quit": _Command("/quit", "leave; so does /exit", lambda _talk, _rest: None),
}
