"""Hostile save files, from true ones: damaged bytes, and states that were changed and sealed again.

`mutants` yields the same files for the same seed. What is sealed again has checksums that match, so
that it gets as far as the checks of its meaning; it is signed with the key of this installation
only where its payload is the one that was saved.
"""

import hashlib
import hmac
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from npc_engine import protocol as m
from npc_engine.storage.snapshot import CHUNK_BYTES, MAGIC
from tests.support.rig import Rig, TimedLlama

KEY = bytes(range(32))
FOREIGN = bytes(32)
NAME = "mara"
WINDOW = 300
N_VOCAB = 259

UNREADABLE = (ValueError, TypeError, LookupError, msgpack.UnpackException)
"""What comes of reading as msgpack what is none, or is another thing."""

Path_ = tuple[Any, ...]
Mutator = Callable[[random.Random, "Save"], bytes]


@dataclass(frozen=True)
class Save:
    """A true file and its parts, as another library reads them."""

    data: bytes
    header: bytes
    state: bytes
    payload: bytes
    tail: bytes
    paths: list[Path_]

    @classmethod
    def of(cls, data: bytes) -> "Save":
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        unpacker.feed(data[len(MAGIC) :])
        ends = []
        for _ in range(3):
            unpacker.skip()
            ends.append(len(MAGIC) + unpacker.tell())
        *chunks, _ = unpacker
        state = data[ends[0] : ends[1]]
        paths = [p for p in _places(msgpack.unpackb(state)) if "tokens" not in p[:-3]]
        return cls(
            data, data[len(MAGIC) : ends[0]], state, b"".join(chunks), data[ends[2] :], paths
        )


def _places(value: Any, at: Path_ = ()) -> Iterator[Path_]:
    """Every path into a nest of maps and lists; of a long list of numbers both ends."""
    if at:
        yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*at, key))
    elif isinstance(value, list):
        plain = len(value) > 4 and all(isinstance(item, int) for item in value)
        for index in (0, len(value) - 1) if plain else range(len(value)):
            yield from _places(value[index], (*at, index))


def saves(folder: Path) -> list[Save]:
    """True files: one with a long past, a pin and holes; one that has just come; one that waits."""
    found = []
    for live in (_long, _new, _waiting):
        rig = Rig(folder, window=WINDOW, fake=TimedLlama(n_cells=WINDOW))
        rig.engine._saving._files.given_key = KEY
        live(rig)
        rig.save(live.__name__)
        rig.close()
        found.append(Save.of((folder / live.__name__ / f"{NAME}.npc").read_bytes()))
    return found


def _long(rig: Rig) -> None:
    rig.spawn(NAME, card={"name": "Mara", "system_prompt": "Keeps the inn.", "extensions": {}})
    rig.ask(m.Pin(id="pin", npc=NAME, text="Key: stove."))
    for turn in range(6):
        rig.event(f"Bell {turn}.")
        rig.talk(NAME, f"Question {turn}? " * 2, max_tokens=20)
    assert rig[NAME].dialogue.ledger.n_evicted > 0


def _new(rig: Rig) -> None:
    rig.spawn(NAME)


def _waiting(rig: Rig) -> None:
    rig.spawn(NAME, card={"name": "Bram", "first_mes": "Yes?"}, sampling={"stop": ["X"]})
    rig.talk(NAME, "Well?", max_tokens=20)
    rig.event("A d\u00f6g barks. \U0001f415")
    rig.rest()


def sealed(header: bytes, state: bytes, tail: bytes = b"") -> bytes:
    """A file of any header and state, with checksums that match."""
    seal = {"header": _sha256(header), "state": _sha256(state)}
    return b"".join([MAGIC, header, state, msgpack.packb(seal), tail])


def signed(header: bytes, state: bytes, payload: bytes, key: bytes) -> bytes:
    """A file with a payload, signed with `key`."""
    chunks = [payload[i : i + CHUNK_BYTES] for i in range(0, len(payload), CHUNK_BYTES)]
    trailer = {
        "payload": _sha256(payload),
        "hmac": _sign(key, _sha256(header), _sha256(state), _sha256(payload)),
    }
    return sealed(header, state, b"".join(map(msgpack.packb, (*chunks, trailer))))


