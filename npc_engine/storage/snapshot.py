"""One character as the bytes of a file, and back (docs/snapshot-format.md).

Owns the file format, its checksums and its signature. It knows no files and no folders, and nothing
of what a state means: the caller checks that against the model.

    magic | header map | state map | seal map         | chunk chunk ... | trailer map
          | who, what  | tokens,   | SHA-256 of the   | payload: raw KV | SHA-256 of the payload,
          | made it    | text      | header and state | cache           | HMAC of the three digests

Rules
 1. Tokens are authoritative. A whole header and state is a character, whatever became of the rest.
 2. A payload goes into C code, and players trade files: it is returned only when it is whole and
    signed with this installation's key. Else it is dropped, with a notice.
 3. Nothing is built in memory before its lengths, depth and cost are known to be in bounds.
 4. Magic and header stay readable for ever; a newer major version may change all that follows.
 5. Keys that this version does not know are returned with the rest, and are written again.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from npc_engine.errors import SnapshotError
from npc_engine.storage.disk import NAME
from npc_engine.storage.msgpack_bounds import CUT_SHORT, measure, open_object

__all__ = ["FORMAT", "MAX_FILE_BYTES", "Snapshot", "decode", "encode", "encode_parts"]

FORMAT = (1, 2)
"""Major and minor version of the files that `encode` writes."""

MAGIC = b"\x89NPC\r\n\x1a\n"  # not text, and broken by any transfer that mends line ends
CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES = 8 << 30
MAX_STATE_COST = 48 << 20  # bytes of memory, as `measure` reckons it
MAX_PART_COST = 1 << 20  # of the header, the seal and the trailer each

_HMAC_USE = b"npc-engine snapshot payload 1\n"  # so that no other use of the key can stand in
_MEND = "Put a copy of the file back, or load another slot."

_DAMAGED = "The stored KV cache is damaged; the character is re-read from its tokens."
_FOREIGN = "The stored KV cache is not of this installation; it is re-read from its tokens."


@dataclass(frozen=True)
class Snapshot:
    """What a file holds: plain maps of None, bool, int, float, str, bytes, list and dict.

    `payload` is raw KV bytes, None unless they may be given to llama.cpp. `trusted` says that the
    file is whole and signed with this installation's key; `notice` why a payload was dropped;
    `journal` what the journal beside the file added to the state, if there is one.
    """

    header: dict[str, Any]
    state: dict[str, Any]
    payload: bytes | None
    trusted: bool
    notice: str | None = None
    journal: str | None = None


def encode(
    header: Mapping[str, Any], state: Mapping[str, Any], payload: bytes | None, key: bytes
) -> bytes:
    """Return a character as the bytes of a file, signed with `key`.

    `header` has the character's name as `npc`, and whatever else a load is to compare; its `format`
    is set here. Raises SnapshotError for what `decode` would not take back.
    """
    return b"".join(encode_parts(header, state, payload, key))


def encode_parts(
    header: Mapping[str, Any], state: Mapping[str, Any], payload: bytes | None, key: bytes
) -> list[bytes | memoryview]:
    """Return the bytes that `encode` does, one part after the other; the payload is not copied.

    A copy of it would hold Python's lock, and so whoever speaks, for as long as a step takes.
    """
    header = {**header, "format": list(FORMAT)}
    _check_header(header)
    head = _pack(header, "header", MAX_PART_COST)
    body = _pack(state, "state", MAX_STATE_COST)
    chunks = list(_split(payload or b""))
    seal = {"header": _sha256(head), "state": _sha256(body)}
    digest = _sha256(*chunks)
    trailer = {"payload": digest, "hmac": _sign(key, seal, digest)}
    bins = [part for chunk in chunks for part in (_bin_head(len(chunk)), chunk)]
    return [MAGIC, head, body, msgspec.msgpack.encode(seal), *bins, msgspec.msgpack.encode(trailer)]


def decode(data: bytes, key: bytes) -> Snapshot:
    """Return what the bytes of a file hold.

    Raises SnapshotError, and nothing else, where header, state or seal is damaged, too large or of
    another major version. A payload that is damaged or not signed with `key` is dropped (rule 2).
    """
    if len(data) > MAX_FILE_BYTES:
        raise SnapshotError(f"The save has {len(data)} bytes.", f"The limit is {MAX_FILE_BYTES}.")
    if not data.startswith(MAGIC):
        raise SnapshotError("This is no NPC Engine save, or it is cut short.", _MEND)
    header, at_state = _read(data, len(MAGIC), "header", MAX_PART_COST)
    _check_header(header)
    state, at_seal = _read(data, at_state, "state", MAX_STATE_COST)
    seal, at_payload = _read(data, at_seal, "seal", MAX_PART_COST)
    found = {
        "header": _sha256(memoryview(data)[len(MAGIC) : at_state]),
        "state": _sha256(memoryview(data)[at_state:at_seal]),
    }
    for part, digest in found.items():
        if seal.get(part) != digest:
            raise _damaged(part, "its checksum does not match")
    payload, notice = _read_payload(data, at_payload, found, key)
    return Snapshot(header, state, payload or None, trusted=notice is None, notice=notice)


def _check_header(header: Mapping[str, Any]) -> None:
    version = header.get("format")
    if not isinstance(version, list) or [type(n) for n in version] != [int, int]:
        raise _damaged("header", f"its format is {version!r:.100}, not two numbers")
    if version[0] != FORMAT[0]:
        raise SnapshotError(
            f"The save has format {version[0]}.{version[1]}; this engine reads {FORMAT[0]}.x.",
            "Load it with the version of the engine that wrote it. Nothing was changed.",
        )
    npc = header.get("npc")
    if not isinstance(npc, str) or not NAME.fullmatch(npc):
        raise _damaged("header", f"it names the character {npc!r:.100}")


def _read_payload(
    data: bytes, at: int, seal: Mapping[str, bytes], key: bytes
) -> tuple[bytes, str | None]:
    """Return (payload, None), or (nothing, why it was dropped)."""
    try:
        chunks, at = _read_chunks(data, at)
        trailer, end = _read(data, at, "trailer", MAX_PART_COST)
    except (SnapshotError, ValueError):
        return b"", _DAMAGED
    digest = _sha256(*chunks)
    if end != len(data) or trailer.get("payload") != digest:
        return b"", _DAMAGED
    signature = trailer.get("hmac")
    if not isinstance(signature, bytes):
        return b"", _FOREIGN
    if not hmac.compare_digest(signature, _sign(key, seal, digest)):
        return b"", _FOREIGN
    return b"".join(chunks), None


def _read_chunks(data: bytes, at: int) -> tuple[list[memoryview], int]:
    """Return the payload's chunks and where the trailer begins; raises ValueError.

    Every chunk but the last is full, so that a file of tiny ones cannot cost memory.
    """
    chunks: list[memoryview] = []
    n = CHUNK_BYTES
    while n == CHUNK_BYTES:
        kind, n, start = open_object(data, at)
        if kind != "bin":
            break
        at = start + n
        if not 0 < n <= CHUNK_BYTES or at > len(data):
            raise ValueError(CUT_SHORT)
        chunks.append(memoryview(data)[start:at])
    return chunks, at


def _split(payload: bytes) -> Iterator[memoryview]:
    for at in range(0, len(payload), CHUNK_BYTES):
        yield memoryview(payload)[at : at + CHUNK_BYTES]


def _bin_head(n: int) -> bytes:
    """The bytes that stand before a msgpack bin of n bytes."""
    kind, width = (b"\xc4", 1) if n < 1 << 8 else (b"\xc5", 2) if n < 1 << 16 else (b"\xc6", 4)
    return kind + n.to_bytes(width, "big")


def _read(data: bytes, at: int, part: str, max_cost: int) -> tuple[dict[str, Any], int]:
    """Return the map that begins at `at` and where it ends; raises SnapshotError."""
    try:
        end = measure(data, at, max_cost)
        value = msgspec.msgpack.decode(memoryview(data)[at:end])
    except (ValueError, msgspec.MsgspecError) as e:
        raise _damaged(part, str(e)) from None
    if not isinstance(value, dict):
        raise _damaged(part, "it is no map")
    return value, end


def _pack(value: Mapping[str, Any], part: str, max_cost: int) -> bytes:
    """Return a map as msgpack that `_read` takes back; raises SnapshotError."""
    try:
        packed = msgspec.msgpack.encode(dict(value))
        measure(packed, 0, max_cost)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as e:
        raise SnapshotError(
            f"The {part} of this character cannot be saved: {e!s:.200}.",
            "Use maps with text keys, lists, valid text, bytes and numbers of 64 bits.",
        ) from None
    return packed


def _sha256(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _sign(key: bytes, seal: Mapping[str, bytes], payload_digest: bytes) -> bytes:
    signed = b"".join((_HMAC_USE, seal["header"], seal["state"], payload_digest))
    return hmac.digest(key, signed, "sha256")


def _damaged(part: str, reason: str) -> SnapshotError:
    return SnapshotError(f"The {part} of the save is damaged: {reason:.200}.", _MEND)
