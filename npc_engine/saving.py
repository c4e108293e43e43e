"""`save`, `load` and `spawn {restore}`: between the stage and the files.

Owns what fits this engine (fingerprint, layout, signature) and who is being saved. State is copied
out between steps, one character at a time; one writer thread gets finished bytes. It knows no
byte of the file format.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from npc_engine import __version__
from npc_engine.character import Send
from npc_engine.errors import Internal, NpcError, RequestError, SnapshotError, UnknownNpc
from npc_engine.frozen import freeze, retell, thaw
from npc_engine.installation import installation_key
from npc_engine.messages import Load, Loaded, LoadedNpc, Reply, Save, Saved, error_reply
from npc_engine.newer import keep_header
from npc_engine.npc import Npc
from npc_engine.payload import Payload
from npc_engine.snapshot import Snapshot, encode
from npc_engine.stage import Stage
from npc_engine.store import Store
from npc_engine.writer import Writer, WriterThread

__all__ = ["Saving"]

log = logging.getLogger("npc_engine")

POLL_S = 0.005  # how often a file write under way is looked after

Answer = Callable[[], Reply]
Source = Literal["payload", "tokens"]
Restored = tuple[Npc, Source, str | None]


@dataclass(eq=False)
class _Job:
    """A `save` under way."""

    client: bytes
    request: Save
    names: deque[str]
    began: float
    files: dict[str, Callable[[], bytes]] = field(default_factory=dict)


class _Read(NamedTuple):
    """A request that waits until a slot has been written."""

    slot: str
    client: bytes
    request_id: str
    answer: Answer


class Saving:
    """Saves and loads the characters of a stage. `about`: facts of the backend."""

    def __init__(
        self,
        root: Path,
        about: Mapping[str, Any],
        stage: Stage,
        send: Send,
        clock: Callable[[], float],
        key: bytes | None = None,
        thread: WriterThread | None = None,
    ) -> None:
        self._root = root
        self._thread = thread
        self._about = about
        self._stage = stage
        self._send = send
        self._clock = clock
        self._given_key = key
        self._opened: tuple[bytes, Store, Writer] | None = None
        self._copying: deque[_Job] = deque()
        self._writing: deque[_Job] = deque()
        self._reading: list[_Read] = []

    @property
    def _files(self) -> tuple[bytes, Store, Writer]:
        """Key, store and writer; nothing is touched on disk before the first save or load."""
        if self._opened is None:
            key = self._given_key or installation_key()
            store = Store(self._root, key)
            self._opened = key, store, Writer(store, self._thread)
        return self._opened

    def save(self, client: bytes, request: Save) -> None:
        """Begin to save; `saved` comes when the files are safe on disk."""
        names = list(self._stage.characters) if request.npcs is None else request.npcs
        for name in names:
            self._stage.find(name)
        if not names:
            raise UnknownNpc("There is no character to save.", "Spawn one first.")
        self._copying.append(_Job(client, request, deque(dict.fromkeys(names)), self._clock()))

    def step(self) -> bool:
        """Copy out one character, and answer what has been written.

        Returns whether somebody may have come on the stage.
        """
        if self._copying:
            self._copy_one(self._copying[0])
        if self._opened is None:
            return False
        for _, result in self._opened[2].finished():  # in the order of the submits
            job = self._writing.popleft()
            self._send(job.client, self._answer(job, result))
        return self._answer_reads()

    def after_writing(self, slot: str, client: bytes, request_id: str, answer: Answer) -> None:
        """Give the answer of a request that reads a slot, once no save of it is under way."""
        self.copy_all()
        self._reading.append(_Read(slot, client, request_id, answer))
        self._answer_reads()

    def _answer_reads(self) -> bool:
        under_way = {job.request.slot for job in self._writing}
        ready = [read for read in self._reading if read.slot not in under_way]
        for read in ready:
            self._reading.remove(read)
            try:
                reply = read.answer()
            except NpcError as error:
                reply = error_reply(error, read.request_id)
            except Exception:  # not on to whoever's request or step this is
                log.exception("reading %r failed", read.slot)
                failed = Internal("The engine failed at this load.", "Its log has the details.")
                reply = error_reply(failed, read.request_id)
            self._send(read.client, reply)
        return bool(ready)

    def copy_all(self) -> None:
        """Copy out at once what is to be saved, because somebody leaves the stage."""
        while self._copying:
            self._copy_one(self._copying[0])

    def _copy_one(self, job: _Job) -> None:
        name = job.names.popleft()
        try:
            key, _, writer = self._files
            character = self._stage.find(name)
            character.catch_up()  # what is taken back is not to be saved any more
            inbox = character.inbox
            character.npc.stop_reading_again()  # half of it would be saved
            now = self._clock()
            state = freeze(character.npc, inbox.events(now), inbox.lines(), now=now)
            payload = character.npc.sequence.payload()
        except Exception as error:
            self._copying.popleft()
            if not isinstance(error, NpcError):
                log.exception("saving %r failed", name)
                error = Internal("The engine failed at this save.", "Its log has the details.")
            self._send(job.client, error_reply(error, job.request.id))
            return
        # Checksums of a payload take longer than a step may, and a parked one may be on disk: the
        # writer's thread makes the bytes.
        header = {**character.npc.extra_header, **self._header(name)}
        job.files[name] = partial(_encoded, header, state, payload, key)
        if not job.names:
            self._writing.append(self._copying.popleft())
            merge = job.request.npcs is not None
            writer.submit(job.request.slot, job.files, merge=merge, tag=None)

    def _header(self, name: str) -> dict[str, Any]:
        about = self._about
        return {
            "npc": name,
            "engine": __version__,
            "fingerprint": about["fingerprint"],
            "vocab": about["vocab"],
            "layout": about["layout"],
            "llama": about["llama"],
            "loras": [],  # no engine has any yet
        }

    def _answer(self, job: _Job, result: int | SnapshotError) -> Reply:
        if isinstance(result, SnapshotError):
            return error_reply(result, job.request.id)
        return Saved(
            id=job.request.id,
            slot=job.request.slot,
            npcs=sorted(job.files),
            n_bytes=result,
            ms=(self._clock() - job.began) * 1000,
        )

    def patience(self) -> float | None:
        """Return the seconds until the next look is due; None when nothing is under way."""
        if self._copying:
            return 0.0
        writing = self._opened is not None and self._opened[2].n_pending > 0
        return POLL_S if writing else None

    def close(self, timeout: float) -> None:
        """Finish what is being saved, within `timeout` seconds; answer every `save`."""
        self.copy_all()
        if self._opened is not None:
            self._opened[2].close(timeout)
            self.step()
        for read in self._reading:
            gone = SnapshotError(
                f"The slot {read.slot!r} was not read: the engine closes.", "Load it again."
            )
            self._send(read.client, error_reply(gone, read.request_id))
        for job in self._writing:
            late = SnapshotError(
                f"The slot {job.request.slot!r} was not written in time: the engine closes.",
                "It holds the save of before, or this one if the disk is done yet.",
            )
            self._send(job.client, error_reply(late, job.request.id))

    def load(self, client: bytes, request: Load) -> None:
        """Put the characters of a slot on the stage; none of them if one cannot be loaded.

        `loaded` comes after the saves of that slot that are under way.
        """
        self.after_writing(request.slot, client, request.id, lambda: self._load(request))

    def _load(self, request: Load) -> Reply:
        began = self._clock()
        snapshots = self._files[1].read(request.slot, request.npcs)
        restored = {name: self._restore(name, s) for name, s in snapshots.items()}
        self._stage.check_room(restored)
        for npc, _, _ in restored.values():
            self._stage.add(npc)
        return Loaded(
            id=request.id,
            slot=request.slot,
            npcs=[
                LoadedNpc(npc=name, source=source, notice=notice)
                for name, (_, source, notice) in restored.items()
            ],
            ms=(self._clock() - began) * 1000,
        )

    def restore(self, slot: str, name: str) -> Restored | None:
        """Return one character of a slot, or None when the slot does not hold it."""
        store = self._files[1]
        if name not in store.npcs(slot):
            return None
        return self._restore(name, store.read(slot, [name])[name])

    def _restore(self, name: str, snapshot: Snapshot | RequestError) -> Restored:
        if isinstance(snapshot, RequestError):
            raise snapshot
        stage = self._stage
        room = {"window": stage.window, "n_pos": stage.room.n_pos}
        now = self._clock()
        if snapshot.header.get("vocab") != self._about["vocab"]:
            npc = retell(name, snapshot.state, stage.voice, stage.room, **room, now=now)
            keep_header(npc, snapshot.header)
            return npc, "tokens", "Saved with another model: told anew from its texts."
        why = self._misfit(snapshot)
        npc = thaw(
            name,
            snapshot.state,
            stage.voice,
            stage.room,
            **room,
            n_vocab=self._about["n_vocab"],
            payload=None if why else snapshot.payload,
            now=now,
        )
        keep_header(npc, snapshot.header)
        if why is None and npc.sequence.copy is None:
            why = "its KV cache does not match its ledger"
        notice = snapshot.notice or (why and f"Read again from its tokens: {why}.")
        if notice is None and not npc.knows_world:
            notice = "Its save is from before this world: it knows what it knew then."
        return npc, "tokens" if why else "payload", notice

    def _misfit(self, snapshot: Snapshot) -> str | None:
        """Why a snapshot's payload cannot be used here, if so."""
        if snapshot.payload is None:
            return "no usable KV cache in the save"
        for key, what in (
            ("fingerprint", "the model is another"),
            ("layout", "the KV layout is another"),
            ("llama", "the llama.cpp build is another"),
        ):
            if snapshot.header.get(key) != self._about[key]:
                return what
        if snapshot.header.get("loras"):
            return "the model had adapters (LoRA), and this engine takes none"
        return None


def _encoded(
    header: Mapping[str, Any], state: Mapping[str, Any], payload: Payload | None, key: bytes
) -> bytes:
    parts = payload.read() if payload is not None else None
    return encode(header, state, parts[0] if parts else None, key)  # without, a load reads again
