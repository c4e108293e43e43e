"""Files of a slot that say little."""

from npc_engine.storage.snapshot import encode

KEY = bytes(range(32))


def make(npc: str, text: str = "", key: bytes = KEY) -> bytes:
    return encode({"npc": npc}, {"text": text}, b"kv", key)
