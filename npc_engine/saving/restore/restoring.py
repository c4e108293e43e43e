"""Characters as they come back from their files.

Owns what fits this engine: whether a payload may be used (fingerprint, layout, build), what is read
again from its tokens, what is told anew, and what is said of that. It knows no byte of the file
formats, and writes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from npc_engine.characters.stage import Stage
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.kvcache.ledger import Kind
from npc_engine.protocol import Load, Loaded, LoadedNpc, Reply
from npc_engine.saving.journal.journaling import Journaling
from npc_engine.saving.records import keep_header, parse
from npc_engine.saving.restore.amend import Wanted, amend
from npc_engine.saving.restore.reviving import n_cells_of, retell, thaw
from npc_engine.storage.journal.records import overlay
from npc_engine.storage.snapshot import Snapshot
from npc_engine.text.chat_format import ChatFormat

__all__ = ["Restored", "Restoring"]

Source = Literal["payload", "tokens"]

Restored = tuple[Dialogue, Source, str | None]
"""A character, where its KV cache came from, and what there is to say about that."""


class Restoring:
    """Brings characters of a slot onto a stage. `about`: facts of the backend.

    `journaling` has the state of somebody where that is newer than what the disk has.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        stage: Stage,
        clock: Callable[[], float],
        journaling: Journaling,
    ) -> None:
        self._about = about
        self._stage = stage
        self._clock = clock
        self._journaling = journaling

    def place(self, request: Load, came: Mapping[str, Restored], began: float) -> Reply:
        """Put the characters that a load has brought on the stage. `began`: when it was asked for.

        Raises Busy where they would be too many: then nobody comes.
        """
        self._stage.check_room(came)
        for name, (npc, _, _) in came.items():
            self._journaling.replaced(request.slot, name)
            self._stage.add(npc)
        return Loaded(
            id=request.id,
            slot=request.slot,
            npcs=[
                LoadedNpc(npc=name, source=source, notice=notice)
                for name, (_, source, notice) in came.items()
            ],
            ms=(self._clock() - began) * 1000,
        )

    def restore(
        self, slot: str, name: str, snapshot: Snapshot, wanted: Wanted | None = None
    ) -> Restored:
        """Return a character as it was saved, or as it is wanted; raises NpcError."""
        last = self._journaling.last_of(slot, name)
        if last is not None:
            snapshot = overlay(snapshot, last)
        window, differs = None, ""
        if wanted is not None:
            state, window, rereads, differs = amend(snapshot.state, wanted)
            snapshot = replace(snapshot, state=state)
            if rereads:
                snapshot = replace(snapshot, payload=None, notice=None)
        npc, source, notice = self._revive(name, snapshot, window)
        keep_header(npc, snapshot.header)
        told = " ".join(filter(None, (snapshot.journal, differs, notice)))
        return npc, source, told or None

    def _revive(self, name: str, snapshot: Snapshot, wanted: int | None) -> Restored:
        """Return the character of a snapshot; `wanted`: its window, if that is another one."""
        stage = self._stage
        room = {
            "window": stage.window,
            "n_pos": stage.backend.n_pos,
            "most_events": stage.settings.max_events,
        }
        chat_format, cache, now = stage.chat_format, stage.backend, self._clock()
        another = self._another(snapshot)
        if another:
            npc = retell(name, snapshot.state, chat_format, cache, wanted=wanted, **room, now=now)
            return npc, "tokens", f"Saved with another {another}: told anew from its texts."
        payload = snapshot.payload
        why = self._misfit(snapshot) if payload is not None else None
        npc = thaw(
            name,
            snapshot.state,
            chat_format,
            cache,
            wanted=wanted,
            **room,
            n_vocab=self._about["n_vocab"],
            payload=None if why else payload,
            now=now,
        )
        is_whole = npc.sequence.copy is not None
        if payload is not None and why is None and not is_whole:
            why = "its KV cache does not match its ledger"
        notice = snapshot.notice or (why and f"Read again from its tokens: {why}.")
        if notice is None and not npc.knows_world:
            notice = "Its save is from before this world: it knows what it knew then."
        return npc, "payload" if is_whole else "tokens", notice

    def _another(self, snapshot: Snapshot) -> str:
        """What writes otherwise here than where it was saved: then none of its tokens will do."""
        if snapshot.header.get("vocab") != self._about["vocab"]:
            return "model"
        if not _is_in_markup_of(self._stage.chat_format, snapshot.header, snapshot.state):
            return "chat template"
        return ""

    def _misfit(self, snapshot: Snapshot) -> str | None:
        """Why a snapshot's payload cannot be used here, if so."""
        for key, what in (
            ("fingerprint", "the model is another"),
            ("layout", "the KV layout is another"),
            ("llama", "the llama.cpp build is another"),
        ):
            if snapshot.header.get(key) != self._about[key]:
                return what
        if snapshot.header.get("loras"):
            return "the model had adapters (LoRA), and this engine takes none"
        if self._about["model"].get("policy") == "recurrent":  # a state of constant size
            return None
        n_cells, room = n_cells_of(snapshot.state), self._stage.backend.n_cells
        if n_cells > room:
            return f"its KV cache has {n_cells} cells, and a slot of this engine has {room}"
        return None


def _is_in_markup_of(
    chat_format: ChatFormat, header: Mapping[str, Any], state: dict[str, Any]
) -> bool:
    """Whether a saved window is in the markup that this engine's chat template writes.

    A fine-tune may have the vocabulary of the model that made a save and another template: in one
    window with both markups it would know neither. Raises SnapshotError.
    """
    known = header.get("markup")
    if known is not None:
        return bool(known == chat_format.markup)
    # Before 1.2 nothing says which it was: see what stands around the turns. What a reply among
    # others begins with stands behind a CLOSE.
    pieces = {Kind.OPEN: chat_format.open, Kind.CLOSE: chat_format.close, Kind.END: chat_format.end}
    return all(
        s.tokens[: len(piece)] == piece
        for s in parse(state).segments
        if (piece := pieces.get(Kind(s.kind))) is not None
    )
