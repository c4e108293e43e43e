"""A game that talks and saves all the time, until it is killed; its log says what it was promised.

Owns the victim of `powercut`: an engine over FakeLlama whose pauses are short, and the hooks that
log every state before the disk gets a byte of it, and every save and record of a journal once the
engine calls it safe. Each line of the player has a number, higher than all before it.
"""

import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from npc_engine import protocol as m
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.saving import autosave, backoff, copying
from npc_engine.saving.autosave import AUTOSAVE
from npc_engine.saving.journal import journaling
from npc_engine.saving.saving import Saving
from npc_engine.storage import backups, disk, slot_swap, snapshot, store
from npc_engine.storage.journal import appending
from npc_engine.storage.journal.files import Journals
from npc_engine.storage.journal.records import image_of
from npc_engine.storage.store import Store
from tests.support.crashfs import REAL, CrashFs, Log, Trap
from tests.support.fake_llama import FakeLlama

KEY = bytes(range(32))
NAMES = ("ada", "bob", "Cid", "dot")
SLOTS = ("manual", "tavern")
WINDOW = 300
MOST_S = 20.0  # whoever lives longer was never killed
_NUMBER = re.compile(rb"<(\d+)>")

DECODE_S = 0.001


class Plan(Struct):
    """One round. `kill_at`: before which call it kills itself; `first_save`: from when they count.

    `found`: who is in the autosave, and how far. `disk`: it is full (a small one), or fails now and
    then, or neither. `without`: what durability is to miss, so that the harness finds it.
    """

    root: str
    log: str
    seed: int
    number: int
    keep: int
    found: dict[str, int]
    disk: str = "sound"
    kill_at: int | None = None
    first_save: int = 0
    without: str = ""


class _Yielding(FakeLlama):
    """Lets other threads run while it decodes, as llama.cpp does: its own Python would not."""

    def decode(self, spans: Sequence[Any]) -> list[int]:
        time.sleep(DECODE_S)
        return super().decode(spans)


def engine(root: Path, keep: int = 1, seconds: float = 0) -> EngineCore:
    fake = _Yielding(n_slots=2, n_cells=WINDOW)
    values = {"saves": str(root), "window": WINDOW, "keep": keep}
    made = EngineCore(fake, fake.chat_format(), Settings.parse(values))
    made._saving._files.given_key = KEY
    made._saving._autosave._seconds = seconds  # more often than a setting may say
    return made


def digest(state: Mapping[str, Any]) -> str:
    """Name all of a state that its file has to keep, whichever file that is."""
    image = image_of(state)
    parts = [*(f"{k}=".encode() + v for k, v in sorted(image.values.items())), *image.segments]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def spoken(state: Mapping[str, Any]) -> bytes:
    return bytes(t for segment in state["segments"] for t in segment["tokens"] if t < 256)


def progress(text: bytes) -> int:
    """The number of the last line in a character's memory, 0 before the first."""
    return max(map(int, _NUMBER.findall(text)), default=0)


