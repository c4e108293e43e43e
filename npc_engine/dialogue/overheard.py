"""What is said in the presence of others, on its way to them.

Owns the records that a scene puts into a character's inbox beside those of the wire.
It knows no scene, no character and no token.

An *utterance* is one reply as others hear it, or one line of a player: a number that no other has.
"""

from dataclasses import dataclass
from typing import ClassVar

from npc_engine.protocol import Say

__all__ = ["Cue", "Overheard", "Undoing", "Unheard", "Unsaid"]


class Cue(Say, tag="say"):
    """A `say` that no client has sent: it is this character's turn in a scene.

    `answers`: the utterance that it answers, 0 for none. `text` is what stands in for it where the
    character has not heard it.
    """

    answers: int = 0


@dataclass(slots=True)
class Overheard:
    """More of an utterance, for somebody who is present; `text` begins with its own space."""

    id: ClassVar[str] = ""  # nobody has asked for it
    utterance: int
    speaker: str
    text: str


@dataclass(slots=True)
class Unheard:
    """An utterance that was cut short after it was heard: `text` is all that was said.

    Like `Unsaid` it counts from now on, whatever waits: see `Inbox`.
    """

    id: ClassVar[str] = ""  # nobody has asked for it
    utterance: int
    speaker: str
    text: str


@dataclass(slots=True)
class Unsaid:
    """Talk that the player never heard is taken back: it counts as never said.

    `gone`: utterances, of others and its own. `cut`: its own that was heard in part, and what is
    left of it.
    """

    id: ClassVar[str] = ""
    gone: frozenset[int]
    cut: tuple[int, str, int] | None = None  # utterance, text, bytes of the text


Undoing = Unheard | Unsaid
"""What takes something back."""
