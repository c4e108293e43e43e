"""What is left of a long run that was interrupted: a file beside its report.

Owns the file: written whole or not at all, signed with this installation's key, since cells in it
go into C code. It knows no policy.
"""

import hashlib
import hmac
from pathlib import Path

import msgspec

from npc_engine.bench.stream.reader import Block
from npc_engine.errors import SetupError
from npc_engine.storage.signing_key import installation_key

__all__ = ["Partial", "Place", "read_partial", "write_partial"]


class Place(msgspec.Struct):
    """Where one policy stands at a block's end. `payload`: its cells, where they are needed."""

    blocks: list[Block]
    n_done: int
    ended: str
    payload: bytes


class Partial(msgspec.Struct):
    """`run`: what was asked, as text: a run of anything else cannot go on from this."""

    run: str
    n_done: int
    places: dict[str, Place]


def write_partial(path: Path, partial: Partial) -> None:
    """Write a run's state. Raises SetupError."""
    data = msgspec.msgpack.encode(partial)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".new")
        beside.write_bytes(_signature(data) + data)
        beside.replace(path)
    except OSError as error:
        raise SetupError(
            f"The state of this run cannot be written to {str(path)!r}: {error.strerror}.",
            "Name another file with --out, or make room.",
        ) from None


def read_partial(path: Path) -> Partial | None:
    """Return a run's state, None where there is none. Raises SetupError for a foreign one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"{str(path)!r} cannot be read: {error.strerror}.", "Remove it.") from None
    if hmac.compare_digest(data[:32], _signature(data[32:])):
        try:
            return msgspec.msgpack.decode(data[32:], type=Partial)
        except (msgspec.MsgspecError, ValueError):
            pass  # signed by another version
    raise SetupError(
        f"{str(path)!r} is no state that this version wrote on this computer.",
        "Remove it, and the run starts anew.",
    )


def _signature(data: bytes) -> bytes:
    return hmac.digest(installation_key(), data, hashlib.sha256)