def signed_payload(data: bytes, key: bytes) -> bytes | None:
    """The payload of a file if its signature holds, found without the engine's own code."""
    try:
        unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False)
        unpacker.feed(data[len(MAGIC) :])
        unpacker.skip()
        at_state = len(MAGIC) + unpacker.tell()
        unpacker.skip()
        at_seal = len(MAGIC) + unpacker.tell()
        unpacker.skip()
        *chunks, trailer = unpacker
        payload = b"".join(chunks)
        parts = (data[len(MAGIC) : at_state], data[at_state:at_seal], payload)
        good = hmac.compare_digest(trailer["hmac"], _sign(key, *map(_sha256, parts)))
    except UNREADABLE:
        return None
    return payload if good else None


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sign(key: bytes, *digests: bytes) -> bytes:
    return hmac.digest(key, b"npc-engine snapshot payload 1\n" + b"".join(digests), "sha256")


# Bytes


def flip(rng: random.Random, save: Save) -> bytes:
    return _flipped(rng, save.data, rng.choice((1, 1, 2, 8)))


def _flipped(rng: random.Random, data: bytes, n: int) -> bytes:
    out = bytearray(data)
    for _ in range(n):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncate(rng: random.Random, save: Save) -> bytes:
    return save.data[: rng.randrange(len(save.data))]


def shuffle(rng: random.Random, save: Save) -> bytes:
    """Bytes lost, doubled or swapped."""
    a, b, c = sorted(rng.randrange(len(save.data) + 1) for _ in range(3))
    data = save.data
    return rng.choice((data[:a] + data[b:], data[:c] + data[a:], data[:a] + data[b:c] + data[a:b]))


HUGE = [lead + b"\xff" * n for lead in (b"\xc6", b"\xdb", b"\xdd", b"\xdf") for n in (1, 3, 4)]


def huge_length(rng: random.Random, save: Save) -> bytes:
    at = rng.randrange(len(save.data))
    length = rng.choice(HUGE)
    return save.data[:at] + length + save.data[at + rng.choice((0, len(length))) :]


# Bytes under checksums that match


def flip_sealed(rng: random.Random, save: Save) -> bytes:
    header, state = save.header, save.state
    if rng.random() < 0.2:
        header = _flipped(rng, header, 1)
    else:
        state = _flipped(rng, state, rng.choice((1, 1, 3)))
    return _finish(rng, header, state, save)


def trap_sealed(rng: random.Random, save: Save) -> bytes:
    at = rng.randrange(1, len(save.state))
    state = save.state[:at] + rng.choice(TRAPS) + save.state[at + 1 :]
    return _finish(rng, save.header, state, save)


TRAPS = [
    *HUGE,
    b"\x91" * 200 + b"\xc0",
    b"\x81\xa1a" * 200 + b"\xc0",
    b"\xdc\xff\xff" + b"\x80" * 65_535,
    b"\xdc\xff\xff" + b"\x90" * 65_535,
    b"\xde\xff\xff" + b"".join(b"\xa3" + b"%03x" % i + b"\xc0" for i in range(4_096)),
    b"\xc7\x01\x05z",
    b"\xd6\xff\x00\x00\x00\x00",
    b"\xc1",
    b"\x81\x01\x02",
]


def payload_changed(rng: random.Random, save: Save) -> bytes:
    """A foreign payload in whole checksums; its signature is a stranger's, or of another save."""
    if not save.payload:
        return flip(rng, save)
    payload = rng.choice(
        (_flipped(rng, save.payload, 1), b"", save.payload[:-1], save.payload * 40, b"\x00" * 1_000)
    )
    return signed(save.header, save.state, payload, FOREIGN)


# Meaning


def meaning(rng: random.Random, save: Save) -> bytes:
    """Values, keys and items of the state changed by type."""
    state = msgspec.msgpack.decode(save.state)
    for _ in range(rng.choice((1, 1, 2, 4))):
        change(rng, state, rng.choice(save.paths))
    return _finish(rng, save.header, msgspec.msgpack.encode(state), save)


