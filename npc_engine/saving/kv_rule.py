"""Which saves have a KV cache in them, and which are read again from their tokens.

Owns the rule. It knows no character and no file: whoever saves says how many seconds the tokens
would take to read, as far as that was measured.
"""

__all__ = ["MOST_READING_S", "keeps_kv"]

MOST_READING_S = 0.3
"""`auto`: what is read again within this is not worth 20 KB a token on the player's disk."""


def keeps_kv(wish: str, reading_s: float | None) -> bool:
    """Return whether a save is to have a payload. `reading_s`: to read it again, None: unknown."""
    if wish != "auto":
        return wish == "yes"
    return reading_s is None or reading_s >= MOST_READING_S
