"""What an engine that starts after a kill finds in its folder.

Owns the processes: each look is taken by one of its own, as each round is played by one.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from npc_engine import protocol as m
from npc_engine.errors import SnapshotError
from npc_engine.saving.autosave import AUTOSAVE, BEFORE
from npc_engine.storage.store import Store
from tests.powercut.game import KEY, digest, engine, progress, spoken

LOOK_S = 30.0

Found = dict[str, dict[str, tuple[str, int, bytes]]]
"""By slot and character: digest, number of the last line, what comes after it."""


class Look(msgspec.Struct):
    """What an engine finds in a folder."""

    found: Found = {}
    troubles: list[str] = []
    n_mended: int = 0  # leftovers that the start has put right


def apart(work: Callable[[], bytes]) -> tuple[int, int]:
    """Do it in a process of its own; return (pid, where its bytes come out)."""
    out, inward = os.pipe()
    pid = os.fork()
    if pid:
        os.close(inward)
        return pid, out
    status = 3
    try:
        os.close(out)
        data = work()
        while data:
            data = data[os.write(inward, data) :]
        status = 0
    except BaseException:  # noqa: BLE001 - it must not go on as the parent
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def ends_within(pid: int, seconds: float) -> bool:
    fd = os.pidfd_open(pid)
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


def kill(pid: int, out: int) -> int:
    os.kill(pid, signal.SIGKILL)
    os.close(out)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def look_into(root: Path, keep: int, loads: bool) -> Look:
    """Start an engine's store there, in a process of its own, and read everybody.

    `loads`: also load every slot into an engine, and let one of them speak.
    """
    pid, out = apart(lambda: msgspec.msgpack.encode(_look(root, keep, loads)))
    data = b""
    end = time.monotonic() + LOOK_S
    while select.select([out], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(out, 1 << 20)
        if not part:
            break
        data += part
    status = kill(pid, out) if not ends_within(pid, 1.0) else _status(pid, out)
    if status or not data:
        return Look(troubles=[f"whoever looked after it ended with {status}"])
    return msgspec.msgpack.decode(data, type=Look)


def _status(pid: int, out: int) -> int:
    os.close(out)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _look(root: Path, keep: int, loads: bool) -> Look:
    hidden = _hidden(root)
    store = Store(root, KEY, keep, unkept=(AUTOSAVE, BEFORE))
    look = Look(n_mended=len(hidden), found={})
    look.troubles += [f"{name} is left over" for name in _hidden(root)]
    for slot in store.slots():
        look.found[slot] = {}
        for npc, snapshot in store.read(slot).items():
            if isinstance(snapshot, SnapshotError):
                look.troubles.append(f"{slot}/{npc}: {snapshot}")
                continue
            text = spoken(snapshot.state)
            found = digest(snapshot.state), progress(text), text.rpartition(b">")[2]
            look.found[slot][npc] = found
    store.close()
    if loads:
        look.troubles += _load(root, look.found)
    return look


def _hidden(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".") and path.is_dir()]


def _load(root: Path, found: Found) -> Iterable[str]:
    """Load all slots, one after the other; yield what goes wrong."""
    with closing(engine(root)) as all_of_them:
        for slot, there in found.items():
            loaded = _answer(all_of_them, m.Load(id=f"load-{slot}", slot=slot))
            if not isinstance(loaded, m.Loaded) or {x.npc for x in loaded.npcs} != set(there):
                yield f"{slot} does not load: {loaded!r:.300}"
        npc = next(iter(all_of_them.stage.characters), None)
        if npc is not None:
            done = _answer(all_of_them, m.Say(id="say", npc=npc, text="Well?", max_tokens=3))
            if not isinstance(done, m.Done):
                yield f"{npc} does not speak: {done!r:.300}"


def _answer(engine: Any, request: m.Request) -> m.Reply:
    engine.handle(request)
    end = time.monotonic() + LOOK_S
    while time.monotonic() < end:
        for _, reply in engine.step():
            if reply.id == request.id and reply.terminal:
                return reply  # type: ignore[no-any-return]
    raise TimeoutError(request)
