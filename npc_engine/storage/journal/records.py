"""What happened to a character since its snapshot, as the bytes of a file, and back.

    magic | header map      | check | delta map | check | delta map | check ...
          | whose, of which |       | what changed since the record before

Owns the bytes and the checks. Every check is chained to the one before it. It knows no files, and
nothing of what a state means but which parts of it say where the cells of the payload are.

Rules
 1. A record counts when it is whole, and all before it are: a power cut in the middle of a write
    costs that record.
 2. A journal belongs to one snapshot, whose `snapshot` it has as `base`. Beside another it is left
    out: that one was written later, and has it all.
 3. It holds no cells. Those of the snapshot are kept for what the change has left at the
    beginning; what comes behind is read from its tokens.
 4. A reader takes as much as a writer writes and no more: MAX_BYTES, MAX_RECORD_COST, MAX_WORK.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from npc_engine.storage.delta import Delta, Image, image, patch
from npc_engine.storage.msgpack_bounds import measure
from npc_engine.storage.snapshot import Snapshot

__all__ = [
    "FORMAT",
    "MAX_BYTES",
    "Replay",
    "begin",
    "examine",
    "image_of",
    "overlay",
    "record",
]

FORMAT = (1, 0)
"""Major and minor version of the journals that `begin` begins."""

MAX_BYTES = 768 << 10
"""However hostile, so many bytes come to less than 64 MiB of memory: an empty map is one byte."""

MAGIC = b"\x89NPJ\r\n\x1a\n"
MAX_HEADER_COST = 1 << 16
MAX_RECORD_COST = 64 << 20  # bytes of memory, as `measure` reckons it: as a snapshot's state
MAX_WORK = 100_000_000  # segments that are moved in all: well under a second
CHECK_BYTES = 16
_CHECK_HEAD = b"\xc4\x10"  # msgpack: a bin of 16 bytes

# Where the cells are is of no use without them.
_CELLS = ("holes",)
_SEGMENT_CELLS = ("start", "n_cached")


@dataclass(frozen=True)
class Replay:
    """What a journal comes to. `snapshot`: with what its `n_records` whole records add.

    `whole`: its bytes up to the end of these, and `n_torn` how many come behind; `problem`: why it
    is left out, if it is.
    """

    snapshot: Snapshot
    n_records: int = 0
    whole: bytes = b""
    n_torn: int = 0
    problem: str | None = None

    @property
    def notice(self) -> str | None:
        """What there is to say of it at a load."""
        if self.problem is not None:
            return f"The journal beside it is left out: {self.problem}."
        parts = []
        if self.n_records:
            n = self.n_records
            of = "1 change since the save is" if n == 1 else f"{n} changes since the save are"
            parts.append(f"{of} from its journal.")
        if self.n_torn:
            parts.append(f"Its journal ends in {self.n_torn} bytes that are no whole entry.")
        return " ".join(parts) or None

    @property
    def loaded(self) -> Snapshot:
        """The snapshot as a load takes it: its `journal` says what was added."""
        return replace(self.snapshot, journal=self.notice)


def image_of(state: Mapping[str, Any]) -> Image:
    """Return what a journal compares of a frozen state."""
    return image(state, _CELLS, _SEGMENT_CELLS)


def begin(npc: str, base: str) -> tuple[bytes, bytes]:
    """Return the beginning of a journal, and its check, for the first record.

    `base`: the `snapshot` of the header of the snapshot that it goes on from.
    """
    head = MAGIC + msgspec.msgpack.encode({"format": list(FORMAT), "npc": npc, "base": base})
    return _checked(b"", head)


def record(delta: Delta, before: bytes) -> tuple[bytes, bytes]:
    """Return a delta as a record behind the one whose check is `before`, and its own check."""
    return _checked(before, msgspec.msgpack.encode(delta))


def examine(snapshot: Snapshot, data: bytes) -> Replay:
    """Return what a journal comes to beside a snapshot; raises nothing."""
    if not data:  # its first write has failed
        return Replay(snapshot)
    try:
        at, check = _read_head(data, snapshot.header)
    except ValueError as e:
        return Replay(snapshot, problem=f"{e!s:.200}")
    state, n, end = _apply_all(snapshot.state, data, at, check)
    if n:
        _take_over_cells(state, snapshot)
        snapshot = replace(snapshot, state=state)
    return Replay(snapshot, n_records=n, whole=data[:end], n_torn=len(data) - end)


def overlay(snapshot: Snapshot, state: Mapping[str, Any]) -> Snapshot:
    """Return a snapshot with a newer state, which its journal does not have yet."""
    newest = _copy(state)
    _take_over_cells(newest, snapshot)
    return replace(snapshot, state=newest, journal="Its newest part is not on the disk yet.")


def _checked(before: bytes, part: bytes) -> tuple[bytes, bytes]:
    check = hashlib.sha256(before + part).digest()[:CHECK_BYTES]
    return part + _CHECK_HEAD + check, check


def _read_head(data: bytes, header: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return where the records begin, and the check before them; raises ValueError."""
    head, at, check = _read_header(data)
    base = header.get("snapshot")
    if base is None or (head.get("base"), head.get("npc")) != (base, header.get("npc")):
        raise ValueError("it belongs to another save")
    return at, check


