"""What is in a saved character's file, told to people: is it whole, and what does it hold?

Owns the reading of one file to facts and to text. It changes nothing; how a slot is laid out is
`saves_folder`'s, and how facts are shown, whoever shows them. Everything in a file may be a
stranger's: `plain` makes it fit for a terminal.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from npc_engine.bounds import measure
from npc_engine.card import Card
from npc_engine.durable import explain, read_file
from npc_engine.errors import CardError, SnapshotError
from npc_engine.frozen import SavedNpc, SavedSegment
from npc_engine.journal import MAX_BYTES, replay
from npc_engine.ledger import Kind
from npc_engine.saves_folder import Slot
from npc_engine.snapshot import MAX_FILE_BYTES, MAX_PART_COST, MAX_STATE_COST, Snapshot, decode

__all__ = [
    "Report",
    "counted",
    "how_it_loads",
    "plain",
    "report_on",
    "reports_on",
    "size",
    "words",
    "write",
]

JOURNAL = ".journal"
MAGIC_BYTES = 8
WRITTEN_BY = ("engine", "llama", "fingerprint", "vocab", "layout")
MARKS = {Kind.SAID: "> ", Kind.EVENT: "* ", Kind.NOTE: "# "}


@dataclass(frozen=True)
class Report:
    """What was found. `problem`: why it cannot be loaded. Sizes in bytes.

    Where there is no problem, there are a `snapshot` (its payload dropped, for it may be large)
    and a `saved` character.
    """

    file: Path
    n_bytes: int = 0
    n_payload: int = 0
    problem: SnapshotError | None = None
    snapshot: Snapshot | None = None
    saved: SavedNpc | None = None

    @property
    def damage(self) -> str | None:
        """What is broken of a file that loads all the same."""
        notice, journal = (
            (self.snapshot.notice, self.snapshot.journal) if self.snapshot else (None, None)
        )
        if journal and ("left out" in journal or "cannot be read" in journal):
            return journal
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
            "journal": self.snapshot.journal,
            "format": header["format"],
            "written_by": {key: str(header[key]) for key in WRITTEN_BY if key in header},
            "n_payload_bytes": self.n_payload,
            **_character(self.saved),
        }


def report_on(path: Path, key: bytes, npc: str | None = None) -> Report:
    """Return what is in a file; raises nothing for a bad one, FileNotFoundError for none.

    `npc`: whose it is by its name in a slot. `key`: the installation's, which signs payloads.
    """
    n_bytes = 0
    try:
        n_bytes = path.stat().st_size
        data = read_file(path, MAX_FILE_BYTES)
        snapshot = _with_journal(decode(data, key), path)
        if npc is not None and snapshot.header["npc"] != npc:
            raise SnapshotError(
                f"It holds {snapshot.header['npc']!r}, not {npc!r}.", "Give the file its old name."
            )
        saved = _saved(snapshot)
        n_payload = len(snapshot.payload) if snapshot.payload else _rest(data, snapshot)
    except FileNotFoundError:  # a save may have replaced it: whoever asks knows where to look again
        raise
    except OSError as e:
        return Report(path, n_bytes, problem=explain(e, f"{path.name} cannot be read"))
    except MemoryError:
        problem = SnapshotError("It is larger than the free memory.", "Close other programs.")
        return Report(path, n_bytes, problem=problem)
    except SnapshotError as e:
        return Report(path, n_bytes, problem=e)
    return Report(path, n_bytes, n_payload, None, replace(snapshot, payload=None), saved)


def reports_on(slot: Slot, key: bytes) -> list[Report]:
    """Return what is in the file of each character of a slot; raises as `report_on`."""
    return [report_on(c.files[0], key, c.npc) for c in slot.characters]


def how_it_loads(report: Report, here: Mapping[str, str] | None) -> tuple[str, str]:
    """Return (by what a load goes on, why): "payload", "tokens", "texts" or, never, "".

    `here`: `fingerprint`, `vocab`, `llama` and `layout` of an engine; None where none is known.
    """
    if report.snapshot is None:
        return "", "it cannot be loaded"
    header = report.snapshot.header
    if here and header.get("vocab") != here["vocab"]:
        return "texts", "the model has another vocabulary"
    if report.snapshot.notice:
        return "tokens", report.snapshot.notice
    if not report.n_payload:
        return "tokens", "it was saved without its KV cache"
    if header.get("loras"):
        return "tokens", "the model had adapters (LoRA), and engines of this version take none"
    if here is None:
        return "payload", "if model, KV layout and llama.cpp are as they were"
    for key, what in (("fingerprint", "model"), ("layout", "KV layout"), ("llama", "llama.cpp")):
        if header.get(key) != here[key]:
            return "tokens", f"the {what} is another: {here[key]}"
    return "payload", "model, KV layout and llama.cpp are as they were"


def words(saved: SavedNpc) -> Iterator[str]:
    """Yield the conversation that is in the window, row by row."""
    name = _name(saved)
    turn = None
    for segment in saved.segments:
        if segment.kind is Kind.PERSONA or not segment.text.strip():
            continue
        if segment.turn != turn:
            turn = segment.turn
            yield _head(segment, is_open=turn == saved.turn)
        mark = MARKS.get(Kind(segment.kind), f"{name}: " if segment.kind is Kind.REPLY else "  ")
        yield from _rows(mark, segment.text)
    waiting = [*(event[0] for event in saved.events), *saved.heard]
    if waiting:
        yield "not read yet"
        for text in waiting:
            yield from _rows("* ", text)


def plain(text: str) -> str:
    """Return a text without what could move a terminal's cursor or turn its letters round."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def counted(n: int, what: str) -> str:
    """Return `1 file`, `2 files`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def size(n_bytes: int) -> str:
    """Return a number of bytes as people read it."""
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    units = ("kB", "MB", "GB", "TB")
    value, i = n_bytes / 1000, 0
    while value >= 999.5 and i < len(units) - 1:
        value, i = value / 1000, i + 1
    unit = units[i]
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def write(text: str) -> None:
    """Write a row to stdout, whatever letters its encoding lacks."""
    if sys.stdout is None:  # closed, or a program with windows and no console
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def _head(segment: SavedSegment, is_open: bool) -> str:
    notes = ["pinned"] if segment.pinned else ["not answered yet"] if is_open else []
    return f"turn {segment.turn}" + "".join(f" ({note})" for note in notes)


def _rows(mark: str, text: str) -> Iterator[str]:
    first, *rest = text.strip().splitlines()
    yield f"  {mark}{plain(first)}"
    for row in rest:
        yield f"  {' ' * len(mark)}{plain(row)}"


def _saved(snapshot: Snapshot) -> SavedNpc:
    try:
        saved = msgspec.convert(snapshot.state, SavedNpc)
        Card.from_map(saved.card)
    except (
        *(msgspec.ValidationError, ValueError, RecursionError, OverflowError),
        CardError,
    ) as e:
        raise SnapshotError(
            f"It holds no valid character: {e!s:.200}", "Put a copy of the file back."
        ) from None
    return saved


def _with_journal(snapshot: Snapshot, path: Path) -> Snapshot:
    """Return a snapshot with what the journal beside its file adds, as a load would."""
    journal = path.with_suffix(JOURNAL)
    try:
        return replay(snapshot, read_file(journal, MAX_BYTES))
    except FileNotFoundError:
        return snapshot
    except OSError as e:
        return replace(snapshot, journal=explain(e, f"{journal.name} cannot be read").message)
    except SnapshotError as e:
        return replace(snapshot, journal=f"The journal beside it is left out: {e.message}")


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
        "name": _name(saved),
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


def _name(saved: SavedNpc) -> str:
    return plain(Card.from_map(saved.card).char)
