"""Engines that are killed at random instants, and disks that lose what was not fsynced."""

import random
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from npc_engine.client.sidecar import Sidecar
from npc_engine.client.zmq_client import Client
from npc_engine.errors import ConnectionLost, SnapshotError
from npc_engine.storage.signing_key import installation_key
from npc_engine.storage.snapshot import Snapshot
from npc_engine.storage.store import Store
from tests.powercut.game import KEY, progress
from tests.support.crashdisk import Disk
from tests.support.crashfs import CrashFs, Log, Trap, read_log
from tests.support.paths import ROOT
from tests.support.real import GREEDY, INNKEEPER
from tests.support.slot_files import make

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="os.fork, os.pidfd_open")

NPCS = ("mara", "bram", "tom")
WAIT_S = 60.0
LATE_S = 2.0  # newcomers are gathered for one


def powercut(*flags: str, timeout: float = 120) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.powercut", *flags]
    root = ROOT
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=timeout)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.slow
def test_nobody_is_lost() -> None:
    status, told = powercut("--kills", "12", "--seed", str(random.randrange(1 << 30)))
    assert status == 0, told
    assert "0 lost of 12 kills, 0 of " in told
    looked = re.search(r"(\d+) characters looked at", told)
    assert looked is not None and int(looked[1]) > 12, told


@pytest.mark.model
@pytest.mark.parametrize("what", ["fsync", "folder fsync"])
def test_it_finds_what_is_missing(what: str) -> None:
    status, told = powercut("--kills", "9", "--seed", "1", "--without", what)
    assert status == 1, told
    assert re.search("(kill|cut) .*was safe with", told), told


@pytest.mark.parametrize(("keep", "merge"), [(0, True), (1, False), (1, True), (2, False)])
def test_a_power_cut_at_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int, merge: bool
) -> None:
    """Saves of one slot, cut everywhere: the last one that was done, or the next, and no half."""
    root, target = tmp_path / "saves", tmp_path / "target"
    root.mkdir()
    disk = Disk(root, random.Random(keep))
    log = Log(tmp_path / "log")
    with pytest.MonkeyPatch.context() as patch:
        CrashFs(root, log, Trap(random.Random(1), log)).install(patch.setattr)
        store = Store(root, KEY, keep)
        for n in range(1, 4 + keep):
            files = {npc: make(npc, str(n)) for npc in (NPCS[:1] if merge and n > 1 else NPCS)}
            store.write("s", files, merge=merge)
            store.append("s", [(NPCS[0], 0, b"no journal")])
            log.put("done", n)
        store.close()
    monkeypatch.setattr("os.fsync", lambda fd: None)
    done = 0
    for record in read_log(tmp_path / "log"):
        if record.what == "done":
            done = record.args[0]
            continue
        disk.play(record.what, record.args)
        target.mkdir()
        disk.cut(target)
        look(target, keep, done)
        shutil.rmtree(target)
    assert done == 3 + keep


def look(root: Path, keep: int, done: int) -> None:
    store = Store(root, KEY, keep)
    slots = store.slots()
    assert not done or "s" in slots
    for slot in slots:
        there = store.read(slot)
        assert set(there) == set(NPCS), (slot, done)
        found = there[NPCS[0]]
        assert isinstance(found, Snapshot), found
        if slot == "s":
            assert done <= int(found.state["text"]) <= done + 1
    store.close()


class Talks:
    """A game that talks with a real engine until it is gone, and keeps what it was told."""

    def __init__(self) -> None:
        self.n = 0
        self.ended: dict[str, list[tuple[float, int]]] = {npc: [] for npc in NPCS}
        self.saved: dict[str, int] = {}

    def until_gone(self, engine: Sidecar, after_s: float, known: set[str]) -> float:
        """Return when it was killed: `after_s` seconds after everybody had come."""
        killed: list[float] = []

        def kill() -> None:
            killed.append(time.monotonic())
            psutil.Process(engine.pid).kill()

        timer = threading.Timer(after_s, kill)
        with engine.client() as client:
            for npc in NPCS:
                slot = "autosave" if npc in known else None
                spawned = client.spawn(npc, INNKEEPER, sampling=GREEDY, restore=slot)
                assert spawned.restored == (npc in known)
            timer.start()
            try:
                while True:
                    self._act(client)
            except ConnectionLost:
                timer.join(WAIT_S)
        return killed[0]

    def _act(self, client: Client) -> None:
        for npc in NPCS:
            self.n += 1
            client.say(npc, f"<{self.n}>", max_tokens=4, timeout=WAIT_S).wait()
            self.ended[npc].append((time.monotonic(), self.n))
        so_far = {npc: turns[-1][1] for npc, turns in self.ended.items()}
        if random.random() < 0.3:
            client.save("manual", timeout=WAIT_S)
            self.saved = so_far

    def must_have(self, npc: str, killed: float) -> int:
        return max((n for t, n in self.ended[npc] if t < killed - LATE_S), default=0)


def far(snapshot: Snapshot | SnapshotError) -> int:
    assert isinstance(snapshot, Snapshot), snapshot
    return progress(" ".join(s["text"] for s in snapshot.state["segments"]).encode())


@pytest.mark.model
def test_nobody_of_a_real_engine_is_lost(tiny_llama: Path, tmp_path: Path) -> None:
    flags = ("--saves", str(tmp_path), "--autosave", "5", "--window", "512", "--slots", "2")
    talks, known = Talks(), set[str]()
    for after_s in (random.uniform(0, 0.5), *(random.uniform(1, 7) for _ in range(3))):
        with Sidecar(tiny_llama, *flags) as engine:
            killed = talks.until_gone(engine, after_s, known)
        store = Store(tmp_path, installation_key())
        there = store.read("autosave") if "autosave" in store.slots() else {}
        known = set(there)
        for npc in NPCS:
            least = talks.must_have(npc, killed)
            assert (far(there[npc]) if npc in there else 0) >= least, (npc, least)
        if talks.saved:
            manual = store.read("manual")
            assert all(far(manual[npc]) >= talks.saved[npc] for npc in NPCS)
        store.close()
    assert talks.n > 0


@pytest.mark.long
@pytest.mark.model
def test_three_hundred_kills() -> None:
    status, told = powercut("--kills", "300", "--seed", str(random.randrange(1 << 30)), timeout=600)
    assert status == 0, told
    assert "0 lost of 300 kills, 0 of " in told
