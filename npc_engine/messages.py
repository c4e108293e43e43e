"""The wire records of protocol version 1 (docs/protocol.md), tagged and typed.

Owns their fields, limits, `pack` and `unpack`. It knows no socket and no engine. Whatever bytes
come in, `unpack` returns a request or raises BadMessage, TooLarge or nothing else.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from npc_engine.complaint import MAX_REASON, complaint
from npc_engine.errors import BadMessage, NpcError, RequestError, TooLarge

__all__ = [
    "NAME_PATTERN",
    "PROTOCOL_VERSION",
    "TERMINAL",
    "Attend",
    "Cancel",
    "Despawn",
    "Done",
    "DoneStats",
    "Error",
    "Event",
    "Gesture",
    "Hear",
    "Hello",
    "Join",
    "Leave",
    "Line",
    "List",
    "Load",
    "Loaded",
    "LoadedNpc",
    "NpcInfo",
    "Npcs",
    "Ok",
    "Pin",
    "Ping",
    "Pinned",
    "Pong",
    "Reply",
    "Request",
    "Rewind",
    "Rewound",
    "Save",
    "Saved",
    "Say",
    "Scene",
    "SceneDone",
    "Spawn",
    "Spawned",
    "State",
    "Stats",
    "StatsReply",
    "Text",
    "Transcript",
    "TranscriptEntry",
    "TranscriptReply",
    "TranscriptTurn",
    "Turn",
    "Unpin",
    "Welcome",
    "Window",
    "WindowReply",
    "WindowSegment",
    "error_reply",
    "find_id",
    "pack",
    "unpack",
    "unpack_reply",
]

PROTOCOL_VERSION = 1

Id = Annotated[str, Meta(min_length=1, max_length=64)]
# The first character may not be a dot: "." and ".." are folders, and dot files are hidden.
NAME_PATTERN = r"\A[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\Z"
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Priority = Literal["player", "near", "ambient"]
Record = Literal["text", "line", "gesture"]
State = Literal["resident", "parked", "frozen"]


class Request(Struct, tag_field="type", kw_only=True, omit_defaults=True):
    """A request: gets exactly one terminal reply with its `id`."""

    id: Id


class Hello(Request, tag="hello"):
    """The first message of a client."""

    protocol: int
    client: Annotated[str, Meta(max_length=256)] = ""
    token: str | None = None


class Spawn(Request, tag="spawn"):
    """Bring a character to life from its card, or from a save slot (`restore`)."""

    npc: Name
    card: dict[str, Any]
    sampling: dict[str, Any] | None = None
    window: Annotated[int, Meta(ge=1)] | None = None
    restore: Name | None = None


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
    """Save characters into a slot."""

    slot: Name
    npcs: list[Name] | None = None


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


class Reply(Struct, tag_field="type", kw_only=True, omit_defaults=True):
    """Anything the engine sends. `id` is that of the request; None only in an `error`."""

    id: str | None = None
    terminal: ClassVar[bool] = True


class Welcome(Reply, tag="welcome"):
    """Answer of `hello`."""

    protocol: int
    engine: str
    model: dict[str, Any]
    limits: dict[str, Any]
    npcs: list[str]


class Spawned(Reply, tag="spawned"):
    """Answer of `spawn`."""

    npc: str
    n_pinned: int
    n_shared: int
    restored: bool
    greeting: str = ""
    notice: str | None = None


class Ok(Reply, tag="ok"):
    """Answer of `hear`, `attend`, `event`, `cancel`, `join`, `leave`, `unpin`, `despawn`."""

    n_heard: int | None = None
    cancelled: bool | None = None


class Text(Reply, tag="text"):
    """Part of a reply as it is decoded: whole code points."""

    terminal: ClassVar[bool] = False
    seq: int
    npc: str
    text: str


class Line(Reply, tag="line"):
    """One spoken sentence, ready for speech or a balloon."""

    terminal: ClassVar[bool] = False
    seq: int
    npc: str
    index: int
    text: str


class Gesture(Reply, tag="gesture"):
    """A stage direction, never spoken."""

    terminal: ClassVar[bool] = False
    seq: int
    npc: str
    text: str


class Turn(Reply, tag="turn"):
    """The end of one character's turn in a scene: the whole of it, as it remembers it."""

    terminal: ClassVar[bool] = False
    seq: int
    npc: str
    text: str
    turn: int


class DoneStats(Struct, kw_only=True):
    """What a turn cost. Times in milliseconds, counts in tokens."""

    n_prompt: int = 0
    n_cached: int = 0
    n_decoded: int = 0
    n_evicted: int = 0
    queue_ms: float = 0.0
    ttft_ms: float = 0.0
    decode_tps: float = 0.0
    total_ms: float = 0.0


class Done(Reply, tag="done"):
    """The end of a `say`, whatever ended it."""

    npc: str
    text: str
    reason: Literal["stop", "length", "cancelled", "slow_client"]
    truncated: bool
    stats: DoneStats
    turn: int = 0


class SceneDone(Reply, tag="scene_done"):
    """The end of a `scene`, whatever ended it."""

    scene: str
    n_turns: int
    reason: Literal["turns", "alone", "cancelled", "slow_client"]


class Pinned(Reply, tag="pinned"):
    """Answer of `pin`. Counts in tokens: the pin's, all pinned ones, what is left for pins."""

    npc: str
    turn: int
    n_tokens: int
    n_pinned: int
    n_left: int


class Rewound(Reply, tag="rewound"):
    """Answer of `rewind`: the last turn that it knows of, 0 for none, and how many it forgot."""

    npc: str
    turn: int
    n_forgotten: int