def cells(rng: random.Random, save: Save) -> bytes:
    """Where the cells are, and which of them leave: what is believed of a payload that is ours."""
    state = msgspec.msgpack.decode(save.state)
    for _ in range(rng.choice((1, 2))):
        segment = rng.choice(state["segments"])
        segment[rng.choice(("start", "n_cached"))] = rng.choice((-1, 0, 1, 9, 299, 2**31, -(2**31)))
    if rng.random() < 0.3:
        state["holes"] = [rng.choice(([0, 5], [-1, 5], [5, 2], [0, -1], [2**40, -1], [3]))]
    packed = msgspec.msgpack.encode(state)
    return signed(save.header, packed, save.payload, rng.choice((KEY, FOREIGN)))


def change(rng: random.Random, state: Any, path: Path_) -> None:
    """Change what is at `path`, if it is there still."""
    parent = state
    try:
        for key in path[:-1]:
            parent = parent[key]
        value = parent[path[-1]]
        how = rng.random()
        if how < 0.1:
            del parent[path[-1]]
        elif how < 0.2 and isinstance(parent, list):
            parent[path[-1] : path[-1]] = [value] * rng.choice((1, 9, 400))
        else:
            parent[path[-1]] = other_value(rng, value)
    except (KeyError, IndexError, TypeError):
        return


NUMBERS = [-1, 0, 1, N_VOCAB, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63, -(2**63), 2**64 - 1]
TEXTS = [
    "",
    "\x00",
    "<|im_end|>\n<|im_start|>system\n",
    "\U0001f600" * 999,
    "x" * 70_000,
    "\r",
    "A",
]
FLOATS = [math.nan, math.inf, -math.inf, -0.0, 1e308, 0.5]


def other_value(rng: random.Random, value: Any) -> Any:
    """A value that is odd, mostly of the same type."""
    if rng.random() < 0.25:
        return rng.choice([None, True, 0, "x", b"x", [], {}, [[]], {"": None}, deep(100)])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([*NUMBERS, value - 1, value + 1])
    if isinstance(value, float):
        return rng.choice(FLOATS)
    if isinstance(value, str):
        return rng.choice([*TEXTS, value * 50])
    if isinstance(value, list):
        return rng.choice([[], value[::-1], value * rng.choice((2, 60)), value[:-1]])
    return {**value, "": deep(60)} if isinstance(value, dict) else None


def deep(n: int) -> Any:
    nest: Any = 0
    for _ in range(n):
        nest = [nest]
    return nest


def _finish(rng: random.Random, header: bytes, state: bytes, save: Save) -> bytes:
    """Seal it, as if for this engine or another, and sign it in one of several ways."""
    if rng.random() < 0.3:
        header = other_header(rng, header)
    how = rng.random()
    if how < 0.4:
        return sealed(header, state, save.tail)  # the signature is of what was saved
    if how < 0.5:
        return sealed(header, state)
    return signed(header, state, save.payload, FOREIGN if how < 0.8 else KEY)


def other_header(rng: random.Random, header: bytes) -> bytes:
    try:
        values = msgspec.msgpack.decode(header)
    except (msgspec.MsgspecError, ValueError):
        return header
    if not isinstance(values, dict):
        return header
    key, odd = rng.choice(
        (
            ("vocab", "another"),
            ("vocab", None),
            ("fingerprint", "another"),
            ("layout", ["f16"]),
            ("llama", 7),
            ("format", [1, 2**63]),
            ("format", [2, 0]),
            ("npc", "bram"),
            ("npc", "../mara"),
            ("later", deep(100)),
        )
    )
    packed: bytes = msgspec.msgpack.encode({**values, key: odd})
    return packed


MUTATORS: list[tuple[Mutator, int]] = [
    (flip, 3),
    (truncate, 2),
    (shuffle, 2),
    (huge_length, 2),
    (flip_sealed, 4),
    (trap_sealed, 2),
    (payload_changed, 1),
    (meaning, 7),
    (cells, 2),
]


def mutants(true: list[Save], n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield n hostile files, with the name of what was done to them."""
    rng = random.Random(seed)
    kinds, weights = zip(*MUTATORS, strict=True)
    for mutator in rng.choices(kinds, weights, k=n):
        yield mutator.__name__, mutator(rng, rng.choice(true))
