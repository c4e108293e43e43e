"""All that characters and games can do, at once and at random: every piece beside every other.

The troupe checks at each step that every slot and parked copy is what its ledger says, that chats
are well-formed, and that each request has one terminal reply. Here besides: the engine never sleeps
with work to do, never spins without any, and comes to an end.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from npc_engine import protocol as m
from tests.support.troupe import Troupe, card

NAMES = ("mara", "bram", "wren", "tess", "odo")
LORE = "The sea took the old town. Nobody sails at night. " * 2
MOST_EMPTY = 8  # steps in a row that do nothing and want to be called again at once


class Walk:
    """One troupe and its dice."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.troupe = Troupe(
            folder,
            {npc: [self._line(npc, i) for i in range(9)] for npc in NAMES},
            recurrent=seed % 2 == 1,
            n_slots=dice.choice([1, 2, 4]),
            n_pos=dice.choice([2_500, 100_000]),
            world=dice.choice(["", LORE]),
            window=dice.choice([500, 900, 2000]),
            max_events=dice.choice([1, 64]),
            max_queue=dice.choice([1, 8]),
            park_ram=dice.choice([0, 1]),
            ambient_share=dice.choice([0.1, 0.5, 1]),
        )
        self.troupe.fake.seconds = dice.choice([0, 0.02])  # type: ignore[attr-defined]
        self.targets: list[str] = []
        self.n_empty = 0

    def _line(self, npc: str, i: int) -> str:
        other = self.dice.choice(NAMES).capitalize()
        return f"k{npc[0]}{i} is so. And {other}, k{npc[0]}{i}x. " + "And on. " * (i % 3)

    def act(self) -> None:
        """Do something."""
        t, choice = self.troupe, self.dice.choice
        npc, scene = choice(NAMES), choice(["inn", "mill"])
        deeds: dict[str, tuple[int, Callable[[], object]]] = {
            "say": (10, lambda: self.say(npc)),
            "scene": (6, lambda: self.scene(scene)),
            "cancel": (7, self.cancel),
            "event": (5, lambda: t.event(f"Bell {choice(NAMES)}", expires_s=choice([None, 0.1]))),
            "hear": (4, lambda: t.hear(npc, "Half a line" + choice(["", " more"]))),
            "attend": (2, lambda: t.send(m.Attend(id=t.id(), npc=npc))),
            "leave": (2, lambda: t.send(m.Leave(id=t.id(), scene=scene, npc=npc))),
            "join": (2, lambda: t.send(m.Join(id=t.id(), scene=scene, npc=npc))),
            "pin": (
                2,
                lambda: t.send(m.Pin(id=t.id(), npc=npc, turn=max(1, t[npc].dialogue.turn - 1))),
            ),
            "save": (2, lambda: t.send(m.Save(id=t.id(), slot="a"))),
            "load": (1, lambda: t.send(m.Load(id=t.id(), slot="a", npcs=choice([None, [npc]])))),
            "anew": (1, lambda: self.anew(npc)),
            "fail": (1, lambda: setattr(t.fake, "n_failures", 1)),
            "later": (2, lambda: setattr(t, "now", t.now + choice([0.05, 1, 5]))),
            "rest": (1, t.rest),
        }
        weights = [weight for weight, _ in deeds.values()]
        deeds[self.dice.choices(list(deeds), weights)[0]][1]()

    def say(self, npc: str) -> None:
        priority = self.dice.choice(["player", "near", "ambient"])
        self.targets.append(self.troupe.say(npc, f"Well, {npc}?", priority=priority))

    def scene(self, name: str) -> None:
        dice = self.dice
        npcs, priority = dice.sample(NAMES, dice.randint(2, 4)), dice.choice(["ambient", "near"])
        turns = dice.randint(1, 6)
        self.targets.append(self.troupe.scene(name, npcs, turns=turns, priority=priority))

    def cancel(self) -> None:
        if self.targets:
            heard = self.dice.choice([None, 0, 10, 50, 10**6])
            self.troupe.cancel(self.dice.choice(self.targets), heard=heard)

    def anew(self, npc: str) -> None:
        self.troupe.send(m.Despawn(id=self.troupe.id(), npc=npc))
        self.troupe.step()
        self.troupe.spawn(npc, card=card(npc))

    def step(self) -> None:
        """One round of the loop, and whether it was right to do it, or to sleep."""
        t = self.troupe
        patience, n_before = t.engine.patience(), len(t.fake.batches)
        expires = any(c._unread.next_end <= t.now for c in t.engine.stage.characters.values())
        is_saving = bool(t.engine._saving._copying)
        worked = bool(t.step()) or len(t.fake.batches) > n_before or is_saving
        if patience is None and not expires:
            assert not worked, "it slept with work to do"
        self.n_empty = 0 if worked or patience != 0 else self.n_empty + 1
        assert self.n_empty < MOST_EMPTY, "it spins"
        if not worked:
            t.now += t.engine.scheduler.patience() or 0.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_at_once(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "npc_engine.storage.scratch_folder.RESERVE_BYTES", 0
    )  # nothing parked may be lost
    walk = Walk(tmp_path, seed)
    troupe = walk.troupe
    for _ in range(150):
        walk.act()
        for _ in range(walk.dice.choice([0, 1, 1, 2, 5, 20])):
            walk.step()
    troupe.fake.n_failures = 0
    troupe.rest()
    assert not [c for c in troupe.engine.stage.claims() if c.sequence.n_ready and not c.asleep]
    assert not troupe.engine.stage.scenes.running
    for character in troupe.engine.stage.characters.values():
        assert character.audience is None and not character.inbox
    troupe.close()
