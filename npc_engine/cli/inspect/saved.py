"""`npc-engine inspect FILE|SLOT`: what is in a save, and what a load here would make of it.

Owns which files are meant, and how a report on one looks. It changes nothing; what is in a file is
`report`'s to say. With a model it says what an engine with the default settings would do.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

from npc_engine.cli.output import write
from npc_engine.cli.saves.report import Report, how_it_loads, report_on, reports_on
from npc_engine.cli.saves.text import words
from npc_engine.errors import SnapshotError, UnknownNpc, UnknownSlot
from npc_engine.storage.disk import NAME, unescape
from npc_engine.storage.signing_key import key_if_any
from npc_engine.storage.slot_listing import JOURNAL, SUFFIX, read_slot, steady
from npc_engine.text.tables import counted, size, table
from npc_engine.text.visible import plain

__all__ = ["run"]

Here = Mapping[str, str]
"""`fingerprint`, `vocab`, `markup`, `llama`, `layout` of an engine on this machine."""


def run(args: argparse.Namespace) -> int:
    """Show what is meant; return 1 if something is damaged. Raises NpcError."""
    reports, is_slot = _reports(args.what, Path(args.saves), key_if_any())
    if args.npc is not None:
        reports = [r for r in reports if args.npc in (r.npc, unescape(r.file.stem))]
        if not reports:
            raise UnknownNpc(f"The save {args.what!r} holds no {args.npc!r}.", "Leave out --npc.")
    here = _here(args.model) if args.model is not None else None
    if args.json:
        write(json.dumps([_record(r, here) for r in reports], indent=2))
    elif args.text:
        write("\n".join(row for report in reports for row in _conversation(report)))
    elif is_slot and len(reports) != 1:
        write(_table(reports, here))
    else:
        write("\n".join(_rows(reports[0], here)))
    return 1 if any(r.problem or r.damage for r in reports) else 0


def _reports(what: str, root: Path, key: bytes) -> tuple[list[Report], bool]:
    """Return what is in each file that is meant, and whether that is a folder of them."""
    path, problem = Path(what), f"{what} cannot be read"
    if NAME.fullmatch(what) and root.is_dir():
        with suppress(UnknownSlot) if path.exists() else nullcontext():
            return read_slot(root, what, lambda slot: reports_on(slot, key)), True
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix == SUFFIX)
        if not files:
            raise SnapshotError(f"The folder {what!r} holds no save.", f"Saves end in {SUFFIX}.")
        return steady(lambda: [report_on(p, key, unescape(p.stem)) for p in files], problem), True
    if not path.exists():
        raise SnapshotError(
            f"There is neither a file {what!r} nor such a slot in {str(root)!r}.",
            "Slots are listed by: npc-engine saves list",
        )
    if path.suffix == JOURNAL:
        path = path.with_suffix(SUFFIX)
        if not path.exists():
            raise SnapshotError(
                f"{what!r} is a journal, and there is no {path.name} beside it.",
                "A journal is what changed since a snapshot: put that there, too.",
            )
    return steady(lambda: [report_on(path.resolve(), key)], problem), False


def _here(model_path: Path) -> Here:
    """Return what an engine with this model and the default settings would have."""
    from npc_engine.llama.kv_layout import choose_layout
    from npc_engine.llama.model import LIBRARY_VERSION, Model
    from npc_engine.loading import chat_format_of, n_auto_threads

    model = Model(model_path)
    try:
        layout = choose_layout(model, "auto", "auto", n_auto_threads())
        return {
            "fingerprint": model.fingerprint(),
            "vocab": model.vocab_digest(),
            "markup": chat_format_of(model).markup,
            "llama": LIBRARY_VERSION,
            "layout": str(layout),
        }
    finally:
        model.close()


def _record(report: Report, here: Here | None) -> dict[str, object]:
    by, why = how_it_loads(report, here)
    return {**report.facts(), "loads": {"by": by or None, "why": why}}


def _loads(report: Report, here: Here | None) -> str:
    by, why = how_it_loads(report, here)
    return plain({"payload": f"by its KV cache: {why}", "": why}.get(by, f"from its {by}: {why}"))


def _table(reports: list[Report], here: Here | None) -> str:
    rows: list[tuple[str, ...]] = [("file", "is", "window", "turn", "size", "journal", "loads")]
    for report in reports:
        f = report.facts()
        tokens = f"{f['n_tokens']}/{f['window']}" if report.saved else "-"
        turn = str(f["turn"]) if report.saved else "-"
        how = plain(str(report.problem)) if report.problem else _loads(report, here)
        is_ = "BROKEN" if report.problem or report.damage else "whole"
        journal = plain(report.journal.text) if report.journal else "-"
        rows.append((report.file.name, is_, tokens, turn, size(report.n_bytes), journal, how))
    if not any(report.journal for report in reports):
        rows = [(*row[:-2], row[-1]) for row in rows]
    return table(rows, right=False).rstrip() if len(rows) > 1 else "Nobody is in it."


def _rows(report: Report, here: Here | None) -> Iterator[str]:
    f = report.facts()
    if not report.saved:
        yield f"{report.file.name}: BROKEN"
        yield f"  {plain(str(report.problem))}"
        return
    yield f"{report.file.name}: {f['name']}"
    yield f"  whole       {_whole(report)}"
    yield f"  loads       {_loads(report, here)}"
    if report.journal:
        yield f"  journal     {plain(report.journal.text)}; {size(report.journal.n_bytes)}"
    by = f["written_by"]
    yield plain(
        f"  written by  llama.cpp {by.get('llama', '?')}, KV cache {by.get('layout', '?')}, "
        f"format {'.'.join(map(str, f['format']))}"
    )
    yield plain(f"  model       {by.get('fingerprint', '?')}, vocabulary {by.get('vocab', '?')}")
    yield f"  size        {_size(report)}"
    yield (
        f"  window      {f['n_tokens']} of {f['window']} tokens, {f['n_pinned']} of them pinned; "
        f"{counted(f['n_holes'], 'hole')}, {f['n_evicted']} tokens have left"
    )
    yield f"  turns       {_turns(f['turns'])}; turn {f['turn']} comes next"
    if f["pinned_turns"]:
        yield f"  pinned      {_turns(f['pinned_turns'])}"
    yield f"  not read    {counted(f['n_events'], 'event')}"


def _whole(report: Report) -> str:
    if report.damage:
        return f"NO. {report.damage}"
    if report.snapshot and report.snapshot.trusted:
        return "yes, and signed by this installation"
    return "yes, and not signed by this installation"


def _size(report: Report) -> str:
    text = f"{size(report.n_bytes)}, of which {size(report.n_payload)} KV cache"
    n = report.n_stored
    if not report.n_payload or not n:
        return text
    return f"{text}: {size(report.n_payload // n)} for each of {n} tokens"


def _turns(turns: list[int]) -> str:
    """Return turns as ranges: 1, 4-9."""
    ranges: list[list[int]] = []
    for turn in turns:
        if ranges and turn == ranges[-1][1] + 1:
            ranges[-1][1] = turn
        else:
            ranges.append([turn, turn])
    return ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in ranges) or "none"


def _conversation(report: Report) -> Iterator[str]:
    journal = f", with its journal: {report.journal.text}" if report.journal else ""
    yield plain(f"{report.npc or report.file.name}{journal}")
    if report.saved is None:
        yield f"  BROKEN: {plain(str(report.problem))}"
        return
    yield from words(report.saved)