class Hooks:
    """Logs `state` before a state goes to the disk, `safe` when it is said to be there."""

    def __init__(self, log: Log, trap: Trap, first_save: int) -> None:
        self._log = log
        self._trap = trap
        self._until_armed = first_save
        self._in_this_save: dict[str, int] = {}
        trap.armed = first_save == 0

    def install(self) -> None:
        write, copy, write_job = Store.write, Store.copy, Saving._write
        append, first = Journals.append, Journals.first

        def encode(header: Any, state: Any, *rest: Any) -> Any:
            self._in_this_save[header["npc"]] = self._note(header["npc"], state)
            return snapshot.encode_parts(header, state, *rest)

        def write_slot(store: Store, slot: str, files: Any, **keys: Any) -> int:
            self._until_armed -= 1
            self._trap.armed = self._until_armed <= 0
            self._in_this_save = {}
            n = write(store, slot, files, **keys)
            self._log.put("safe", slot, self._in_this_save)
            return n

        def copy_slot(store: Store, slot: str, to: str) -> None:
            copy(store, slot, to)
            self._log.put("copied", slot, to)

        def add(journals: Journals, changes: Sequence[Any]) -> list[Any]:
            lines = [self._note(npc, state) for _, npc, state in changes]
            outcomes = append(journals, changes)
            for (slot, npc, _), n, outcome in zip(changes, lines, outcomes, strict=True):
                if isinstance(outcome, int) and outcome:
                    self._log.put("safe", slot, {npc: n})
            return outcomes

        def begin(npc: str, base: str, state: Any, late: Any) -> bytes:
            self._in_this_save[npc] = self._note(npc, late)
            return first(npc, base, state, late)

        def hand_over(saving: Saving, job: Any) -> None:
            slot, followed = job.request.slot, saving._journaling.table.of
            rest = {npc: s for npc, (_, s) in job.states.items() if not followed(slot, npc)}
            self._log.put("rewrites", slot, {npc: progress(spoken(s)) for npc, s in rest.items()})
            write_job(saving, job)

        for owner, name, hook in (
            (copying, "encode_parts", encode),
            (Saving, "_write", hand_over),
            (Store, "write", write_slot),
            (Store, "copy", copy_slot),
            (Journals, "append", add),
            (Journals, "first", staticmethod(begin)),
        ):
            setattr(owner, name, hook)

    def _note(self, npc: str, state: Mapping[str, Any]) -> int:
        n = progress(spoken(state))
        self._log.put("state", npc, digest(state), n)
        return n


