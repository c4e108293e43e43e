"""The world: what every character knows, out of the file of `--world`.

Owns what such a file may be, and whether it leaves room for a character. It knows no persona and no
KV cache: how the world gets into each persona is `chat_format`'s, how it is read once
`prefix_cache`'.
"""

import logging
import re
from pathlib import Path

from npc_engine.dialogue.persona import most_pinned
from npc_engine.errors import ConfigError
from npc_engine.text.chat_format import ChatFormat, clean

__all__ = ["check_world", "read_world"]

log = logging.getLogger("npc_engine")

MAX_BYTES = 1 << 20  # a quarter of a million tokens; a window that takes more is yet to come
_MACRO = re.compile(r"\{\{[^{}\n]{1,40}\}\}")


def read_world(file: str) -> str:
    """Return the text of a world file, "" when none is named. Raises ConfigError."""
    if not file:
        return ""
    try:
        with Path(file).open("rb") as f:
            raw = f.read(MAX_BYTES + 1)
        text = clean(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        found = f"byte {error.start} ({raw[error.start : error.start + 1]!r}) is not UTF-8"
        raise _unusable(file, found, "Save it again with the encoding UTF-8.") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unusable(file, why, "Check the path.") from None
    if len(raw) > MAX_BYTES:
        raise _unusable(file, f"it is over {MAX_BYTES >> 20} MiB", "Keep to what all must know.")
    if not text:
        raise _unusable(file, "it is empty", "Write into it what all know, or leave --world out.")
    macro = _MACRO.search(text)
    if macro:
        log.warning("The world says %s as it stands: macros are for cards.", macro[0])
    return text


def _unusable(file: str, why: str, advice: str) -> ConfigError:
    return ConfigError(f"The world file {file!r} cannot be used: {why}.", advice)


def check_world(chat_format: ChatFormat, window: int) -> None:
    """Raise ConfigError when the world leaves no room for a character to be and to talk."""
    n_world, most = len(chat_format.world_tokens), most_pinned(window, chat_format)
    if n_world and n_world >= most:
        raise ConfigError(
            f"The world takes {n_world} tokens; a window of {window} has {max(most, 0)} for the "
            "world and a persona.",
            "Shorten the file of --world, or give a larger --window.",
        )
