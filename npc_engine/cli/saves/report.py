"""What is in a saved character's files: are they whole, and what do they hold?

Owns the reading of a snapshot, and of the journal beside it, to facts: what a load would make of
them. It changes nothing; how a slot is laid out is `slot_listing`'s, and how facts are shown,
whoever shows them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from npc_engine.cli.saves.text import name_of
from npc_engine.errors import SnapshotError
from npc_engine.kvcache.ledger import Kind
from npc_engine.saving.records import SavedNpc, card_of, parse, sampling_of
from npc_engine.storage.disk import explain, read_file
from npc_engine.storage.journal.records import Replay
from npc_engine.storage.msgpack_bounds import measure
from npc_engine.storage.slot_listing import JOURNAL, Slot
from npc_engine.storage.slot_reader import read_journal
from npc_engine.storage.snapshot import (
    MAX_FILE_BYTES,
    MAX_PART_COST,
    MAX_STATE_COST,
    Snapshot,
    decode,
)
from npc_engine.text.tables import counted

__all__ = ["Journal", "Report", "how_it_loads", "report_on", "reports_on"]

MAGIC_BYTES = 8
WRITTEN_BY = ("engine", "llama", "fingerprint", "vocab", "markup", "layout")


@dataclass(frozen=True)
class Journal:
    """What is in the journal beside a snapshot. `problem`: why a load leaves it out.

    `n_torn`: bytes behind its last whole record, which a load leaves out.
    """

    file: Path
    n_bytes: int
    n_records: int
    n_turns: int
    n_torn: int
    problem: str | None

    @property
    def damage(self) -> str | None:
        """What is broken of it."""
        if self.problem is not None:
            return f"The journal beside it is left out: {self.problem}."
        if self.n_torn:
            return f"Its journal ends in {counted(self.n_torn, 'byte')} that are no whole record."
        return None

    @property
    def text(self) -> str:
        """What it adds, for people."""
        if self.problem is not None:
            return f"left out: {self.problem}"
        torn = f"; then {counted(self.n_torn, 'byte')} of no whole record" if self.n_torn else ""
        records, turns = counted(self.n_records, "record"), counted(self.n_turns, "turn")
        return f"{records}, {turns} since the save{torn}"

    def facts(self) -> dict[str, Any]:
        """Return all of it as plain JSON types."""
        return {
            "file": str(self.file),
            "n_bytes": self.n_bytes,
            "whole": self.damage is None,
            "problem": self.problem,
            "n_records": self.n_records,
            "n_turns": self.n_turns,
            "n_torn_bytes": self.n_torn,
        }


@dataclass(frozen=True)
class Report:
    """What was found. `problem`: why it cannot be loaded. Sizes in bytes; `n_bytes` of all files.

    Where there is no problem, there are a `snapshot` (its payload dropped, for it may be large)
    and a `saved` character: as a load would have it, with what the `journal` adds. `n_stored`:
    tokens whose cells are in the payload.
    """

    file: Path
    n_bytes: int = 0
    n_payload: int = 0
    n_stored: int = 0
    problem: SnapshotError | None = None
    snapshot: Snapshot | None = None
    saved: SavedNpc | None = None
    journal: Journal | None = None

    @property
    def damage(self) -> str | None:
        """What is broken of files that load all the same."""
        return self.own_damage or (self.journal.damage if self.journal else None)

    @property
    def own_damage(self) -> str | None:
        """What is broken of the snapshot that loads all the same."""
        notice = self.snapshot.notice if self.snapshot else None
        return notice if notice and "is damaged" in notice else None

    @property
    def npc(self) -> str:
        """The character's name in the header; nothing where that is damaged."""
        return str(self.snapshot.header["npc"]) if self.snapshot else ""

    def facts(self) -> dict[str, Any]:
        """Return all of it as plain JSON types."""
        about: dict[str, Any] = {"file": str(self.file), "n_bytes": self.n_bytes}
        if self.problem or not self.snapshot or not self.saved:
            return about | {"whole": False, "problem": str(self.problem)}
        header = self.snapshot.header
        return about | {
            "npc": self.npc,
            "whole": self.damage is None,
            "trusted": self.snapshot.trusted,
            "notice": self.snapshot.notice,
            "format": header["format"],
            "written_by": {key: str(header[key]) for key in WRITTEN_BY if key in header},
            "n_payload_bytes": self.n_payload,
            "journal": self.journal.facts() if self.journal else None,
            **_character(self.saved),
        }


def report_on(path: Path, key: bytes, npc: str | None = None) -> Report:
    """Return what is in a snapshot, and in the journal beside it.

    Raises nothing for a bad one, FileNotFoundError for none. `npc`: whose it is by its name in a
    slot. `key`: the installation's, which signs payloads.
    """
    n_bytes = 0
    try:
        n_bytes = path.stat().st_size
        data = read_file(path, MAX_FILE_BYTES)
        snapshot = decode(data, key)
        if npc is not None and snapshot.header["npc"] != npc:
            raise SnapshotError(
                f"It holds {snapshot.header['npc']!r}, not {npc!r}.", "Give the file its old name."
            )
        return _with_journal(path, n_bytes, data, snapshot)
    except FileNotFoundError:  # a save may have replaced it: whoever asks knows where to look again
        raise
    except OSError as e:
        return Report(path, n_bytes, problem=explain(e, f"{path.name} cannot be read"))
    except MemoryError:
        problem = SnapshotError("It is larger than the free memory.", "Close other programs.")
        return Report(path, n_bytes, problem=problem)
    except SnapshotError as e:
        return Report(path, n_bytes, problem=e)


