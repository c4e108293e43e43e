"""Files of a slot that say little, and one that grows."""

from pathlib import Path

from npc_engine.storage.journal.appending import Append, append_files
from npc_engine.storage.snapshot import encode

KEY = bytes(range(32))


def make(npc: str, text: str = "", key: bytes = KEY) -> bytes:
    return encode({"npc": npc}, {"text": text}, b"kv", key)


def append_file(path: Path, at: int, data: bytes) -> None:
    """Do one `Append`; raises the OSError that it has failed with."""
    (error,) = append_files([Append(path, at, data)], set())
    if error is not None:
        raise error