class Saved(Reply, tag="saved"):
    """Answer of `save`."""

    slot: str
    npcs: list[str]
    n_bytes: int
    ms: float


class LoadedNpc(Struct, kw_only=True, omit_defaults=True):
    """How one character came back: its KV cache whole, or re-read from its tokens."""

    npc: str
    # `from` is a Python keyword, so the field has another name here than on the wire.
    source: Literal["payload", "tokens"] = msgspec.field(name="from")
    notice: str | None = None


class Loaded(Reply, tag="loaded"):
    """Answer of `load`."""

    slot: str
    npcs: list[LoadedNpc]
    ms: float


class NpcInfo(Struct, kw_only=True, omit_defaults=True):
    """One character in an `npcs` answer. What an older engine does not tell is None."""

    npc: str
    name: str
    state: State
    n_tokens: int
    n_pinned: int
    n_window: int
    speaking: bool
    # A text, not a Priority: a client need not know all that there may be one day.
    priority: str | None = None
    n_waiting: int | None = None
    n_events: int | None = None
    n_pending: int | None = None
    scene: str | None = None


class Npcs(Reply, tag="npcs"):
    """Answer of `list`."""

    npcs: list[NpcInfo]


class WindowSegment(Struct, kw_only=True):
    """A run of tokens in a `window` answer. `start` is None while none of them is cached."""

    kind: str
    turn: int
    start: int | None
    n_tokens: int
    n_cached: int
    pinned: bool
    importance: float
    text: str


class WindowReply(Reply, tag="window"):
    """Answer of `window`. Counts in tokens but for `n_renumbered`; `turn` is the open one."""

    npc: str
    state: State
    speaking: bool
    turn: int
    n_window: int
    n_tokens: int
    n_cells: int
    n_pinned: int
    next_pos: int
    n_pos: int
    renumber_at: int
    n_evicted: int
    n_renumbered: int
    segments: list[WindowSegment]


class TranscriptEntry(Struct, kw_only=True, omit_defaults=True):
    """One thing that happened or was said. `speaker`: who said it, where that is known."""

    kind: str
    text: str
    speaker: str | None = None


class TranscriptTurn(Struct, kw_only=True):
    """What a character knows of one turn."""

    turn: int
    pinned: bool
    entries: list[TranscriptEntry]


class TranscriptReply(Reply, tag="transcript"):
    """Answer of `transcript`. `n_forgotten`: how many turns have left its window."""

    npc: str
    turns: list[TranscriptTurn]
    n_forgotten: int


class StatsReply(Reply, tag="stats"):
    """Answer of `stats`."""

    stats: dict[str, Any]


class Pong(Reply, tag="pong"):
    """Answer of `ping`."""


class Error(Reply, tag="error"):
    """A request that could not be served, and what to do about it."""

    code: str
    message: str
    help: str


TERMINAL = tuple(cls for cls in Reply.__subclasses__() if cls.terminal)

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
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
_replies: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
    Welcome
    | Spawned
    | Ok
    | Text
    | Line
    | Gesture
    | Turn
    | Done
    | SceneDone
    | Pinned
    | Rewound
    | Saved
    | Loaded
    | Npcs
    | WindowReply
    | TranscriptReply
    | StatsReply
    | Pong
    | Error
)
_raw_values = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
# What msgspec raises on hostile bytes: its own errors, RecursionError on deep nesting, ValueError
# and OverflowError out of timestamps, integers and UTF-8, MemoryError on absurd lengths.
_BAD = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, MemoryError)
_TYPES = ", ".join(str(cls.__struct_config__.tag) for cls in Request.__subclasses__())


def pack(message: Request | Reply) -> bytes:
    """Return a record as one frame; raises BadMessage for values that msgpack cannot hold."""
    try:
        return _encoder.encode(message)
    except (*_BAD, TypeError) as e:
        raise BadMessage(
            f"This cannot be sent: {str(e)[:MAX_REASON]}.",
            "Use valid text, numbers of 64 bits, lists and maps.",
        ) from None


def unpack(frame: bytes, max_bytes: int = 1 << 20) -> Any:
    """Return the request in a frame; raises TooLarge or BadMessage."""
    if len(frame) > max_bytes:
        raise TooLarge(
            f"The message has {len(frame)} bytes.", f"Send at most {max_bytes} bytes in one frame."
        )
    try:
        return _requests.decode(frame)
    except _BAD as e:
        raise BadMessage(
            complaint(frame, e, _TYPES), "See docs/protocol.md for what each type takes."
        ) from None


def unpack_reply(frame: bytes) -> Any:
    """Return the engine's reply in a frame; raises BadMessage."""
    try:
        return _replies.decode(frame)
    except _BAD as e:
        raise BadMessage(
            f"The engine sent what this client cannot read: {str(e)[:MAX_REASON]}.",
            "Use client and engine of the same protocol version.",
        ) from None


def find_id(frame: bytes) -> str | None:
    """Return the `id` of a frame that is no valid request, if it has a usable one.

    The other values are skipped, not read: whatever is wrong with one of them, the id is found.
    """
    try:
        raw = _raw_values.decode(frame).get("id")
        request_id = None if raw is None else msgspec.msgpack.decode(raw)
    except _BAD:
        return None
    return request_id if isinstance(request_id, str) and 0 < len(request_id) <= 64 else None


def error_reply(error: NpcError, request_id: str | None) -> Error:
    """Return the `error` record for an exception; what is not a RequestError is `internal`."""
    code = error.code if isinstance(error, RequestError) else "internal"
    advice = error.help or "The log of the engine has the details."
    return Error(id=request_id, code=code, message=error.message, help=advice)
