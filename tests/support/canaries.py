"""Random requests for many characters, and the canaries that each was told: words of its own."""

import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from npc_engine import protocol as m
from tests.support.rig import GAME, Rig, TimedLlama

CANARY = re.compile(r"k\d+q")  # babble has neither digits nor k
NAMES = [f"npc{i}" for i in range(12)]
SLOTS = ["s1", "s2", "s3"]
SCENES = ["inn", "mill"]
CLIENTS = [GAME, b"other"]


class Walk:
    look_every = 20  # steps

    def __init__(
        self, folder: Path, seed: int, kind: str, names: Sequence[str] = NAMES, n_slots: int = 3
    ) -> None:
        self.random = random.Random(seed)
        self.names = names
        self.fake = TimedLlama(n_slots=n_slots, n_cells=400, n_batch=48, n_pos=1100)
        self.fake.can_shift = kind == "shifts"
        self.fake.keeps_states = kind == "recurrent"
        self.fake.seconds = 0.001
        self.fake.world = "The sea took the old town, and nobody sails at night."
        self.rig = Rig(folder, fake=self.fake, window=400, max_tokens=24, max_queue=2)
        self.rig.check_every = 5
        self.told: dict[str, set[str]] = {}
        self.saved: dict[str, dict[str, set[str]]] = {}
        self.saying: dict[tuple[bytes, str], tuple[str, str]] = {}
        self.scenes: list[str] = []
        self.saving: dict[str, tuple[m.Save, dict[str, set[str]]]] = {}
        self.n_canaries = 0
        self.n_checked = 0
        self.n_reread = 0
        self.counts: dict[str, int] = {}

    @property
    def moves(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self.spawn, 8), (self.say, 30), (self.event, 15), (self.hear, 10), (self.cancel, 10),
            (self.save, 2), (self.load, 2), (self.restore, 2), (self.despawn, 2), (self.drop, 1),
            (self.fail, 1), (self.look, 5), (self.pin, 4), (self.unpin, 3), (self.attend, 5),
            (self.rewind, 2), (self.transcript, 2), (self.say_again, 4), (self.say_and_cancel, 4),
            (self.scene, 3), (self.join, 2), (self.leave, 2), (self.cancel_scene, 2),
        ]  # fmt: skip

    def run(self, n: int) -> None:
        moves = self.moves
        for _ in range(n):
            move = self.random.choices([m for m, _ in moves], [w for _, w in moves])[0]
            move()
            for _ in range(self.random.choice([0, 0, 1, 2, 6])):
                self.step()
        while (patience := self.rig.engine.patience()) is not None:
            time.sleep(min(patience, 0.005))  # a file is written in real time,
            self.rig.now += patience  # ambient speech pauses in the rig's
            self.step()
        self.check_canaries()

    def step(self) -> None:
        self.note_what_others_hear()
        for reply in self.rig.step():
            name = type(reply).__name__
            if isinstance(reply, m.Error):
                name = reply.code
                assert reply.help
                assert name in {"busy", "internal", "unknown_target", "unknown_npc", "npc_exists",
                                "unknown_slot", "too_large"}, reply  # fmt: skip
            self.counts[name] = self.counts.get(name, 0) + 1
            if isinstance(reply, m.Saved):
                self.note_saved(reply)
        if self.rig.n_steps % self.look_every == 0:
            self.check_canaries()
            drifts = [c.dialogue.drift for c in self.rig.engine.stage.characters.values()]
            self.n_reread = max(self.n_reread, *[d.n_reread for d in drifts if d], 0)

    def note_what_others_hear(self) -> None:
        """Who is present may hear what a player says to a member of its scene."""
        for key in self.saying.keys() & self.rig.open:
            name, text = self.saying[key]
            character = self.rig.engine.stage.characters.get(name)
            if character is not None and character.audience is not None:
                for hearer in character.audience.members:
                    self.tell(hearer, CANARY.findall(text))

    def tell(self, hearer: str, canaries: Sequence[str]) -> None:
        self.told.setdefault(hearer, set()).update(canaries)
        for _, told in self.saving.values():  # not copied yet: it may be in there, too
            told.setdefault(hearer, set()).update(canaries)

    def note_saved(self, reply: m.Saved) -> None:
        request, told = self.saving.pop(reply.id or "")
        kept = self.saved.get(reply.slot, {}) if request.npcs else {}
        self.saved[reply.slot] = {**kept, **{name: told[name] for name in reply.npcs}}

    def check_canaries(self) -> None:
        for name in self.rig.engine.stage.characters:
            known = set(CANARY.findall(self.rig.heard(name)))
            assert known <= self.told[name], f"{name} knows {known - self.told[name]}"
            self.n_checked += len(known)

    # moves

    def words(self, name: str | None) -> str:
        self.n_canaries += 1
        canary = f"k{self.n_canaries}q"
        for hearer in [name] if name else list(self.rig.engine.stage.characters):
            self.tell(hearer, [canary])
        return f"{canary} " + "and so on " * self.random.choice([0, 0, 1, 3, 60])

    @property
    def name(self) -> str:
        return self.random.choice(self.names)

    def send(self, request: m.Request, client: bytes = GAME) -> str:
        return self.rig.send(request, client)

    def spawn(self) -> None:
        name = self.name
        if name not in self.rig.engine.stage.characters:
            self.told[name] = set()
        card = {"name": name, "system_prompt": "Brief.", "first_mes": "Hi."}
        self.send(m.Spawn(id=self.rig.id(), npc=name, card=card))

    def say(self) -> None:
        name, client = self.name, self.random.choice(CLIENTS)
        notes = [self.words(name)] if self.random.random() < 0.2 else []
        priority: Any = self.random.choice(["player", "near", "ambient"])
        request = m.Say(id=self.rig.id(), npc=name, text=self.words(name), notes=notes,
                        priority=priority, stream=["text", "line"])  # fmt: skip
        self.saying[client, self.send(request, client)] = name, request.text

    def scene(self) -> None:
        npcs = self.random.sample(self.names, self.random.randint(2, min(4, len(self.names))))
        priority: Any = self.random.choice(["ambient", "near"])
        request = m.Scene(id=self.rig.id(), scene=self.random.choice(SCENES), npcs=npcs,
                          turns=self.random.randint(1, 6), priority=priority)  # fmt: skip
        self.scenes.append(self.send(request))

    def join(self) -> None:
        scene = self.random.choice(SCENES)
        self.send(m.Join(id=self.rig.id(), scene=scene, npc=self.name))

    def leave(self) -> None:
        scene = self.random.choice(SCENES)
        self.send(m.Leave(id=self.rig.id(), scene=scene, npc=self.name))

    def cancel_scene(self) -> None:
        """It may have ended, a member may have left, and one is spoken to in the same batch."""
        if self.scenes:
            self.say()
            heard = self.random.choice([None, 0, 5, 40, 9999])
            target = self.random.choice(self.scenes[-3:])
            self.send(m.Cancel(id=self.rig.id(), target=target, heard=heard))

    def say_again(self) -> None:
        """With an id that was used before: for somebody else, it may be."""
        ids = [key for key in list(self.saying)[-8:] if key not in self.rig.open]
        if ids:
            client, target = self.random.choice(ids)
            name = self.name
            request = m.Say(id=target, npc=name, text=self.words(name), stream=[])
            self.saying[client, self.send(request, client)] = name, request.text

    def say_and_cancel(self) -> None:
        """In one batch, in either order; the lines of a client and what it takes back cross."""
        moves = [self.say, self.cancel, self.say]
        for move in self.random.sample(moves, 3):
            move()

    def event(self) -> None:
        one = self.name if self.random.random() < 0.8 else None
        expires = self.random.choice([None, None, 0.05])
        importance = self.random.choice([0.0, 0.5, 0.5, 1.0])
        self.send(m.Event(id=self.rig.id(), npcs=[one] if one else "*", text=self.words(one),
                          importance=importance, expires_s=expires))  # fmt: skip

    def hear(self) -> None:
        name = self.name
        self.send(m.Hear(id=self.rig.id(), npc=name, text=self.words(name)))

    def attend(self) -> None:
        self.send(m.Attend(id=self.rig.id(), npc=self.name))

    def cancel(self) -> None:
        said = [key for key in self.saying if key in self.rig.open]
        if self.random.random() < 0.3:
            said = list(self.saying)[-8:]  # many have ended by now
        if said:
            client, target = self.random.choice(said)
            if self.random.random() < 0.1:
                client = self.random.choice(CLIENTS)
            heard = self.random.choice([None, 0, 3, 99])
            self.send(m.Cancel(id=self.rig.id(), target=target, heard=heard), client)

    def save(self) -> None:
        npcs = None if self.random.random() < 0.5 else [self.name]
        request = m.Save(id=self.rig.id(), slot=self.random.choice(SLOTS), npcs=npcs)
        self.send(request)
        self.saving[request.id] = request, {name: set(told) for name, told in self.told.items()}

    def load(self) -> None:
        """At rest, so that the model knows what the slot holds."""
        while self.saving.keys() & {i for _, i in self.rig.open}:
            time.sleep(self.rig.engine.patience() or 0)
            self.step()
        slot = self.random.choice(SLOTS)
        known = self.saved.get(slot, {})
        names = None if self.random.random() < 0.5 else list(known)[:2]
        wanted = sorted(known) if names is None else names
        target = self.send(m.Load(id=self.rig.id(), slot=slot, npcs=names))
        for name in wanted:  # until it is answered, they are who they were
            self.told[name] = self.told.get(name, set()) | known[name]
        loaded = self.until(target)
        for name in wanted:
            self.told[name] = set(known[name])
        if known:
            assert isinstance(loaded, m.Loaded), loaded
            assert [npc.npc for npc in loaded.npcs] == wanted
            assert not any(npc.notice for npc in loaded.npcs)
        else:
            assert isinstance(loaded, m.Error), loaded

    def until(self, target: str) -> Any:
        while (GAME, target) in self.rig.open:
            time.sleep(self.rig.engine.patience() or 0)
            self.step()
        return self.rig.records(target)[-1]

    def restore(self) -> None:
        """At rest, too: from a slot, with another card, window and sampling than were saved."""
        while self.saving.keys() & {i for _, i in self.rig.open}:
            time.sleep(self.rig.engine.patience() or 0)
            self.step()
        slot, name = self.random.choice(SLOTS), self.name
        known = self.saved.get(slot)
        if known is None:
            return
        if name in self.rig.engine.stage.characters:
            self.send(m.Despawn(id=self.rig.id(), npc=name))
        rules = self.random.choice(["Brief.", "Brief. A patch has made her longer-winded."])
        card = {"name": name, "system_prompt": rules, "first_mes": "Hi."}
        window = self.random.choice([None, None, 300, 400])
        kept: Any = self.random.choice(["new", "new", "saved"])
        target = self.send(m.Spawn(id=self.rig.id(), npc=name, card=card, restore=slot,
                                   window=window, restore_card=kept))  # fmt: skip
        self.told[name] = set(known.get(name, ()))
        spawned = self.until(target)
        assert isinstance(spawned, m.Spawned), spawned
        assert spawned.restored == (name in known)
        self.counts["restored"] = self.counts.get("restored", 0) + spawned.restored

    def despawn(self) -> None:
        self.send(m.Despawn(id=self.rig.id(), npc=self.name))

    def pin(self) -> None:
        name = self.name
        fact = self.words(name).strip() if self.random.random() < 0.7 else None
        turn = self.random.randint(1, 30) if fact is None else None
        self.send(m.Pin(id=self.rig.id(), npc=name, text=fact, turn=turn))

    def unpin(self) -> None:
        self.send(m.Unpin(id=self.rig.id(), npc=self.name, turn=self.random.randint(1, 30)))

    def rewind(self) -> None:
        n = self.random.randint(1, 6)
        how = {"turns": n} if self.random.random() < 0.7 else {"to_turn": n}
        self.send(m.Rewind(id=self.rig.id(), npc=self.name, **how))

    def transcript(self) -> None:
        self.send(m.Transcript(id=self.rig.id(), npc=self.name))

    def drop(self) -> None:
        why: Any = self.random.choice(["cancelled", "slow_client"])
        self.rig.engine.drop(self.random.choice(CLIENTS), why)

    def fail(self) -> None:
        self.fake.n_failures = 1

    def look(self) -> None:
        self.send(self.random.choice([m.List, m.Stats, m.Ping])(id=self.rig.id()))
