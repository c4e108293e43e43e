"""This installation's secret key, which signs the payloads that it writes.

Owns the key's file in the user's data folder. It knows no snapshots. Whoever has the key can make
the engine hand bytes to C code; so it never leaves the machine, and no save holds it.
"""

import contextlib
import logging
import os
import secrets
from pathlib import Path

from npc_engine.errors import SnapshotError
from npc_engine.storage.disk import read_file, sync_folder, write_file

__all__ = ["DATA_VARIABLE", "data_folder", "installation_key", "key_if_any"]

log = logging.getLogger("npc_engine.storage.signing_key")

DATA_VARIABLE = "NPC_ENGINE_DATA_DIR"
KEY_FILE = "installation.key"
KEY_BYTES = 32


def installation_key(folder: Path | None = None) -> bytes:
    """Return the 32 random bytes in the user's data folder (or `folder`), made at the first call.

    Raises nothing: where the file is damaged or cannot be made, a warning is logged and the key is
    good for this run only, so that saves are re-read from their tokens the next time.
    """
    try:
        path = (folder or data_folder()) / KEY_FILE
        if not path.exists():
            _create(path)
        key = read_file(path, KEY_BYTES)
        if len(key) == KEY_BYTES:
            return key
        reason = f"it has {len(key)} bytes, not {KEY_BYTES}"
    except OSError as e:
        reason = e.strerror or str(e)
    except SnapshotError as e:
        reason = e.message
    except RuntimeError as e:  # this user has no home folder
        reason = str(e)
    log.warning(
        "The key file %s cannot be used (%s). Saves of this run will load from their tokens, "
        "not their KV cache. Remove the file, or make its folder writable.",
        KEY_FILE,
        reason,
    )
    return secrets.token_bytes(KEY_BYTES)


def key_if_any() -> bytes:
    """Return the key for whoever only looks at saves: none is made.

    Where there is none, it is one that has signed nothing.
    """
    with contextlib.suppress(OSError, SnapshotError, RuntimeError):
        key = read_file(data_folder() / KEY_FILE, KEY_BYTES)
        if len(key) == KEY_BYTES:
            return key
    return secrets.token_bytes(KEY_BYTES)


def data_folder() -> Path:
    """Return the user's data folder (NPC_ENGINE_DATA_DIR, if set, is that folder)."""
    import platformdirs

    own = os.environ.get(DATA_VARIABLE)
    return Path(own) if own else Path(platformdirs.user_data_dir("npc-engine", appauthor=False))


def _create(path: Path) -> None:
    """Make the key file whole or not at all; another process may do so at the same time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{KEY_FILE}.{secrets.token_hex(8)}")
    try:
        write_file(new, secrets.token_bytes(KEY_BYTES))
        _publish(new, path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _publish(new: Path, path: Path) -> None:
    """Give a file its name unless that is taken: whoever comes first wins."""
    try:
        path.hardlink_to(new)
    except FileExistsError:
        pass
    except OSError:  # no hard links here; O_EXCL lets one process win, too
        with contextlib.suppress(FileExistsError):
            write_file(path, read_file(new, KEY_BYTES))
