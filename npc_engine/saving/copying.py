"""Saves that are being copied out of their characters, between the steps of the engine.

Owns the queue of them, the pace (one character at a time, with pauses where somebody speaks), and
which have a KV cache in them. It knows no slot and no disk; jobs whose characters are all copied
are returned.
"""

import logging
import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from npc_engine.characters.character import Character
from npc_engine.characters.stage import Stage
from npc_engine.errors import Internal, NpcError, SnapshotError
from npc_engine.kvcache.payload import Payload
from npc_engine.protocol import Save
from npc_engine.saving.files import Files
from npc_engine.saving.journal.pace import Witness
from npc_engine.saving.serialization import state_of
from npc_engine.scheduling.scheduler import Scheduler
from npc_engine.storage.snapshot import encode_parts
from npc_engine.version import __version__

__all__ = [
    "LINE_TOKENS",
    "MOST_READING_S",
    "Copying",
    "Ended",
    "Job",
    "Purpose",
    "Unsavable",
    "keeps_kv",
]

log = logging.getLogger("npc_engine")

LINE_TOKENS = 24  # more than most lines have

MOST_READING_S = 0.3
"""`auto`: what is read again within this is not worth 20 KB a token on the player's disk."""

Purpose = Literal["save", "autosave", "newcomers", "fold"]
"""What a save is for: a client's request, the autosave's round, who came and is not in its slot yet
(nobody waits for that one), or to take the place of journals that have become long."""


class Unsavable(SnapshotError):
    """One character has what no file can hold; all others have not."""

    def __init__(self, npc: str, why: SnapshotError) -> None:
        super().__init__(f"{npc!r} cannot be saved. {why.message}", why.help)
        self.npc = npc


@dataclass(eq=False)
class Job:
    """A `save` under way, of a client or of the engine itself.

    `names`: who is still to be copied. Of the others there are the bytes of a file, or what makes
    them; what its journal goes on from, and its state; who it was; and in `late` what those were at
    last who have left since. `kv`: whether KV caches may be worth their place in it. `client`: who
    waits for the answer.
    """

    purpose: Purpose
    request: Save
    names: deque[str]
    began: float
    client: bytes = b""
    kv: bool = True
    files: dict[str, Callable[[], list[bytes | memoryview]]] = field(default_factory=dict)
    states: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    who: dict[str, Witness] = field(default_factory=dict)
    late: dict[str, dict[str, Any]] = field(default_factory=dict)
    phase: Literal["copying", "writing", "over"] = "copying"

    @property
    def slot(self) -> str:
        """Where it goes."""
        return self.request.slot

    @property
    def is_own(self) -> bool:
        """Whether no client has asked for it."""
        return self.purpose != "save"

    @property
    def backup(self) -> bool:
        """Whether the save before it is kept: nobody has asked for a fold."""
        return self.purpose != "fold"

    @property
    def journals(self) -> bool:
        """Whether its characters are journaled from then on."""
        return self.request.mode == "journal"


Ended = list[tuple[Job, NpcError | None]]
"""Jobs that are copied, or have failed with this, in the order in which they did."""


def keeps_kv(wish: str, reading_s: float | None) -> bool:
    """Return whether a save is to have a payload. `reading_s`: to read it again, None: unknown."""
    if wish != "auto":
        return wish == "yes"
    return reading_s is None or reading_s >= MOST_READING_S


class Copying:
    """Copies characters of a stage. `about`: facts of the backend. `files` has the key.

    `save_kv`: see `keeps_kv`; `scheduler` knows how fast the machine reads.
    """

    def __init__(
        self,
        stage: Stage,
        about: Mapping[str, Any],
        clock: Callable[[], float],
        files: Files,
        scheduler: Scheduler,
        save_kv: str,
    ) -> None:
        self._stage = stage
        self._about = about
        self._clock = clock
        self._files = files
        self._scheduler = scheduler
        self._save_kv = save_kv
        self._jobs: deque[Job] = deque()
        self._next = 0.0

    def __bool__(self) -> bool:
        """Whether there is something to copy."""
        return bool(self._jobs)

    def queue(self, job: Job) -> None:
        """Copy these characters, too."""
        self._jobs.append(job)

    def step(self, is_line: bool) -> Ended:
        """Copy one character; return which jobs have ended with it.

        `is_line`: this step was one of a line. Whatever others copied meanwhile, all copies within
        a line are to take one step's time: after each comes a pause, LINE_TOKENS times as long.
        """
        began = self._clock()
        if not self._jobs or (is_line and began < self._next):
            return []
        ended = self._copy_one(self._jobs[0])
        self._next = self._clock() + LINE_TOKENS * (self._clock() - began)
        return ended

    @property
    def jobs(self) -> Collection[Job]:
        """Those that are not copied yet."""
        return self._jobs

    def copy_now(self, name: str) -> Ended:
        """Copy one character wherever it is still to be copied, because it leaves the stage."""
        ended: Ended = []
        for job in [job for job in self._jobs if name in job.names]:
            job.names.remove(name)
            job.names.appendleft(name)
            ended += self._copy_one(job)
        return ended

    def all_at_once(self) -> Ended:
        """Copy all that is left, because the engine ends."""
        ended: Ended = []
        while self._jobs:
            ended += self._copy_one(self._jobs[0])
        return ended

    def _keeps_kv(self, character: Character) -> bool:
        n_cells = character.dialogue.ledger.n_cells
        return keeps_kv(self._save_kv, self._scheduler.reading_s(n_cells))

    def _copy_one(self, job: Job) -> Ended:
        name = job.names.popleft()
        try:
            key = self._files.key
            character = self._stage.find(name)
            character.catch_up()  # what is taken back is not to be saved any more
            has_kv = job.kv and self._keeps_kv(character)
            if has_kv:
                character.dialogue.stop_reading_again()  # half of it would be saved
            self._stage.wake(character)
            state = state_of(character, self._clock())
            payload = character.dialogue.sequence.payload() if has_kv else None
        except Exception as error:
            self._jobs.remove(job)
            job.phase = "over"
            if not isinstance(error, NpcError):
                log.exception("saving %r failed", name)
                error = Internal("The engine failed at this save.", "Its log has the details.")
            return [(job, error), *self._take_copied()]
        # Checksums of a payload take longer than a step may, and a parked one may be on disk: the
        # writer's thread makes the bytes.
        header = {**character.dialogue.extra_header, **self._header(name)}
        job.files[name] = partial(_encoded, header, state, [payload], key)
        job.states[name] = header["snapshot"], state
        job.who[name] = character, character.n_changes
        return self._take_copied()

    def _take_copied(self) -> Ended:
        """Take out those that are copied, and behind none that is not: they keep their order."""
        ended: Ended = []
        while self._jobs and not self._jobs[0].names:
            self._jobs[0].phase = "writing"
            ended.append((self._jobs.popleft(), None))
        return ended

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
