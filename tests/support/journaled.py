"""Journaled characters of a rig: what lives, what the slot holds, and when it is on the disk."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.saving.serialization import state_of
from npc_engine.storage.delta import Image
from npc_engine.storage.journal.records import image_of
from npc_engine.storage.snapshot import Snapshot
from tests.support.rig import Rig


def card_of(name: str) -> dict[str, str]:
    return {"name": name.upper(), "system_prompt": f"Lives at {name}."}


def journaled(rig: Rig, names: str = "ab", slot: str = "s") -> Rig:
    """Characters with a past, journaled from here on."""
    for name in names:
        rig.spawn(name, card=card_of(name))
        rig.talk(name, f"First, {name}.")
    assert isinstance(rig.save(slot, mode="journal"), m.Saved)
    return rig


def lives(rig: Rig, name: str) -> Image:
    """What a character is just now."""
    return image_of(state_of(rig[name], rig.now))


def held(rig: Rig, name: str, slot: str = "s") -> Image:
    """What a slot holds of it, its journal included."""
    found = rig.engine._saving._files.store.read(slot, [name])[name]
    assert isinstance(found, Snapshot), found
    assert "left out" not in str(found.journal), found.journal
    return image_of(found.state)


def size(rig: Rig, name: str, slot: str = "s") -> int:
    path = Path(rig.engine.settings.saves) / slot / f"{name}.journal"
    return path.stat().st_size if path.exists() else 0


def written(rig: Rig) -> None:
    """Step until nothing is being written, with no time passing in the rig."""
    saving = rig.engine._saving
    rig.step()
    rig._loop(
        lambda: not (saving._copying or saving._writing or saving._journaling.rounds.n_under_way)
    )


def on_disk(rig: Rig) -> None:
    """Wait until what was submitted is on the disk, with as few steps as can be."""
    rig.steps(2)
    done = threading.Event()
    rig.engine._files.run(done.set)
    assert done.wait(20)
    rig.step()


def stats(rig: Rig) -> dict[str, Any]:
    answer = rig.ask(m.Stats(id=rig.id()))
    assert isinstance(answer, m.StatsReply)
    return answer.stats


class FullDisk:
    """Takes `left` more bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left: float = left
        real = os.write

        def write(fd: int, data: Any) -> int:
            n = int(min(self.left, len(data)))
            if not n:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= n
            return real(fd, bytes(data[:n]))

        monkeypatch.setattr("os.write", write)
