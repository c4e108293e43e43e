"""Everybody is in the slot `autosave` a moment after whatever happened, and nobody had to ask."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from npc_engine import protocol as m
from npc_engine.config import Settings
from npc_engine.errors import ConfigError
from npc_engine.saving import autosave
from npc_engine.saving.autosave import AUTOSAVE, BEFORE, GATHER_S
from npc_engine.storage.locks import LOCK_FILE
from tests.support.journaled import (
    FullDisk,
    held,
    lives,
    on_disk,
    size,
    stats,
    written,
)
from tests.support.rig import MakeRig, Rig, TimedLlama, scripted

pytestmark = pytest.mark.usefixtures("no_fsync")
SECONDS = 60


@pytest.fixture
def make_rig(make_rig: MakeRig) -> MakeRig:
    return partial(make_rig, autosave=SECONDS)


def spawned(rig: Rig, names: str = "ab") -> Rig:
    for name in names:
        rig.spawn(name, card={"name": name.upper(), "system_prompt": f"Lives at {name}."})
    rig.rest()
    return rig


def slots(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK_FILE)


def crash(rig: Rig) -> None:
    """Let go of the saves folder, as the system does for a process that is gone."""
    rig.engine._saving._files.store.close()


def stamp(folder: Path, name: str, slot: str = AUTOSAVE) -> int:
    """Which file it is: a new snapshot is another one, a journal beside it changes nothing."""
    return (folder / slot / f"{name}.npc").stat().st_ino


def test_whoever_comes_is_in_it_within_a_second(
    make_rig: MakeRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GATHER_S < 0.5  # and the write takes its time, too
    monkeypatch.setattr(autosave, "GATHER_S", 1.0)
    rig = make_rig()
    for name in "abc":
        rig.spawn(name)
        rig.talk(name)
    rig.steps(10)
    assert slots(tmp_path) == []
    assert 0 < (rig.engine.patience() or 0) <= 1.0
    rig.now += 1.0
    written(rig)
    assert slots(tmp_path / AUTOSAVE) == ["a.npc", "b.npc", "c.npc"]
    rig.spawn("d")
    rig.rest()
    for name in "abcd":
        rig.talk(name, "News.")
        written(rig)
        assert held(rig, name, AUTOSAVE) == lives(rig, name)


def test_nothing_happens_while_nothing_changes(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = spawned(make_rig())
    assert rig.engine.patience() is None
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for _ in range(5):
        rig.now += SECONDS
        rig.steps(5)
        assert rig.engine.patience() is None
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_those_who_changed_get_a_new_snapshot_in_time(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = spawned(make_rig())
    rig.talk("a", "News.")
    written(rig)
    was = {name: stamp(tmp_path, name) for name in "ab"}
    assert size(rig, "a", AUTOSAVE) > 0
    rig.now += SECONDS - 2
    rig.steps(5)
    assert size(rig, "a", AUTOSAVE) > 0
    rig.rest()
    assert size(rig, "a", AUTOSAVE) == 0
    assert (stamp(tmp_path, "a") != was["a"], stamp(tmp_path, "b") == was["b"]) == (True, True)
    rig.now += 10 * SECONDS  # it changes after a long rest: due at once
    rig.talk("b", "News.")
    written(rig)
    assert stamp(tmp_path, "b") != was["b"]
    for name in "ab":
        assert held(rig, name, AUTOSAVE) == lives(rig, name)


def test_nobody_gets_a_new_snapshot_amid_a_line(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig(fake=TimedLlama(mind=scripted("e", end=False)), max_tokens=200)
    spawned(rig, "a")
    was = stamp(tmp_path, "a")
    target = rig.say("a", "Tell me all of it.")
    rig.steps(5)
    rig.now += SECONDS
    rig.step()
    on_disk(rig)
    assert rig["a"].generation
    assert stamp(tmp_path, "a") == was
    rig.until(target)
    written(rig)
    assert stamp(tmp_path, "a") != was


def test_newcomers_do_not_put_the_others_off(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = spawned(make_rig(), "a")
    was = stamp(tmp_path, "a")
    rig.talk("a", "News.")
    for i in range(7):
        rig.now += SECONDS / 6
        rig.spawn(f"n{i}")
        rig.steps(3)
        rig.now += GATHER_S
        written(rig)
    assert len(slots(tmp_path / AUTOSAVE)) >= 8
    assert stamp(tmp_path, "a") != was


def test_who_comes_and_goes_at_once_disturbs_nobody(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = spawned(make_rig(), "a")
    was = stamp(tmp_path, "a")
    rig.talk("a", "News.")
    rig.spawn("b")
    rig.ask(m.Despawn(id="d", npc="b"))
    rig.now += GATHER_S
    written(rig)
    assert stamp(tmp_path, "a") == was
    rig.rest()
    assert stamp(tmp_path, "a") != was


def test_what_an_engine_before_left_is_kept(make_rig: MakeRig, tmp_path: Path) -> None:
    crashed = spawned(make_rig())
    crashed.talk("a", "What the game forgot.")
    written(crashed)
    was = held(crashed, "a", AUTOSAVE)
    crash(crashed)
    fresh = spawned(make_rig(), "a")  # with no restore
    fresh.talk("a", "Who are you?")
    fresh.rest()
    assert slots(tmp_path) == [AUTOSAVE, BEFORE]
    assert held(fresh, "a", BEFORE) == was
    assert held(fresh, "a", AUTOSAVE) == lives(fresh, "a")
    assert held(fresh, "b", AUTOSAVE)  # who is not here yet may still be restored
    fresh.load(BEFORE, ["a"])
    assert "What the game forgot." in fresh.heard("a")
    fresh.rest()
    assert held(fresh, "a", BEFORE) == was, "it is kept once"


def test_a_journal_that_grows_does_not_change_what_is_kept(make_rig: MakeRig) -> None:
    crashed = spawned(make_rig())
    crashed.talk("b", "Before the crash.")
    written(crashed)
    was = held(crashed, "b", BEFORE) if size(crashed, "b", BEFORE) else held(crashed, "b", AUTOSAVE)
    crash(crashed)
    fresh = make_rig()
    assert fresh.spawn("b", restore=AUTOSAVE).restored
    fresh.rest()
    fresh.talk("b", "After it.")
    fresh.rest()
    assert held(fresh, "b", BEFORE) == was
    assert held(fresh, "b", AUTOSAVE) == lives(fresh, "b") != was


def test_nothing_is_overwritten_that_could_not_be_kept(
    make_rig: MakeRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = spawned(make_rig())
    was = held(crashed, "a", AUTOSAVE)
    crash(crashed)
    (tmp_path / BEFORE).write_text("in the way")
    fresh = make_rig()
    fresh.spawn("a")
    for _ in range(4):
        fresh.now += 40
        written(fresh)
    assert held(fresh, "a", AUTOSAVE) == was
    (tmp_path / BEFORE).unlink()
    fresh.rest()
    assert held(fresh, "a", AUTOSAVE) == lives(fresh, "a")
    assert held(fresh, "a", BEFORE) == was


def test_a_full_disk_is_tried_again(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make_rig()
    rig.spawn("a")
    disk = FullDisk(monkeypatch, 0)
    waits = []
    for _ in range(6):
        waits.append(rig.engine.patience() or 0.0)
        rig.now += waits[-1]
        rig.steps(5)
        written(rig)
    assert 4 <= waits[-1] <= 30
    assert "No space left" in stats(rig)["journal_error"]
    disk.left = float("inf")
    rig.rest()
    assert held(rig, "a", AUTOSAVE) == lives(rig, "a")
    assert stats(rig)["journal_error"] == ""


def test_who_leaves_stays_in_it(make_rig: MakeRig) -> None:
    rig = spawned(make_rig())
    rig.talk("a", "Farewell.")
    last = lives(rig, "a")
    rig.ask(m.Despawn(id="d", npc="a"))
    rig.rest()
    rig.talk("b", "It is quiet.")
    rig.now += SECONDS
    rig.rest()
    assert held(rig, "a", AUTOSAVE) == last
    assert rig.spawn("a", restore=AUTOSAVE).restored
    rig.talk("a", "Back again.")
    rig.rest()
    assert held(rig, "a", AUTOSAVE) == lives(rig, "a")


def test_saves_by_hand_go_on_beside_it(make_rig: MakeRig) -> None:
    rig = spawned(make_rig())
    rig.save("mine", mode="journal")
    rig.save(AUTOSAVE, ["b"])
    for name in "ab":
        rig.talk(name, "News.")
        rig.rest()
        for slot in ("mine", AUTOSAVE):
            assert held(rig, name, slot) == lives(rig, name)
    rig.load("mine")
    for name in "ab":
        rig.talk(name, "Loaded.")
        rig.rest()
        assert held(rig, name, AUTOSAVE) == lives(rig, name)
        assert held(rig, name, "mine") != lives(rig, name)


def test_who_leaves_at_once_is_in_it(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("a")
    rig.event("A bell.")
    rig.step()
    last = lives(rig, "a")
    rig.ask(m.Despawn(id="d", npc="a"))
    assert rig.spawn("a", restore=AUTOSAVE).restored
    assert lives(rig, "a") == last


def test_closing_saves_whoever_has_just_come(make_rig: MakeRig) -> None:
    rig = spawned(make_rig(), "a")
    rig.talk("a", "News.")
    rig.spawn("b")
    rig.event("A last bell.")
    rig.step()
    rig.close()
    fresh = make_rig(autosave=0)
    fresh.load(AUTOSAVE)
    for name in "ab":
        assert fresh.tokens(name) == rig.tokens(name)
        assert "A last bell." in fresh.heard(name)


def test_off_is_off(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = spawned(make_rig(autosave=0))
    rig.now += 10 * SECONDS
    rig.talk("a")
    rig.rest()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [0, "0", "0.0", 5, "60", 86_400])
def test_settings_that_are_right(value: object) -> None:
    assert Settings.parse({"autosave": value}).autosave == float(str(value))


@pytest.mark.parametrize("value", [1, "4.9", -1, 86_401, True, False, "often", None, "nan"])
def test_settings_that_are_wrong(value: object) -> None:
    with pytest.raises(ConfigError, match="autosave"):
        Settings.parse({"autosave": value})


# Killed


CHILD = """
import sys, time
from pathlib import Path
from npc_engine import protocol as m
from tests.support.rig import CARD, Rig, TimedLlama

