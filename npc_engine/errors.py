"""The error tree. Every error says what went wrong, names the bad value, and says what to do.

NpcError
├── SetupError             the engine cannot start; the command line exits with status 2
│   ├── ConfigError        a setting is unknown, ill-typed or out of range
│   ├── ModelError         a model file is missing, truncated, not GGUF, or of the wrong kind
│   └── BindError          the endpoint cannot be bound
├── RequestError           one request cannot be served; sent as `error{code, message, help}`
│   ├── BadMessage         bad_message
│   ├── Unauthorized       unauthorized
│   ├── UnknownNpc         unknown_npc
│   ├── NpcExists          npc_exists
│   ├── CardError          bad_card
│   ├── UnknownSlot        unknown_slot
│   ├── SnapshotError      bad_snapshot
│   ├── Busy               busy
│   ├── TooLarge           too_large
│   ├── ProtocolVersion    protocol_version
│   ├── UnknownTarget      unknown_target
│   └── Internal           internal
├── BackendError           llama.cpp refused or failed a call
│   └── NoRoom             no free KV cells for this batch (llama_decode returned 1)
└── ConnectionLost         (clients) the engine is gone or does not answer in time
"""

from typing import ClassVar

__all__ = [
    "BackendError",
    "BadMessage",
    "BindError",
    "Busy",
    "CardError",
    "ConfigError",
    "ConnectionLost",
    "Internal",
    "ModelError",
    "NoRoom",
    "NpcError",
    "NpcExists",
    "ProtocolVersion",
    "RequestError",
    "SetupError",
    "SnapshotError",
    "TooLarge",
    "Unauthorized",
    "UnknownNpc",
    "UnknownSlot",
    "UnknownTarget",
    "error_for_code",
]


class NpcError(Exception):
    """Base of every error of this package.

    `code` is a stable word for programs, `message` a sentence for people with the bad value in it,
    `help` what to do about it.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, help: str = "") -> None:  # noqa: A002
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        return f"{self.message} {self.help}".strip()


class SetupError(NpcError):
    """The engine cannot start."""

    code = "setup"


class ConfigError(SetupError):
    """A setting is unknown, ill-typed or out of range."""

    code = "bad_setting"


class ModelError(SetupError):
    """A model file cannot be used."""

    code = "bad_model"


class BindError(SetupError):
    """The endpoint cannot be bound."""

    code = "bad_endpoint"


class RequestError(NpcError):
    """One request cannot be served; nothing else is touched."""


class BadMessage(RequestError):
    """The frame is no valid request."""

    code = "bad_message"


class Unauthorized(RequestError):
    """The engine wants a token, and this client has not shown the right one."""

    code = "unauthorized"


class UnknownNpc(RequestError):
    """No character of that name is spawned."""

    code = "unknown_npc"


class NpcExists(RequestError):
    """A character of that name is spawned already."""

    code = "npc_exists"


class CardError(RequestError):
    """A character card cannot be read."""

    code = "bad_card"


class UnknownSlot(RequestError):
    """No save of that name exists."""

    code = "unknown_slot"


class SnapshotError(RequestError):
    """A save file cannot be written, or is damaged or not for this version."""

    code = "bad_snapshot"


class Busy(RequestError):
    """A queue is full."""

    code = "busy"


class TooLarge(RequestError):
    """A message, persona or text is over its limit."""

    code = "too_large"


class ProtocolVersion(RequestError):
    """The client speaks another version of the protocol."""

    code = "protocol_version"


class UnknownTarget(RequestError):
    """`cancel` names no open `say` of this client."""

    code = "unknown_target"


class Internal(RequestError):
    """The engine's own fault; the log has the details."""

    code = "internal"


class BackendError(NpcError):
    """llama.cpp refused or failed a call."""

    code = "internal"


class NoRoom(BackendError):
    """No free KV cells for this batch (llama_decode returned 1)."""


class ConnectionLost(NpcError):
    """The engine is gone, or did not answer in time."""

    code = "connection_lost"


_BY_CODE = {cls.code: cls for cls in RequestError.__subclasses__()}


def error_for_code(code: str, message: str, help: str = "") -> RequestError:  # noqa: A002
    """Return the RequestError that a wire `error{code, message, help}` stands for."""
    return _BY_CODE.get(code, Internal)(message, help)
