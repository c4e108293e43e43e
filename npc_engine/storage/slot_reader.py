"""What a load makes of a character's files: a snapshot, with its journal.

Owns what is said of a file that cannot be read. Which files there are is `slot_listing`'s to say.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from npc_engine.errors import SnapshotError
from npc_engine.storage.disk import escape, explain, read_file
from npc_engine.storage.journal.records import MAX_BYTES, Replay, examine
from npc_engine.storage.slot_listing import JOURNAL, MAX_LISTED, SUFFIX
from npc_engine.storage.snapshot import MAX_FILE_BYTES, Snapshot, decode

__all__ = ["read_character", "read_journal"]


def read_character(
    slot: str, npc: str, there: Mapping[str, Path], key: bytes
) -> Snapshot | SnapshotError:
    """Return one of the characters that are `there`, with its journal, or what is wrong.

    `key`: the installation's, which signs payloads.
    """
    if npc not in there:
        return SnapshotError(
            f"The save {slot!r} holds no {npc!r}.",
            f"It holds: {', '.join(sorted(there)[:MAX_LISTED])}.",
        )
    what = f"{slot}/{there[npc].name}"
    try:
        snapshot = decode(read_file(there[npc], MAX_FILE_BYTES), key)
    except OSError as e:
        return explain(e, f"{what} cannot be read")
    except MemoryError:
        return SnapshotError(f"{what} is larger than the free memory.", "Close other programs.")
    except SnapshotError as e:
        return SnapshotError(f"{what}: {e.message}", e.help)
    whose = snapshot.header["npc"]
    if whose != npc:
        name = escape(whose) + SUFFIX
        return SnapshotError(f"{what} holds {whose!r}, not {npc!r}.", f"Rename it to {name}.")
    return read_journal(snapshot, there[npc].with_suffix(JOURNAL)).loaded


def read_journal(snapshot: Snapshot, path: Path) -> Replay:
    """Return what the journal at `path` adds to a snapshot; what cannot be read adds nothing."""
    if not os.path.lexists(path):
        return Replay(snapshot)
    try:
        data = read_file(path, MAX_BYTES)
    except OSError as e:
        return Replay(snapshot, problem=explain(e, "it cannot be read").message.rstrip("."))
    except SnapshotError as e:
        return Replay(snapshot, problem=e.message.rstrip("."))
    return examine(snapshot, data)