def _with_journal(path: Path, n_bytes: int, data: bytes, snapshot: Snapshot) -> Report:
    before = _saved(snapshot)
    found = _replayed(snapshot, path.with_suffix(JOURNAL))
    saved = _saved(found.snapshot) if found else before
    journal = _journal(path.with_suffix(JOURNAL), found, saved.turn - before.turn)
    return Report(
        path,
        n_bytes + (journal.n_bytes if journal else 0),
        len(snapshot.payload) if snapshot.payload else _rest(data, snapshot),
        sum(s.n_cached for s in before.segments),
        snapshot=replace(found.snapshot if found else snapshot, payload=None),
        saved=saved,
        journal=journal,
    )


def _replayed(snapshot: Snapshot, path: Path) -> Replay | None:
    if not os.path.lexists(path):
        return None
    found = read_journal(snapshot, path)
    # Beside an engine: what was being written when it was read is whole by now.
    return read_journal(snapshot, path) if found.n_torn else found


def _journal(path: Path, found: Replay | None, n_turns: int) -> Journal | None:
    if found is None:
        return None
    n_bytes = len(found.whole) + found.n_torn if found.problem is None else path.lstat().st_size
    # It may have gone back in the talk since the save.
    return Journal(path, n_bytes, found.n_records, max(0, n_turns), found.n_torn, found.problem)


def reports_on(slot: Slot, key: bytes) -> list[Report]:
    """Return what is in the file of each character of a slot; raises as `report_on`."""
    return [report_on(c.files[0], key, c.npc) for c in slot.characters]


def how_it_loads(report: Report, here: Mapping[str, str] | None) -> tuple[str, str]:
    """Return (by what a load goes on, why): "payload", "tokens", "texts" or, never, "".

    `here`: `fingerprint`, `vocab`, `markup`, `llama` and `layout` of an engine; None where none is
    known.
    """
    if report.snapshot is None:
        return "", "it cannot be loaded"
    header = report.snapshot.header
    if here and header.get("vocab") != here["vocab"]:
        return "texts", "the model has another vocabulary"
    if here and here.get("markup") != header.get("markup", here.get("markup")):
        return "texts", "the model has another chat template"
    if report.snapshot.notice:
        return "tokens", report.snapshot.notice
    if not report.n_payload:
        return "tokens", "it was saved without its KV cache"
    if header.get("loras"):
        return "tokens", "the model had adapters (LoRA), and engines of this version take none"
    has_more = report.journal is not None and report.journal.n_records > 0
    more = "; what its journal adds is read" if has_more else ""
    if here is None:
        return "payload", f"if model, KV layout and llama.cpp are as they were{more}"
    for key, what in (("fingerprint", "model"), ("layout", "KV layout"), ("llama", "llama.cpp")):
        if header.get(key) != here[key]:
            return "tokens", f"the {what} is another: {here[key]}"
    return "payload", f"model, KV layout and llama.cpp are as they were{more}"


def _saved(snapshot: Snapshot) -> SavedNpc:
    """Return the character as a load takes it; raises SnapshotError."""
    saved = parse(snapshot.state)
    card_of(saved)
    sampling_of(saved)
    return saved


def _rest(data: bytes, snapshot: Snapshot) -> int:
    """Return the bytes behind the state that are no trailer: a payload that was dropped."""
    if snapshot.trusted:
        return 0
    at = MAGIC_BYTES
    for cost in (MAX_PART_COST, MAX_STATE_COST, MAX_PART_COST):
        at = measure(data, at, cost)
    return len(data) - at


def _character(saved: SavedNpc) -> dict[str, Any]:
    past = [s for s in saved.segments if s.kind is not Kind.PERSONA]
    n_tokens = sum(len(s.tokens) for s in saved.segments)
    return {
        "name": name_of(saved),
        "window": saved.window,
        "n_tokens": n_tokens,
        "n_cached": sum(s.n_cached for s in saved.segments),
        "n_pinned": sum(len(s.tokens) for s in saved.segments if s.pinned),
        "turn": saved.turn,
        "turns": sorted({s.turn for s in past if s.turn < saved.turn}),
        "pinned_turns": sorted({s.turn for s in past if s.pinned}),
        "n_evicted": saved.n_evicted,
        "n_renumbered": saved.n_renumbered,
        "n_holes": _n_holes(saved),
        "n_events": len(saved.events) + len(saved.heard),
    }


def _n_holes(saved: SavedNpc) -> int:
    """Return how often the cached positions skip some, where turns have left."""
    cached = [s for s in saved.segments if s.n_cached]
    return sum(b.start > a.start + a.n_cached for a, b in pairwise(cached))
