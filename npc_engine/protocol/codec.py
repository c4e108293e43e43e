"""The wire records of protocol version 1 (docs/protocol.md) as bytes, and back.

Owns `pack` and `unpack`; the records are those of `requests` and `replies`. It knows no socket and
no engine. Whatever bytes come in, `unpack` returns a request or raises BadMessage, TooLarge or
nothing else.
"""

from typing import Any

import msgspec

from npc_engine.errors import BadMessage, NpcError, RequestError, TooLarge
from npc_engine.protocol.replies import AnyReply, Error, Reply
from npc_engine.protocol.requests import AnyRequest, Hello, Request
from npc_engine.protocol.validation import MAX_REASON, complaint, heaviest, is_wide
from npc_engine.storage.msgpack_bounds import n_values

__all__ = [
    "PROTOCOL_VERSION",
    "error_reply",
    "find_id",
    "pack",
    "too_large",
    "unpack",
    "unpack_hello",
    "unpack_reply",
]

PROTOCOL_VERSION = 1
# Of one request. A megabyte of empty lists would take 64 to build, and seconds to look at; a card
# with a thousand entries in its book has fewer.
MAX_VALUES = 1 << 17

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(AnyRequest)
_hello = msgspec.msgpack.Decoder(Hello)
_replies: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(AnyReply)
_raw_values = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
# What msgspec raises on hostile bytes: its own errors, RecursionError on deep nesting, ValueError
# and OverflowError out of timestamps, integers and UTF-8, TypeError on a map as a key, MemoryError
# on absurd lengths. Newer ones make their own errors of most; the oldest allowed does not.
_BAD = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, TypeError, MemoryError)
_TYPES = ", ".join(str(cls.__struct_config__.tag) for cls in Request.__subclasses__())


def pack(message: Request | Reply) -> bytes:
    """Return a record as one frame; raises BadMessage for values that msgpack cannot hold."""
    try:
        return _encoder.encode(message)
    except _BAD as e:
        raise BadMessage(
            f"This cannot be sent: {str(e)[:MAX_REASON]}.",
            "Use valid text, numbers of 64 bits, lists and maps.",
        ) from None


def unpack(frame: bytes, max_bytes: int = 1 << 20) -> Any:
    """Return the request in a frame; raises TooLarge or BadMessage."""
    if len(frame) > max_bytes:
        raise too_large(len(frame), max_bytes, heaviest(frame))
    if n_values(frame, MAX_VALUES) > MAX_VALUES:
        raise TooLarge(
            f"The message holds more than {MAX_VALUES} values{_mostly(heaviest(frame))}.",
            "Leave out what the character does not need: texts are cheap, numbers, lists and maps "
            "are not.",
        )
    try:
        return _requests.decode(frame)
    except _BAD as e:
        raise BadMessage(
            complaint(frame, e, _TYPES), "See docs/protocol.md for what each type takes."
        ) from None


def unpack_hello(frame: bytes) -> Hello | None:
    """Return the hello in a frame; None for anything else. Other keys are skipped, not read."""
    try:
        return _hello.decode(frame)
    except _BAD:
        return None


def too_large(n_bytes: int, max_bytes: int, where: str = "") -> TooLarge:
    """Return the error for a message of so many bytes. `where`: the field that has most of them."""
    return TooLarge(
        f"The message has {n_bytes} bytes{_mostly(where)}.",
        f"Send at most {max_bytes} bytes in one frame.",
    )


def _mostly(where: str) -> str:
    return f", most of them in {where!r}" if where else ""


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
    if is_wide(frame):
        return None
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
