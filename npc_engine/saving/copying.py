"""Saves that are being copied out of their characters, between the steps of the engine.

Owns the queue of them, and the pace: one character at a time, with pauses where somebody speaks. It
knows no slot and no disk; a job whose characters are all copied is handed on.
"""

import logging
import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from npc_engine.characters.character import Character
from npc_engine.characters.stage import Stage
from npc_engine.errors import Internal, NpcError, SnapshotError
from npc_engine.kvcache.payload import Payload
from npc_engine.protocol import Reply, Save
from npc_engine.saving.journal.pace import Witness
from npc_engine.saving.kv_rule import keeps_kv
from npc_engine.scheduling.scheduler import Scheduler
from npc_engine.storage.snapshot import encode_parts
from npc_engine.version import __version__

__all__ = ["LINE_TOKENS", "Copying", "Job", "Unsavable"]

log = logging.getLogger("npc_engine")

LINE_TOKENS = 24  # more than most lines have


class Unsavable(SnapshotError):
    """One character has what no file can hold; all others have not."""

    def __init__(self, npc: str, why: SnapshotError) -> None:
        super().__init__(f"{npc!r} cannot be saved. {why.message}", why.help)
        self.npc = npc


@dataclass(eq=False)
class Job:
    """A `save` under way, of a client or of the engine itself.

    `names`: who is still to be copied. Of the others there are the bytes of a file, or what makes
    them; what its journal goes on from, and its state; and who it was. `backup`: whether the save
    before it is kept. `kv`: whether KV caches may be worth their place in it.
    """

    answer: Callable[[Reply], None]
    request: Save
    names: deque[str]
    began: float
    before: Callable[[], None] = lambda: None
    backup: bool = True
    kv: bool = True
    files: dict[str, Callable[[], list[bytes | memoryview]]] = field(default_factory=dict)
    states: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    who: dict[str, Witness] = field(default_factory=dict)

    @property
    def is_own(self) -> bool:
        """Whether no client has asked for it."""
        return not self.request.id

    @property
    def is_fold(self) -> bool:
        """Whether it takes the place of journals that have become long."""
        return self.is_own and not self.backup

    @property
    def journals(self) -> bool:
        """Whether its characters are journaled from then on."""
        return self.request.mode == "journal"


class Copying:
    """Copies characters of a stage, each as `freeze` returns it. `about`: facts of the backend.

    `key` returns the installation's, and may fail. `save_kv`: see
    `kv_rule`; `scheduler` knows how fast the machine reads. Each job ends in `done` or in `failed`.
    """

    def __init__(
        self,
        stage: Stage,
        about: Mapping[str, Any],
        clock: Callable[[], float],
        freeze: Callable[[Character], dict[str, Any]],
        key: Callable[[], bytes],
        save_kv: str,
        scheduler: Scheduler,
        done: Callable[[Job], None],
        failed: Callable[[Job, NpcError], None],
    ) -> None:
        self._stage = stage
        self._about = about
        self._clock = clock
        self._freeze = freeze
        self._key = key
        self._save_kv = save_kv
        self._scheduler = scheduler
        self._done = done
        self._failed = failed
        self._jobs: deque[Job] = deque()
        self._next = 0.0

    def __bool__(self) -> bool:
        """Whether there is something to copy."""
        return bool(self._jobs)

    def queue(self, job: Job) -> None:
        """Copy these characters, too."""
        self._jobs.append(job)

    def step(self, is_line: bool) -> None:
        """Copy one character.

        `is_line`: this step was one of a line. Whatever others copied meanwhile, all copies within
        a line are to take one step's time: after each comes a pause, LINE_TOKENS times as long.
        """
        began = self._clock()
        if self._jobs and (began >= self._next or not is_line):
            self._copy_one(self._jobs[0])
            self._next = self._clock() + LINE_TOKENS * (self._clock() - began)

    @property
    def jobs(self) -> Collection[Job]:
        """Those that are not copied yet."""
        return self._jobs

    def copy_now(self, name: str) -> None:
        """Copy one character wherever it is still to be copied, because it leaves the stage."""
        for job in [job for job in self._jobs if name in job.names]:
            job.names.remove(name)
            job.names.appendleft(name)
            self._copy_one(job)

    def all_at_once(self) -> None:
        """Copy all that is left, because the engine ends."""
        while self._jobs:
            self._copy_one(self._jobs[0])

    def _keeps_kv(self, character: Character) -> bool:
        n_cells = character.dialogue.ledger.n_cells
        return keeps_kv(self._save_kv, self._scheduler.reading_s(n_cells))

    def _copy_one(self, job: Job) -> None:
        name = job.names.popleft()
        try:
            key = self._key()
            character = self._stage.find(name)
            character.catch_up()  # what is taken back is not to be saved any more
            has_kv = job.kv and self._keeps_kv(character)
            if has_kv:
                character.dialogue.stop_reading_again()  # half of it would be saved
            self._stage.wake(character)
            state = self._freeze(character)
            payload = character.dialogue.sequence.payload() if has_kv else None
        except Exception as error:
            self._jobs.remove(job)
            if not isinstance(error, NpcError):
                log.exception("saving %r failed", name)
                error = Internal("The engine failed at this save.", "Its log has the details.")
            self._failed(job, error)
            return
        # Checksums of a payload take longer than a step may, and a parked one may be on disk: the
        # writer's thread makes the bytes.
        header = {**character.dialogue.extra_header, **self._header(name)}
        job.files[name] = partial(_encoded, header, state, [payload], key)
        job.states[name] = header["snapshot"], state
        job.who[name] = character, character.n_changes
        while self._jobs and not self._jobs[0].names:  # they are written in their order
            self._done(self._jobs.popleft())

    def _header(self, name: str) -> dict[str, Any]:
        about = self._about
        return {
            "npc": name,
            "engine": __version__,
            "snapshot": secrets.token_hex(16),  # which one it is: a journal goes on from it
            "fingerprint": about["fingerprint"],
            "vocab": about["vocab"],
            "markup": self._stage.chat_format.markup,
            "layout": about["layout"],
            "llama": about["llama"],
            "loras": [],  # no engine has any yet
        }


def _encoded(
    header: Mapping[str, Any], state: Mapping[str, Any], payload: list[Payload | None], key: bytes
) -> list[bytes | memoryview]:
    # Taken out: it is gone when it is written. All at once, they would take a step's time to free.
    cells = payload.pop()
    parts = cells.read() if cells is not None else None
    try:  # without a payload, a load reads again
        return encode_parts(header, state, parts[0] if parts else None, key)
    except SnapshotError as why:
        raise Unsavable(header["npc"], why) from why
