"""What the engine answers: the records of all replies, tagged and typed (docs/protocol.md).

Owns their fields, and which of them end an answer. `codec` makes bytes of them, and the other
way round.
"""

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

__all__ = [
    "AnyReply",
    "Done",
    "DoneStats",
    "Error",
    "Gesture",
    "Line",
    "Loaded",
    "LoadedNpc",
    "NpcInfo",
    "Npcs",
    "Ok",
    "Pinned",
    "Pong",
    "Reply",
    "Rewound",
    "Saved",
    "SceneDone",
    "Spawned",
    "State",
    "StatsReply",
    "Text",
    "TranscriptEntry",
    "TranscriptReply",
    "TranscriptTurn",
    "Turn",
    "Welcome",
    "WindowReply",
    "WindowSegment",
]

State = Literal["resident", "parked", "frozen"]


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


AnyReply = (
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