def _read_header(data: bytes) -> tuple[dict[str, Any], int, bytes]:
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has {len(data)} bytes, and the limit is {MAX_BYTES}")
    if not data.startswith(MAGIC):
        raise ValueError("it is no journal")
    head, at, check = _read(data, len(MAGIC), MAX_HEADER_COST, MAGIC)
    version = head.get("format")
    if not isinstance(version, list) or version[:1] != [FORMAT[0]]:
        raise ValueError(f"its format is {version!r:.100}, and this engine reads {FORMAT[0]}.x")
    return head, at, check


def _read(data: bytes, at: int, max_cost: int, before: bytes) -> tuple[dict[str, Any], int, bytes]:
    """Return the map at `at`, where the next one begins, and its check; raises ValueError."""
    end = measure(data, at, max_cost)
    after = end + len(_CHECK_HEAD) + CHECK_BYTES
    part, check = _checked(before, data[at:end])
    if data[at:after] != part:
        raise ValueError("its checksum does not match")
    value = msgspec.msgpack.decode(memoryview(data)[at:end])
    if not isinstance(value, dict):
        raise ValueError("it is no map")
    return value, after, check


def _apply_all(
    saved: Mapping[str, Any], data: bytes, at: int, check: bytes
) -> tuple[dict[str, Any], int, int]:
    """Return the state after all whole records, how many they are, and where they end."""
    state = _copy(saved)
    n = work = 0
    while at < len(data):
        try:
            delta, end, check = _read(data, at, MAX_RECORD_COST, check)
            work += patch(state, delta)
        except (ValueError, msgspec.MsgspecError):
            break
        at, n = end, n + 1
        if work > MAX_WORK:
            break
    return state, n, at


def _copy(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state whose segments may be changed; the original stays as it is."""
    segments = state.get("segments")
    if not isinstance(segments, list):
        return dict(state)
    return {**state, "segments": [dict(s) if isinstance(s, dict) else s for s in segments]}


def _take_over_cells(state: dict[str, Any], snapshot: Snapshot) -> None:
    """Say which cells of the payload are still good (rule 3), and which have to leave it."""
    saved = snapshot.state["segments"]
    held = snapshot.state.get("holes")
    holes = list(held) if isinstance(held, list) else []  # a stranger's may be anything
    at = end = 0
    complete = snapshot.payload is not None
    for segment in state["segments"]:
        if not isinstance(segment, dict):
            continue  # no valid character: whoever takes it says so
        segment.update(start=0, n_cached=0)
        # With a payload, this installation has written the snapshot: its cells can be trusted.
        found = _find(saved, at, segment) if complete and segment.get("tokens") else None
        if found is None:
            complete = complete and not segment.get("tokens")
            continue
        left = saved[at:found]
        holes += [[s["start"], s["start"] + s["n_cached"]] for s in left if s["n_cached"]]
        at = found + 1
        segment.update(start=saved[found]["start"], n_cached=saved[found]["n_cached"])
        if segment["n_cached"]:
            end = segment["start"] + segment["n_cached"]
        complete = segment["n_cached"] == len(segment["tokens"])
    state["holes"] = holes if [end, -1] in holes else [*holes, [end, -1]]


def _find(saved: list[dict[str, Any]], at: int, segment: dict[str, Any]) -> int | None:
    """Return where a segment stood, from `at` on. What it was called then does not matter."""
    tokens, turn = segment["tokens"], segment.get("turn")
    for i in range(at, len(saved)):
        if saved[i]["tokens"] == tokens and saved[i]["turn"] == turn:
            return i
    return None
