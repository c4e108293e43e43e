"""`save`, `load` and `spawn {restore}`: between the stage and the files.

Owns what is being written, and who waits for it. Characters are copied out by `copying`, between
steps; one writer thread gets finished bytes. What comes between two saves is `journaling`'s. It
knows no byte of the file formats.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from npc_engine.characters.replies import Send
from npc_engine.characters.stage import Stage
from npc_engine.errors import BadMessage, SnapshotError, UnknownNpc
from npc_engine.protocol import Error, Load, Reply, Save, Saved, error_reply
from npc_engine.saving.autosave import AUTOSAVE, BEFORE, Autosave
from npc_engine.saving.copying import Copying, Ended, Job, Purpose, Unsavable
from npc_engine.saving.files import Files
from npc_engine.saving.journal.journaling import Journaling
from npc_engine.saving.restore.arrivals import Arrival, Arrivals
from npc_engine.saving.restore.held_requests import HeldRequests
from npc_engine.saving.restore.restoring import Restored, Restoring
from npc_engine.scheduling.scheduler import Scheduler
from npc_engine.storage.writer import WriterThread

__all__ = ["Saving"]

log = logging.getLogger("npc_engine")

POLL_S = 0.005  # how often a file write under way is looked after
FOLDED = 64  # journals that one save takes the place of, at most


class Saving:
    """Saves and loads the characters of a stage, as its settings say.

    `about`: facts of the backend; `scheduler` knows how fast the machine reads; `held`: what waits
    for a load; `thread` writes files.
    """

    def __init__(
        self,
        stage: Stage,
        about: Mapping[str, Any],
        scheduler: Scheduler,
        held: HeldRequests,
        thread: WriterThread,
        send: Send,
        clock: Callable[[], float],
    ) -> None:
        settings = stage.settings
        files = Files(Path(settings.saves), thread, settings.keep, unkept=(AUTOSAVE, BEFORE))
        self._files = files
        self._stage = stage
        self._send = send
        self._clock = clock
        self._journaling = Journaling(stage, files, clock, AUTOSAVE)
        self._restoring = Restoring(about, stage, clock, self._journaling)
        self._arrivals = Arrivals(stage, files, self._journaling, self._restoring, held, send)
        self._autosave = Autosave(settings.autosave, stage, self._journaling, clock)
        self._copying = Copying(stage, about, clock, files, scheduler, settings.save_kv)
        self._writing: deque[Job] = deque()

    def save(self, client: bytes, request: Save) -> None:
        """Begin to save; `saved` comes when the files are safe on disk."""
        if request.mode not in ("full", "journal"):  # a Struct made in Python is not validated
            raise BadMessage(f"The mode of a save is {request.mode!r}.", "It is full or journal.")
        names = list(self._stage.characters) if request.npcs is None else request.npcs
        for name in names:
            self._stage.find(name)
        if not names:
            raise UnknownNpc("There is no character to save.", "Spawn one first.")
        self._queue("save", request, names, client)

    def _queue(
        self, purpose: Purpose, request: Save, names: Iterable[str], client: bytes = b""
    ) -> None:
        # Nobody's own saves into the autosave have KV caches: twenty of 22 MB every minute would be
        # 27 GB an hour, for a crash.
        kv = purpose == "save" or request.slot != AUTOSAVE
        unique = deque(dict.fromkeys(names))
        self._copying.queue(Job(purpose, request, unique, self._clock(), client, kv))

    def _autosave_all(self, purpose: Purpose, names: list[str]) -> None:
        """Save into the autosave; others of its slot stay there."""
        if names:
            self._queue(purpose, Save(id="", slot=AUTOSAVE, npcs=names, mode="journal"), names)

    def _fold(self, slot: str, name: str) -> None:
        """Save a character whose journal has become long: nobody asked, so no backup moves up.

        Those of a crowd become so at one time. Many are one save, since each links all the others;
        not all of them, since turns that end wait while one is written.
        """
        for job in self._copying.jobs:
            n = len(job.who) + len(job.names)
            if job.purpose == "fold" and job.slot == slot and n < FOLDED:
                job.names.append(name)
                job.request.npcs = [*(job.request.npcs or ()), name]
                return
        self._queue("fold", Save(id="", slot=slot, npcs=[name], mode="journal"), [name])

    def step(self, is_line: bool = False) -> bool:
        """Copy out one character, and answer what has been written.

        `is_line`: this step was one of a line. Returns whether somebody may have come on the stage.
        """
        self._hand_on(self._copying.step(is_line and not self._arrivals.waits_for_saves))
        self._note_written()
        came = self._arrivals.step(is_line)
        self._journaling.step(put_off=self._arrivals.slots)
        self._autosave_all("autosave", self._autosave.step())
        return came

    def _hand_on(self, ended: Ended) -> None:
        for job, error in ended:
            if error is None:
                self._write(job)
            else:
                self._answer(job, error_reply(error, job.request.id))

    def _write(self, job: Job) -> None:
        slot, merge, journals = job.slot, job.request.npcs is not None, self._files.journals
        late = {**job.late, **self._journaling.late(slot, job.who)}
        first = {npc: partial(journals.first, npc, *job.states[npc], late[npc]) for npc in late}
        then = partial(
            journals.begin, slot, job.states, new=job.journals, alone=not merge, late=late
        )
        if job.journals:
            self._journaling.begin(slot, job.who)
        self._journaling.copied(slot, job.who)
        self._writing.append(job)
        self._files.writer.submit(
            slot,
            job.files,
            merge=merge,
            tag=job,
            journals=first,
            backup=job.backup,
            before=partial(self._before, job.purpose),
            then=then,
        )

    def _before(self, purpose: Purpose) -> None:
        """On the thread that writes files."""
        if purpose in ("autosave", "newcomers"):
            self._autosave.keep_before(self._files.store)

    def _note_written(self) -> None:
        for job, result in self._files.finished():
            self._writing.remove(job)
            job.phase = "over"
            if isinstance(result, SnapshotError):
                self._journaling.lost(job.slot, job.who)
            else:
                self._journaling.saved(job.slot, job.who, begins=job.journals)
            if isinstance(result, Unsavable) and job.is_own:
                self._save_without(job, result)
            else:
                self._answer(job, self._reply(job, result))
        for slot, name in self._journaling.note_written():
            self._fold(slot, name)

    def _save_without(self, job: Job, error: Unsavable) -> None:
        """Save the others: nobody who asked for this can be told to leave one out."""
        log.error("%s %s", error.message, error.help)
        self._journaling.failed(job.slot, [error.npc], error.message)
        others = [name for name in job.files if name != error.npc]
        if others:
            self._queue(job.purpose, msgspec.structs.replace(job.request, npcs=others), others)
        else:
            self._post(job, Saved(id=job.request.id, slot=job.slot, npcs=[], n_bytes=0, ms=0.0))

    def _answer(self, job: Job, reply: Reply) -> None:
        if isinstance(reply, Error) and job.journals:
            again = [j.who for j in self._writing if j.journals and j.slot == job.slot]
            names = [n for n in job.request.npcs or job.who if not any(n in who for who in again)]
            self._journaling.failed(job.slot, names, reply.message)
        self._post(job, reply)

    def _post(self, job: Job, reply: Reply) -> None:
        if job.purpose == "save":
            self._send(job.client, reply)
        elif job.purpose == "autosave":
            self._autosave.note(reply)

    def _reply(self, job: Job, result: int | SnapshotError) -> Reply:
        if isinstance(result, SnapshotError):
            return error_reply(result, job.request.id)
        return Saved(
            id=job.request.id,
            slot=job.slot,
            npcs=sorted(job.files),
            n_bytes=result,
            ms=(self._clock() - job.began) * 1000,
        )

    def load(self, client: bytes, request: Load) -> None:
        """Put the characters of a slot on the stage; none of them if one cannot be loaded.

        `loaded` comes after the saves of that slot that are under way.
        """
        began = self._clock()

        def place(came: dict[str, Restored]) -> Reply:
            return self._restoring.place(request, came, began)

        self.bring(Arrival(client, request.id, request.slot, request.npcs, place))

    def bring(self, arrival: Arrival) -> None:
        """Bring characters of a slot, behind the saves that were asked for before."""
        arrival.after = {*self._copying.jobs, *self._writing}
        self._arrivals.add(arrival)

    def patience(self) -> float | None:
        """Return the seconds until the next look is due; None when nothing is under way."""
        if self._copying or self._arrivals.is_ready:
            return 0.0
        if self._files.is_writing or self._arrivals or self._journaling.rounds.n_under_way:
            return POLL_S
        waits = (self._journaling.patience(), self._autosave.patience())
        return min((wait for wait in waits if wait is not None), default=None)

    def leaving(self, name: str) -> None:
        """Copy out at once who leaves for good, where a save is to have them."""
        self._autosave_all("newcomers", self._autosave.newcomers(name))
        self._hand_on(self._copying.copy_now(name))

    def left(self, name: str) -> None:
        """Journal the last of a character that has left the stage.

        A save that has it already as it was before takes the place of that journal.
        """
        for job in self._copying.jobs:
            if name in job.who:
                who = {name: job.who[name]}
                job.late.update(self._journaling.late(job.slot, who, begins=job.journals))
        self._journaling.leave(name)

    def stats(self) -> dict[str, Any]:
        """Return figures for `stats`."""
        error = self._journaling.error or self._autosave.error
        return {"n_journaled": len(self._journaling.table), "journal_error": error}

    def close(self, timeout: float) -> None:
        """Finish what is being saved, in `timeout` or a little more; answer every `save`."""
        self._autosave_all("newcomers", self._autosave.newcomers())
        self._hand_on(self._copying.all_at_once())
        self._journaling.flush()
        n_files = sum(len(job.files) for job in self._writing)
        self._files.close(timeout, n_files + self._journaling.rounds.n_under_way)
        self._note_written()
        self._arrivals.close(timeout)
        for job in self._writing:
            late = SnapshotError(
                f"The slot {job.slot!r} was not written in time: the engine closes.",
                "It holds the save of before, or this one if the disk is done yet.",
            )
            self._post(job, error_reply(late, job.request.id))
