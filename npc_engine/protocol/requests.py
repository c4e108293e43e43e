"""What a client asks: the records of all requests, tagged and typed (docs/protocol.md).

Owns their fields and limits. `codec` makes bytes of them, and the other way round.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "NAME_PATTERN",
    "AnyRequest",
    "Attend",
    "Cancel",
    "Despawn",
    "Event",
    "Hear",
    "Hello",
    "Join",
    "Leave",
    "List",
    "Load",
    "Pin",
    "Ping",
    "Request",
    "Rewind",
    "Save",
    "Say",
    "Scene",
    "Spawn",
    "Stats",
    "Transcript",
    "Unpin",
    "Window",
]

Id = Annotated[str, Meta(min_length=1, max_length=64)]
# The first character may not be a dot: "." and ".." are folders, and dot files are hidden.
NAME_PATTERN = r"\A[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\Z"
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Priority = Literal["player", "near", "ambient"]
Record = Literal["text", "line", "gesture"]


class Request(Struct, tag_field="type", kw_only=True, omit_defaults=True):
    """A request: gets exactly one terminal reply with its `id`."""

    id: Id


class Hello(Request, tag="hello"):
    """The first message of a client."""

    protocol: int
    client: Annotated[str, Meta(max_length=256)] = ""
    token: str | None = None


class Spawn(Request, tag="spawn"):
    """Bring a character to life from its card, or from a save slot (`restore`).

    `restore_card`: whether the card of a restored one is this or the saved one.
    """

    npc: Name
    card: dict[str, Any]
    sampling: dict[str, Any] | None = None
    window: Annotated[int, Meta(ge=1)] | None = None
    restore: Name | None = None
    restore_card: Literal["new", "saved"] = "new"


class Say(Request, tag="say"):
    """Say something to a character; it answers."""

    npc: Name
    text: str
    speaker: Annotated[str, Meta(min_length=1, max_length=64)] = "Player"
    priority: Priority = "player"
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    stream: list[Record] = msgspec.field(default_factory=lambda: ["line", "gesture"])
    notes: list[str] = []


class Hear(Request, tag="hear"):
    """The player's line so far, whole: read ahead of the `say`."""

    npc: Name
    text: str
    speaker: Annotated[str, Meta(min_length=1, max_length=64)] = "Player"


class Attend(Request, tag="attend"):
    """A character is about to be spoken to: it is called in from its parking place."""

    npc: Name


class Event(Request, tag="event"):
    """Something that characters perceive and do not answer."""

    npcs: list[Name] | Literal["*"]
    text: Annotated[str, Meta(min_length=1)]
    importance: Annotated[float, Meta(ge=0, le=1)] = 0.5
    expires_s: Annotated[float, Meta(ge=0)] | None = None


class Cancel(Request, tag="cancel"):
    """Cut a `say` of this client short, or end its scene."""

    target: Id
    heard: Annotated[int, Meta(ge=0)] | None = None


class Scene(Request, tag="scene"):
    """Let characters talk with each other."""

    scene: Name
    npcs: list[Name]
    about: str = ""
    turns: Annotated[int, Meta(ge=1, le=64)] = 8
    first: Name | None = None
    priority: Priority = "ambient"
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    stream: list[Record] = msgspec.field(default_factory=lambda: ["line", "gesture"])


class Join(Request, tag="join"):
    """Let a character take part in a scene that runs."""

    scene: Name
    npc: Name


class Leave(Request, tag="leave"):
    """Let a character leave a scene."""

    scene: Name
    npc: Name


class Pin(Request, tag="pin"):
    """Let a character never forget a turn, or a fact in words: one of `turn` and `text`."""

    npc: Name
    turn: Annotated[int, Meta(ge=1)] | None = None
    text: Annotated[str, Meta(min_length=1)] | None = None


class Unpin(Request, tag="unpin"):
    """Let a pinned turn age like any other."""

    npc: Name
    turn: Annotated[int, Meta(ge=1)]


class Rewind(Request, tag="rewind"):
    """Let a character forget its last turns, or all behind one: one of `turns` and `to_turn`."""

    npc: Name
    turns: Annotated[int, Meta(ge=1)] | None = None
    to_turn: Annotated[int, Meta(ge=0)] | None = None


class Save(Request, tag="save"):
    """Save characters into a slot; with `journal`, also what happens to them from then on."""

    slot: Name
    npcs: list[Name] | None = None
    mode: Literal["full", "journal"] = "full"


class Load(Request, tag="load"):
    """Load characters from a slot, in the place of those of the same name."""

    slot: Name
    npcs: list[Name] | None = None


class Despawn(Request, tag="despawn"):
    """Take a character out of the engine."""

    npc: Name


class List(Request, tag="list"):
    """Ask for the characters."""


class Window(Request, tag="window"):
    """Ask what a character's window holds."""

    npc: Name


class Transcript(Request, tag="transcript"):
    """Ask for a character's talk as text; `last`: that of so many turns, the newest."""

    npc: Name
    last: Annotated[int, Meta(ge=1)] | None = None


class Stats(Request, tag="stats"):
    """Ask for the engine's counters."""


class Ping(Request, tag="ping"):
    """Ask for a pong."""


AnyRequest = (
    Hello
    | Spawn
    | Say
    | Hear
    | Attend
    | Event
    | Cancel
    | Scene
    | Join
    | Leave
    | Pin
    | Unpin
    | Rewind
    | Save
    | Load
    | Despawn
    | List
    | Window
    | Transcript
    | Stats
    | Ping
)
