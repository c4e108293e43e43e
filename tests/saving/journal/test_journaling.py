"""Whatever happens to a journaled character is in its slot a moment later, and costs nobody a line.

What the slot holds is always compared with the character that runs: as it is frozen, without its
cells.
"""

import errno
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.client.in_process import Engine
from npc_engine.errors import BadMessage
from npc_engine.saving.backoff import FIRST_S, MAX_S
from npc_engine.saving.journal import journaling
from npc_engine.saving.journal.pace import LOOK_S
from npc_engine.storage.journal import files as journals
from tests.support.fake_llama import END, babble
from tests.support.journaled import (
    FullDisk,
    card_of,
    held,
    journaled,
    lives,
    on_disk,
    size,
    stats,
    written,
)
from tests.support.rig import GAME, MakeRig, TimedLlama

pytestmark = pytest.mark.usefixtures("no_fsync")


def sources(loaded: Any) -> dict[str, str]:
    assert isinstance(loaded, m.Loaded), loaded
    return {npc.npc: npc.source for npc in loaded.npcs}


# What comes back


def test_after_a_crash_it_goes_on_as_it_would_have(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    for turn in range(3):
        rig.event(f"Bell {turn}.")
        rig.talk("a", f"Turn {turn}.")
    rig.ask(m.Pin(id="p", npc="b", text="The key is under the stair."))
    rig.rest()
    fresh = make_rig()
    loaded = fresh.load("s")
    assert sources(loaded) == {"a": "payload", "b": "payload"}
    assert all("from its journal" in npc.notice for npc in loaded.npcs)
    for name in "ab":
        assert fresh.tokens(name) == rig.tokens(name)
        assert lives(fresh, name) == lives(rig, name)
    for turn in range(3):
        ids = [(rig.say(n, f"And {turn}?"), fresh.say(n, f"And {turn}?")) for n in "ab"]
        assert [rig.until(i).text for i, _ in ids] == [fresh.until(i).text for _, i in ids]


@pytest.mark.parametrize("mode", ["journal", "full"])
def test_a_save_takes_nothing_back(make_rig: MakeRig, mode: Any, tmp_path: Path) -> None:
    """Whoever is copied first may have talked on before the last one is, and the slot has that."""
    names = "abcdefghijkl"
    rig = journaled(make_rig(), names)
    journal = tmp_path / "s" / "a.journal"
    target = rig.send(m.Save(id=rig.id(), slot="s", mode=mode))
    rig.step()
    rig.talk("a", "News.", max_tokens=1)
    on_disk(rig)
    assert held(rig, "a") == lives(rig, "a"), "it was journaled while the others were copied"
    first = journal.stat().st_ino
    assert (GAME, target) in rig.open, "more characters are needed"
    rig.until(target)
    assert held(rig, "a") == lives(rig, "a")
    assert journal.stat().st_ino != first
    rig.talk("a", "More.")
    written(rig)
    assert held(rig, "a") == lives(rig, "a")


def test_what_was_in_the_snapshot_is_not_read_again(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    n_cells = rig["a"].dialogue.ledger.n_cells
    rig.talk("a", "News.")
    rig.rest()
    fresh = make_rig()
    fresh.load("s")
    fresh.rest()
    n_read = sum(len(tokens) for batch in fresh.fake.batches for _, _, tokens, _ in batch)
    n_all = sum(fresh[name].dialogue.ledger.n_tokens for name in "ab")
    assert n_read == n_all - n_cells - fresh["b"].dialogue.ledger.n_cells
    assert n_read > 0


@pytest.mark.parametrize("kind", ["shifts", "reads again", "recurrent"])
def test_over_evictions_and_renumberings(make_rig: MakeRig, kind: str) -> None:
    def fake() -> TimedLlama:
        fake = TimedLlama(n_cells=256, n_pos=600)
        fake.can_shift, fake.keeps_states = kind == "shifts", kind == "recurrent"
        return fake

    rig = journaled(make_rig(fake=fake(), window=256), "a")
    for turn in range(12):
        rig.talk("a", f"Turn {turn}. " * 4)
        rig.rest()
        fresh = make_rig(fake=fake(), window=256)
        fresh.load("s")
        assert fresh.tokens("a") == rig.tokens("a")
        fresh.rest()  # the rig compares the cells with the ledger
        fresh.talk("a", "And?")
    assert rig["a"].dialogue.ledger.n_evicted > 256


def test_told_anew_for_another_model(make_rig: MakeRig) -> None:
    rig = journaled(make_rig(), "a")
    rig.talk("a", "News of the day.")
    rig.rest()
    other = TimedLlama()
    about = {**other.about, "vocab": "other"}
    other.__class__ = type("Other", (TimedLlama,), {"about": property(lambda _: about)})
    fresh = make_rig(fake=other)
    assert sources(fresh.load("s")) == {"a": "tokens"}
    assert "News of the day." in fresh.heard("a")


def test_spawn_with_restore_takes_the_journal(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.talk("a", "News.")
    rig.rest()
    fresh = make_rig()
    spawned = fresh.spawn("a", card=card_of("a"), restore="s")
    assert spawned.restored
    assert "from its journal" in str(spawned.notice)
    assert fresh.tokens("a") == rig.tokens("a")


# When


def test_a_turn_is_written_at_its_end(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.talk("a", "News.")
    written(rig)  # no time passes
    assert held(rig, "a") == lives(rig, "a")
    assert size(rig, "b") == 0


def test_what_it_perceives_is_written_half_a_second_later(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.event("A bell.", ["a"])
    rig.steps(20)
    assert size(rig, "a") == 0
    assert 0 < (rig.engine.patience() or 0) <= LOOK_S
    rig.now += LOOK_S / 2
    rig.event("A dog.", ["a"])  # does not put it off
    rig.steps(20)
    assert size(rig, "a") == 0
    rig.now += LOOK_S / 2
    written(rig)
    assert held(rig, "a") == lives(rig, "a")
    assert rig.engine.patience() is None


def test_nothing_is_frozen_for_nothing(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = TimedLlama(mind=lambda t: ord("e") if babble(t) == END else babble(t))
    fake.seconds = 0.1
    rig = journaled(make_rig(fake=fake, max_tokens=60))
    rig.rest()
    frozen: list[str] = []
    submit = journaling.Journaling._submit

    def counted(self: journaling.Journaling, follow: Any) -> None:
        frozen.append(follow.name)
        submit(self, follow)

    monkeypatch.setattr(journaling.Journaling, "_submit", counted)
    rig.steps(50)
    assert frozen == []
    assert rig.engine.patience() is None
    rig.talk("a", "A long one.")
    rig.rest()
    assert rig.now > 1000 + 6
    assert set(frozen) == {"a"}
    assert len(frozen) <= 2  # as the line comes in, and at its end


def test_a_line_being_spoken_is_not_in_it_and_events_are(make_rig: MakeRig) -> None:
    fake = TimedLlama(mind=lambda t: ord("e") if babble(t) == END else babble(t))
    rig = journaled(make_rig(fake=fake, max_tokens=250))
    before = rig.tokens("a")
    target = rig.say("a", "Unfinished?")
    rig.steps(6)
    rig.event("A late bell.", ["a"])
    rig.now += LOOK_S
    rig.steps(2)
    rig.now += LOOK_S
    on_disk(rig)
    assert rig["a"].generation
    fresh = make_rig()
    fresh.load("s")
    assert fresh.tokens("a")[: len(before)] == before
    assert "A late bell." in fresh.heard("a")
    assert "Unfinished" not in fresh.heard("a")
    rig.until(target)
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


def test_what_makes_room_for_a_line_leaves_with_its_end(make_rig: MakeRig) -> None:
    fake = TimedLlama(n_cells=256, mind=lambda t: ord("e") if babble(t) == END else babble(t))
    rig = journaled(make_rig(fake=fake, window=256, max_tokens=100), "a")
    rig.talk("a", "First.", max_tokens=40)
    rig.talk("a", "Second.", max_tokens=40)
    rig.rest()
    was, n_evicted = lives(rig, "a"), rig["a"].dialogue.ledger.n_evicted
    target = rig.say("a", "Tell me all of it. " * 5)
    rig._loop(lambda: rig["a"].dialogue.ledger.n_evicted > n_evicted)
    rig.event("A late bell.", ["a"])
    rig.now += LOOK_S
    on_disk(rig)
    rig.now += LOOK_S
    on_disk(rig)
    assert rig["a"].generation
    found = held(rig, "a")
    assert found.segments == was.segments
    assert b"A late bell." in found.values["events"]
    rig.until(target)
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")
    assert len(held(rig, "a").segments) < len(was.segments) + 6


def test_barge_in_after_the_end_is_written(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    target = rig.say("a")
    rig.until(target)
    written(rig)
    n = size(rig, "a")
    rig.cancel(target, heard=1)
    rig.rest()
    assert size(rig, "a") > n
    assert held(rig, "a") == lives(rig, "a")


# Saves beside it


def test_a_save_begins_a_new_journal_and_goes_on(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.talk("a", "Before.")
    written(rig)
    assert size(rig, "a") > 0
    rig.save("s")
    assert size(rig, "a") == 0
    assert held(rig, "a") == lives(rig, "a")
    rig.talk("a", "After.")
    written(rig)
    assert size(rig, "a") > 0
    assert held(rig, "a") == lives(rig, "a")


def test_a_save_of_some_keeps_the_journals_of_the_others(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.talk("a", "Before.")
    rig.talk("b", "Before, too.")
    written(rig)
    n = size(rig, "a")
    rig.save("s", ["b"])
    assert (size(rig, "a"), size(rig, "b")) == (n, 0)
    for name in "ab":
        rig.talk(name, "After.")
        written(rig)
        assert held(rig, name) == lives(rig, name)
    assert size(rig, "a") > n


def test_what_happens_between_copy_and_write_is_in_the_journal(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig())
    disk = SlowDisk(monkeypatch)
    saves = [rig.send(m.Save(id=f"s{i}", slot="s")) for i in range(2)]
    rig.steps(5)
    rig.talk("a", "While it is being written.")
    rig.steps(3)
    disk.go.set()
    for target in saves:
        assert isinstance(rig.until(target), m.Saved)
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


def test_a_save_right_behind_the_first_goes_on_with_it(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("a")
    first = rig.send(m.Save(id="1", slot="s", mode="journal"))
    second = rig.send(m.Save(id="2", slot="s"))
    rig.until(first)
    rig.until(second)
    rig.talk("a", "News.")
    written(rig)
    assert held(rig, "a") == lives(rig, "a")
    assert stats(rig)["n_journaled"] == 1


def test_another_slot_takes_over(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.save("two", ["a"], mode="journal")
    was = held(rig, "a")
    for name in "ab":
        rig.talk(name, "News.")
    rig.rest()
    assert held(rig, "a", "two") == lives(rig, "a")
    assert held(rig, "a") == was
    assert held(rig, "b") == lives(rig, "b")


def test_a_full_save_journals_nobody(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("a")
    rig.save("s")
    rig.talk("a", "News.")
    rig.rest()
    assert size(rig, "a") == 0
    assert stats(rig)["n_journaled"] == 0
    rig.save("other", mode="journal")
    rig.save("s")
    rig.talk("a", "More.")
    rig.rest()
    assert size(rig, "a") == 0
    assert held(rig, "a", "other") == lives(rig, "a")


def test_a_mode_that_does_not_exist_is_refused(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("a")
    with pytest.raises(BadMessage, match="jornal"):
        Engine(rig.engine).save("s", mode="jornal")  # type: ignore[arg-type]


# Ends


def test_who_leaves_is_written_to_the_last(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.event("A last bell.", ["a"])
    rig.step()
    last = lives(rig, "a")
    rig.ask(m.Despawn(id="d", npc="a"))
    rig.rest()
    assert held(rig, "a") == last
    rig.spawn("a", card={"name": "Another", "system_prompt": "A stranger."})
    rig.talk("a", "Who are you?")
    rig.rest()
    assert held(rig, "a") == last
    rig.save("s")  # this one has no journal: nobody asked for it
    rig.talk("a", "And now?")
    rig.rest()
    assert size(rig, "a") == 0


def test_who_comes_back_at_once_has_all_of_it(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.event("A last bell.", ["a"])
    rig.step()
    rig.send(m.Despawn(id="d", npc="a"))
    assert rig.spawn("a", card=card_of("a"), restore="s").restored
    assert "A last bell." in rig.heard("a")


def test_a_load_has_all_of_it_and_ends_the_journal(make_rig: MakeRig) -> None:
    rig = journaled(make_rig())
    rig.event("A last bell.", ["a"])
    rig.step()
    rig.load("s", ["a"])
    assert "A last bell." in rig.heard("a")
    n = size(rig, "a")
    rig.talk("a", "News.")
    rig.talk("b", "News.")
    rig.rest()
    assert size(rig, "a") == n
    assert held(rig, "b") == lives(rig, "b")
    assert stats(rig)["n_journaled"] == 1


def test_what_a_load_cuts_short_was_never_said(make_rig: MakeRig) -> None:
    fake = TimedLlama(mind=lambda t: ord("e") if babble(t) == END else babble(t))
    rig = journaled(make_rig(fake=fake, max_tokens=250))
    was = held(rig, "a")
    rig.say("a", "Unfinished?")
    rig.steps(3)
    rig.now += LOOK_S
    on_disk(rig)
    assert rig["a"].generation
    loads = [rig.send(m.Load(id=rig.id(), slot="s")) for _ in range(2)]
    for target in loads:
        assert isinstance(rig.until(target), m.Loaded)
    rig.rest()
    assert held(rig, "a").segments == lives(rig, "a").segments
    assert "Unfinished" not in rig.heard("a")
    assert len(held(rig, "a").segments) - len(was.segments) <= 1  # the turn that was opened


def test_closing_writes_the_last(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = journaled(make_rig())
    rig.event("A last bell.", ["a"])
    target = rig.say("b", "Cut short?")
    rig.steps(4)
    rig.close()
    assert rig.records(target)[-1].reason == "cancelled"
    fresh = make_rig()
    fresh.load("s")
    for name in "ab":
        assert fresh.tokens(name) == rig.tokens(name)


# A bad disk


class SlowDisk:
    """Holds up all writes until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        real = os.write

        def write(fd: int, data: Any) -> int:
            assert self.go.wait(20)
            return real(fd, data)

        monkeypatch.setattr("os.write", write)


@pytest.mark.parametrize("left", [0, 1, 40, 100])
def test_a_full_disk_costs_nothing_once_it_has_room(
    make_rig: MakeRig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    left: int,
) -> None:
    rig = journaled(make_rig())
    rig.talk("a", "Before.")
    written(rig)
    n, was = size(rig, "a"), held(rig, "a")
    disk = FullDisk(monkeypatch, left)
    for turn in range(3):
        assert rig.talk("a", f"No room, {turn}.").reason == "stop"
        written(rig)
        assert size(rig, "a") == n  # cut back to what is whole
        assert held(rig, "a") == was
    assert "disk is full" in stats(rig)["journal_error"]
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1
    waits: list[float] = []
    for _ in range(4):  # it is tried again, ever more seldom
        wait = rig.engine.patience()
        assert wait is not None
        assert 0 < wait <= MAX_S
        waits.append(wait)
        rig.now += wait
        written(rig)
    assert waits[-1] >= 4 * FIRST_S
    disk.left = float("inf")
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")
    assert stats(rig)["journal_error"] == ""


def test_who_leaves_while_the_disk_is_full_is_written_later(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig())
    was = held(rig, "a")
    disk = FullDisk(monkeypatch, 0)
    rig.talk("a", "No room.")
    last = lives(rig, "a")
    rig.ask(m.Despawn(id="d", npc="a"))
    written(rig)
    assert held(rig, "a") == was
    assert "disk is full" in stats(rig)["journal_error"]
    disk.left = float("inf")
    rig.rest()
    assert held(rig, "a") == last
    assert (stats(rig)["journal_error"], rig.engine.patience()) == ("", None)


def test_who_comes_back_while_the_disk_is_full_has_lost_nothing(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig())
    n_cells = rig["a"].dialogue.ledger.n_cells
    disk = FullDisk(monkeypatch, 0)
    rig.talk("a", "No room.")
    last = lives(rig, "a")
    rig.ask(m.Despawn(id="d", npc="a"))
    began = rig.now
    spawned = rig.spawn("a", card=card_of("a"), restore="s")
    assert rig.now == began, "it waited for the disk"
    assert lives(rig, "a") == last
    assert "not on the disk" in str(spawned.notice)
    assert rig["a"].dialogue.ledger.n_tokens - rig["a"].dialogue.sequence.n_pending == n_cells
    rig.load("s")
    assert lives(rig, "a") == last
    disk.left = float("inf")
    rig.rest()
    assert held(rig, "a") == last


def test_another_life_takes_the_place_of_what_was_not_written(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig())
    disk = FullDisk(monkeypatch, 0)
    rig.talk("a", "No room.")
    rig.ask(m.Despawn(id="d", npc="a"))
    rig.spawn("a")
    disk.left = float("inf")
    rig.save("s", ["a"], mode="journal")
    rig.talk("a", "News.")
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")
    assert stats(rig)["journal_error"] == ""


def test_a_failed_fsync_does_not_count(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = journaled(make_rig())
    was = held(rig, "a")
    bad = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(bad))
    rig.talk("a", "Lost?")
    written(rig)
    assert held(rig, "a") == was
    assert "Input/output error" in stats(rig)["journal_error"]
    monkeypatch.setattr("os.fsync", lambda fd: None)
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


def test_a_slow_disk_holds_up_nobody(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = journaled(make_rig())
    disk = SlowDisk(monkeypatch)
    for turn in range(4):
        assert rig.talk("a", f"Turn {turn}.").reason == "stop"
    load = rig.send(m.Load(id="l", slot="s", npcs=["b"]))
    assert rig.talk("a", "Still here?").reason == "stop"
    assert (GAME, load) in rig.open  # it has to wait
    disk.go.set()
    assert sources(rig.until(load)) == {"b": "payload"}
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")


@pytest.mark.parametrize("what", ["slot", "journal"])
def test_what_somebody_removes_is_written_again(
    make_rig: MakeRig, tmp_path: Path, what: str
) -> None:
    rig = journaled(make_rig())
    rig.talk("a", "Before.")
    rig.talk("b", "Before.")
    written(rig)
    if what == "slot":
        shutil.rmtree(tmp_path / "s")
    else:
        (tmp_path / "s" / "a.journal").unlink()
    for name in "ab":
        rig.talk(name, "After.")
        rig.rest()
        assert held(rig, name) == lives(rig, name)
    assert stats(rig)["journal_error"] == ""


def test_a_save_that_fails_leaves_the_journal_as_it_is(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = journaled(make_rig())
    rig.talk("a", "Before.")
    written(rig)
    disk = FullDisk(monkeypatch, 0)
    for mode, slot in (("full", "s"), ("journal", "s"), ("journal", "two")):
        assert rig.save(slot, mode=mode).code == "bad_snapshot"
    disk.left = float("inf")
    rig.talk("a", "After.")
    rig.rest()
    assert held(rig, "a") == lives(rig, "a")
    assert stats(rig)["journal_error"] == ""


def test_a_first_save_that_fails_journals_nobody(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    rig.spawn("a")
    disk = FullDisk(monkeypatch, 0)
    assert rig.save("s", mode="journal").code == "bad_snapshot"
    assert stats(rig)["n_journaled"] == 0
    disk.left = float("inf")
    rig.talk("a")
    rig.rest()
    assert size(rig, "a") == 0
    assert rig.engine.patience() is None


# Length


def test_a_long_journal_is_folded(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journaling, "FOLD_BYTES", 600)
    rig = journaled(make_rig())
    sizes = []
    for turn in range(12):
        rig.talk("a", f"Turn {turn}.")
        rig.rest()
        sizes.append(size(rig, "a"))
        assert held(rig, "a") == lives(rig, "a")
    assert max(sizes) < 1500
    assert sorted(sizes) != sizes
    assert size(rig, "b") == 0


def test_what_is_too_long_for_a_journal_makes_a_snapshot(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_BYTES", 300)
    rig = journaled(make_rig())
    for turn in range(3):
        rig.talk("a", f"Turn {turn}, and many words besides. " * 3)
        rig.rest()
        assert held(rig, "a") == lives(rig, "a")
        assert size(rig, "a") <= 300


# Anything


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_it_is_in_the_slot(make_rig: MakeRig, seed: int) -> None:
    dice = random.Random(seed)
    fake = TimedLlama(n_slots=2, n_cells=300, n_pos=900)
    fake.keeps_states = seed % 2 == 1
    fake.can_shift = not fake.keeps_states
    fake.seconds = 0.01
    rig = journaled(make_rig(fake=fake, window=300, max_tokens=20), "abc")
    rig.check_every = 50
    said: list[tuple[str, str]] = []

    def say() -> None:
        name = dice.choice("abc")
        said.append((name, rig.say(name, f"Word {dice.random()}.")))

    def end() -> None:
        if said:
            rig.cancel(said[-1][1], heard=dice.choice([None, 0, 5]))

    moves: list[Callable[[], Any]] = [
        say,
        say,
        end,
        lambda: rig.event(f"Bell {dice.random()}.", list(dice.choice(["a", "bc", "abc"]))),
        lambda: rig.hear(dice.choice("abc"), f"Half a wo {dice.random()}"),
        lambda: rig.send(m.Pin(id=rig.id(), npc=dice.choice("abc"), text=f"F{dice.random()}")),
        lambda: rig.scene(f"s{dice.random()}".replace(".", ""), ["a", "b"], turns=2),
        lambda: rig.send(m.Save(id=rig.id(), slot="s", npcs=list(dice.choice(["a", "bc"])))),
    ]
    for _ in range(40):
        dice.choice(moves)()
        rig.steps(dice.choice([0, 1, 5, 20]))
        if dice.random() < 0.2:
            rig.rest()
            for name in "abc":
                assert held(rig, name) == lives(rig, name)
    rig.rest()
    fresh = make_rig(fake=TimedLlama(n_slots=3, n_cells=300, n_pos=900), window=300)
    fresh.load("s")
    fresh.rest()
    for name in "abc":
        assert lives(fresh, name).segments == lives(rig, name).segments