class Troubles(logging.Handler):
    """Whatever the engine logs as an error, it was not prepared for."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.put("trouble", self.format(record)[-1000:])


class Game:
    def __init__(self, plan: Plan, log: Log, trap: Trap, dice: random.Random) -> None:
        self._plan = plan
        self._log = log
        self._trap = trap
        self._dice = dice
        self._n = plan.number
        self._ids = 0
        self._open: dict[str, tuple[str, int]] = {}  # (whose line, its number)
        self._engine = engine(Path(plan.root), plan.keep, seconds=0.15)
        self._ballast = Path(plan.root).with_name("ballast")

    def play(self) -> None:
        end = time.monotonic() + MOST_S
        for npc in NAMES:
            self._spawn(npc, self._plan.found.get(npc))
        while time.monotonic() < end:
            self._trouble_the_disk()
            self._act()
            self._hurry()

    def _act(self) -> None:
        act = self._dice.random()
        if act < 0.12:
            self._ask(m.Event(id=self._id(), npcs="*", text="A dog barks."))
        elif act < 0.3:
            self._save()
        elif act < 0.36:
            self._come_again(self._dice.choice(NAMES))
        else:
            for npc in self._dice.sample(NAMES, self._dice.randint(1, 2)):
                self._say(npc)
            self._finish()

    def _say(self, npc: str) -> None:
        self._n += 1
        request = self._id()
        self._open[request] = npc, self._n
        n_tokens = self._dice.randint(1, 8)
        self._engine.handle(m.Say(id=request, npc=npc, text=f"<{self._n}>", max_tokens=n_tokens))

    def _save(self) -> None:
        """Begin to save; what comes next does not wait for it."""
        npcs = None if self._dice.random() < 0.5 else self._dice.sample(NAMES, 2)
        mode: Any = self._dice.choice(("full", "journal"))
        slot = self._dice.choice(SLOTS)
        request = m.Save(id=self._id(), slot=slot, npcs=npcs, mode=mode)
        self._log.put("asked", request.id, slot, {npc: self._far(npc) for npc in npcs or NAMES})
        self._engine.handle(request)

    def _come_again(self, npc: str) -> None:
        """Leave, and come back as the autosave has it: nothing is lost, also on a bad disk."""
        follow = self._engine._saving._journaling.table.of(AUTOSAVE, npc)
        if follow is None or not follow.is_safe:
            return
        far = self._far(npc)
        self._ask(m.Despawn(id=self._id(), npc=npc))
        self._spawn(npc, far)

    def _spawn(self, npc: str, far: int | None) -> None:
        card = {"name": npc.title(), "system_prompt": f"{npc} keeps the inn."}
        restore = None if far is None else AUTOSAVE
        reply = self._ask(m.Spawn(id=self._id(), npc=npc, card=card, restore=restore))
        if not isinstance(reply, m.Spawned) or (far is not None and self._far(npc) != far):
            there = self._far(npc) if isinstance(reply, m.Spawned) else None
            self._log.put("trouble", f"{npc!r} came as {reply!r:.300}, {there} far, not {far}")

    def _far(self, npc: str) -> int:
        return progress(self._memory(npc))

    def _memory(self, npc: str) -> bytes:
        segments = self._engine.stage.characters[npc].dialogue.ledger.segments
        return bytes(t for segment in segments for t in segment.tokens if t < 256)

    # the loop

    def _id(self) -> str:
        self._ids += 1
        return f"r{self._ids}"

    def _ask(self, request: m.Request) -> m.Reply:
        assert request.id is not None
        self._engine.handle(request)
        while True:
            for reply in self._step():
                if reply.id == request.id:
                    return reply

    def _finish(self) -> None:
        while self._open:
            self._step()

    def _step(self) -> list[m.Reply]:
        replies = [reply for _, reply in self._engine.step()]
        for reply in replies:
            if isinstance(reply, m.Done):
                npc, n = self._open.pop(str(reply.id))
                self._log.put("ended", npc, n, self._memory(npc).rpartition(b">")[2])
            elif isinstance(reply, m.Saved):
                self._log.put("saved", reply.id)
            elif isinstance(reply, m.Error) and self._plan.disk == "sound":
                self._log.put("trouble", repr(reply)[:300])
        if self._engine.patience():
            time.sleep(0.001)
        return replies

    def _hurry(self) -> None:
        """Try again at once what has failed."""
        for pace in self._engine._saving._journaling.table:
            pace.retry.wait_s = 0.01

    def _trouble_the_disk(self) -> None:
        if self._plan.disk == "fails":
            self._trap.is_bad = self._dice.random() < 0.4
        elif self._plan.disk == "full":
            self._ballast.unlink(missing_ok=True)
            if self._dice.random() < 0.4:
                fill(self._ballast, self._dice.randrange(0, 5) << 12)


def fill(ballast: Path, free: int) -> None:
    """Fill the disk that a file is on, but for so many bytes."""
    info = os.statvfs(ballast.parent)
    n = max(0, info.f_bavail * info.f_frsize - free)
    fd = REAL["open"](ballast, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if n:
            os.posix_fallocate(fd, 0, n)
    except OSError:
        pass  # the engine has taken it meanwhile: it is full
    finally:
        os.close(fd)


def run(plan: Plan) -> None:
    """Play until killed. For a process of its own: nothing that is patched here is mended."""
    dice = random.Random(plan.seed)
    log = Log(Path(plan.log))
    trap = Trap(random.Random(plan.seed + 1), log, plan.kill_at)
    CrashFs(Path(plan.root), log, trap).install(setattr)
    Hooks(log, trap, plan.first_save).install()
    logging.getLogger("npc_engine").addHandler(Troubles(log))
    journaling.FOLD_BYTES = 3000
    backoff.FIRST_S, backoff.MAX_S = 0.01, 0.05
    autosave.GATHER_S = 0.01
    if plan.without == "fsync":
        disk._sync = lambda fd: None
    if plan.without == "folder fsync":
        for module in (store, slot_swap, backups, appending):
            module.sync_folder = lambda folder: None  # type: ignore[attr-defined]
    Game(plan, log, trap, dice).play()
