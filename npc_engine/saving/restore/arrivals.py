"""Characters on their way from a slot to the stage: `load` and `spawn {restore}`.

Owns what each of these waits for, and that one is all or nothing: first the slot gets all that it
is to have, then its characters are read on a thread of their own, and made one by one between the
steps of the engine; when all are there they come on the stage together. Meanwhile whoever they
replace stands still, and what is asked of them waits (`held_requests`). It knows no byte of a file.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from npc_engine.characters.replies import Send
from npc_engine.characters.stage import Stage
from npc_engine.errors import Internal, NpcError, SnapshotError
from npc_engine.protocol import Reply, error_reply
from npc_engine.saving.copying import Job
from npc_engine.saving.files import Files
from npc_engine.saving.journal.journaling import Journaling
from npc_engine.saving.restore.amend import Wanted
from npc_engine.saving.restore.held_requests import HeldRequests
from npc_engine.saving.restore.reader import AHEAD_BYTES, SlotReader
from npc_engine.saving.restore.restoring import Restored, Restoring
from npc_engine.storage.writer import WriterThread

__all__ = ["Arrival", "Arrivals"]

log = logging.getLogger("npc_engine")

MOST_AT_ONCE = 8  # are made in one step where nobody speaks, else one
MOST_READ = 16  # requests whose slots are read at one time


@dataclass(eq=False)
class Arrival:
    """A request that brings characters of a slot (`npcs`, None: all of them).

    `answer` puts them on the stage, and returns what to say of that. `wanted`: what is asked of the
    one who comes, if the slot holds it. `after`: saves that were asked for before.
    """

    client: bytes
    request_id: str
    slot: str
    npcs: Sequence[str] | None
    answer: Callable[[dict[str, Restored]], Reply]
    wanted: Wanted | None = None
    after: Collection[Job] = ()
    names: frozenset[str] = frozenset()  # who stands still, from when the saves are written
    to_flush: deque[str] | None = None  # whose last is to be written; None before that time
    reading: SlotReader | None = None
    came: dict[str, Restored] = field(default_factory=dict)

    @property
    def waits_for_saves(self) -> bool:
        """Whether saves before it are not written, or into other slots not even copied."""
        return any(
            job.phase == "copying" or (job.phase == "writing" and job.slot == self.slot)
            for job in self.after
        )


class Arrivals:
    """Those that are under way.

    Until the saves before it are written one holds up nobody; from then on (mostly at once) whom it
    brings is blocked, so that the slot has the last of them, and all that comes behind is for those
    that come out of it. From then on they also keep their order.
    """

    def __init__(
        self,
        stage: Stage,
        files: Files,
        journaling: Journaling,
        restoring: Restoring,
        held: HeldRequests,
        send: Send,
    ) -> None:
        self._stage = stage
        self._files = files
        self._thread = WriterThread("npc-engine-reads")  # a load does not wait for a slow write
        self._journaling = journaling
        self._restoring = restoring
        self._held = held
        self._send = send
        self._all: list[Arrival] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def slots(self) -> set[str]:
        """Which slots are to be read as soon as all is written."""
        waiting = (a for a in self._all if a.to_flush is not None and a.reading is None)
        return {arrival.slot for arrival in waiting}

    @property
    def is_ready(self) -> bool:
        """Whether one can go on at once."""
        return any(a.to_flush or (a.reading and a.reading.has_some) for a in self._all)

    @property
    def waits_for_saves(self) -> bool:
        """Whether one waits for what is still to be copied, or to be written."""
        return any(arrival.to_flush is None for arrival in self._all)

    def add(self, arrival: Arrival) -> None:
        """Begin with one."""
        self._all.append(arrival)
        self._block(arrival)

    def _block(self, arrival: Arrival) -> bool:
        """Let whom it brings stand still, once the saves before it are written."""
        if arrival.to_flush is None and not arrival.waits_for_saves:
            store, npcs = self._files.store, arrival.npcs  # who it is, as far as can be said
            arrival.names = frozenset(store.peek(arrival.slot) if npcs is None else npcs)
            arrival.to_flush = deque(n for n in arrival.names if n in self._stage.characters)
            self._held.block(arrival.names)
        return arrival.to_flush is not None

    def step(self, is_line: bool) -> bool:
        """Go on with them; say whether one has ended. `is_line`: somebody speaks."""
        n_left = 1 if is_line else MOST_AT_ONCE
        n_read = n_ended = 0
        for arrival in list(self._all):
            if self._block(arrival):
                n_left -= self._go_on(arrival, n_left, is_first=n_read == n_ended)
                n_read += 1
                n_ended += arrival not in self._all
            if n_left <= 0 or n_read == MOST_READ:
                break
        return n_ended > 0

    def _go_on(self, arrival: Arrival, n: int, is_first: bool) -> int:
        """Do the next part of one, `n` characters of it at most; return how many it was.

        `is_first`: it may end.
        """
        n_done = 0
        try:
            n_done = self._flush(arrival, n)
            if not arrival.to_flush:
                n_done += self._make(arrival, n - n_done)
            if not is_first or arrival.reading is None or not arrival.reading.is_over:
                return n_done
            reply: Reply | NpcError = arrival.answer(arrival.came)
        except NpcError as error:
            reply = error
        except Exception:  # not on to whoever's step this is
            log.exception("reading %r failed", arrival.slot)
            reply = Internal("The engine failed at this load.", "Its log has the details.")
        self._end(arrival, reply)
        return n_done

    def _flush(self, arrival: Arrival, n: int) -> int:
        n_done = 0
        while arrival.to_flush and n_done < n:
            name = arrival.to_flush.popleft()
            self._stage.tell_one(name)  # what was asked before is in the slot
            n_done += self._journaling.flush_one(name)
        return n_done

    def _make(self, arrival: Arrival, n: int) -> int:
        if arrival.reading is None:
            if self._journaling.rounds.is_under_way(arrival.slot):
                return 0
            arrival.reading = self._read(arrival)
        n_ahead = sum(a.reading.n_bytes for a in self._all if a.reading is not None)
        if self._stage.parking.n_writing_bytes <= AHEAD_BYTES:  # else they go to disk first
            arrival.reading.ask_on(AHEAD_BYTES - n_ahead)
        for n_done in range(n):
            found = arrival.reading.take()
            if found is None:
                return n_done
            restored = self._restoring.restore(arrival.slot, *found, wanted=arrival.wanted)
            self._stage.admit(restored[0])
            arrival.came[found[0]] = restored
        return n

    def _read(self, arrival: Arrival) -> SlotReader:
        # Of a whole slot, whom it held when they were stopped: others may be saved into it since.
        npcs = sorted(arrival.names) or None if arrival.npcs is None else arrival.npcs
        may_lack = arrival.wanted is not None
        return SlotReader(self._files.store, self._thread.run, arrival.slot, npcs, may_lack)

    def _end(self, arrival: Arrival, reply: Reply | NpcError) -> None:
        self._all.remove(arrival)
        self._held.unblock(arrival.names)
        if arrival.reading is not None:
            arrival.reading.stop()
        for npc, _, _ in arrival.came.values():
            self._stage.give_up(npc)
        if isinstance(reply, NpcError):
            reply = error_reply(reply, arrival.request_id)
        self._send(arrival.client, reply)

    def close(self, timeout: float) -> None:
        """Answer those that are under way: nobody comes any more."""
        for arrival in list(self._all):
            gone = SnapshotError(
                f"The slot {arrival.slot!r} was not read: the engine closes.", "Load it again."
            )
            self._end(arrival, gone)
        self._thread.close(timeout)