rig = Rig(Path(sys.argv[1]), fake=TimedLlama(), autosave=5)
saving = rig.engine._saving
rig.engine._clock = time.perf_counter
for part in (saving, saving._copying, saving._journaling, saving._autosave):
    part._clock = time.perf_counter
rig.check_every = 1 << 30
for name in ("a", "b"):
    rig.spawn(name)
turn = 0
while True:
    for name in ("a", "b"):
        rig.talk(name, f"<{turn}>")
    while saving._copying or saving._writing or saving._journaling.rounds.n_under_way or (
        len(saving._journaling.table) < 2
    ):
        rig.step()
    print(turn, flush=True)
    turn += 1
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9")
@pytest.mark.parametrize("n_turns", [1, 2, 7])
def test_killed_at_any_time_it_has_every_turn_that_was_safe(
    make_rig: MakeRig, tmp_path: Path, n_turns: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            safe = [int(child.stdout.readline()) for _ in range(n_turns)][-1]
            time.sleep(0.003 * n_turns)  # somewhere in what comes next
        finally:
            child.kill()
    fresh = make_rig()
    loaded = fresh.load(AUTOSAVE)
    assert isinstance(loaded, m.Loaded)
    for name in "ab":
        heard = fresh.heard(name)
        assert f"<{safe}>" in heard
        assert fresh[name].dialogue.turn > safe
        fresh.talk(name, "Still you?")


def test_it_writes_no_kv_caches(make_rig: MakeRig, tmp_path: Path) -> None:
    """Every fold would write all of them again; the player's own saves have them."""
    rig = spawned(make_rig(save_kv="yes"))
    rig.talk("a", "News.")
    written(rig)
    rig.save("tavern")
    n_bytes = {p.parent.name: p.stat().st_size for p in tmp_path.glob("*/a.npc")}
    assert n_bytes["tavern"] > n_bytes[AUTOSAVE] + len(rig.fake.export(0))
    crash(rig)
    fresh = make_rig()
    assert fresh.load(AUTOSAVE).npcs[0].source == "tokens"
