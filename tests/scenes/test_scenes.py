"""All scenes: what is refused and why, several at once, and a random walk through all of it."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npc_engine import protocol as m
from npc_engine.scenes.scenes import MAX_PAST
from tests.support.rig import GAME
from tests.support.troupe import Troupe

FOUR = ("mara", "bram", "wren", "tom")
PLAIN = {name: [f"k{name[0]}{i} is so." for i in range(40)] for name in FOUR}


@pytest.fixture
def troupe(tmp_path: Path) -> Iterator[Troupe]:
    troupe = Troupe(tmp_path, {k: list(v) for k, v in PLAIN.items()}, max_tokens=64)
    yield troupe
    troupe.rest()
    troupe.close()


def refused(troupe: Troupe, request: m.Request, code: str, value: str) -> None:
    error = troupe.ask(request)
    assert isinstance(error, m.Error), error
    assert (error.code, error.id) == (code, request.id)
    assert value in error.message
    assert error.help


@pytest.mark.parametrize(
    ("keys", "code", "value"),
    [
        ({"npcs": []}, "bad_message", "0 characters"),
        ({"npcs": ["mara"]}, "bad_message", "'mara'"),
        ({"npcs": ["mara", "mara"]}, "bad_message", "1 characters"),
        ({"npcs": ["mara", "bo"]}, "unknown_npc", "'bo'"),
        ({"npcs": ["mara", "bram"], "first": "wren"}, "bad_message", "'wren'"),
    ],
)
def test_a_scene_that_cannot_be(
    troupe: Troupe, keys: dict[str, Any], code: str, value: str
) -> None:
    refused(troupe, m.Scene(id="s", scene="inn", **keys), code, value)
    assert troupe.ask(m.Stats(id="t")).stats["n_scenes"] == 0
    assert troupe["mara"].audience is None


def test_not_more_than_a_room_holds(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(17)]
    troupe = Troupe(tmp_path, {name: ["Hm."] for name in names})
    refused(troupe, m.Scene(id="s", scene="inn", npcs=names), "bad_message", "17 characters")
    troupe.scene("inn", names[:16], turns=1)
    refused(troupe, m.Join(id="j", scene="inn", npc=names[16]), "busy", "16 characters")
    troupe.rest()
    troupe.close()


def test_one_character_in_one_scene_and_one_scene_of_a_name(troupe: Troupe) -> None:
    troupe.scene("inn", ["mara", "bram"])
    refused(troupe, m.Scene(id="s", scene="inn", npcs=["wren", "tom"]), "busy", "'inn'")
    refused(troupe, m.Scene(id="s", scene="mill", npcs=["wren", "bram"]), "busy", "'bram'")
    assert troupe["wren"].audience is None
    troupe.scene("mill", ["wren", "tom"])
    refused(troupe, m.Join(id="j", scene="mill", npc="mara"), "busy", "'inn'")
    refused(troupe, m.Join(id="j", scene="barn", npc="mara"), "unknown_target", "'barn'")
    refused(troupe, m.Join(id="j", scene="inn", npc="bo"), "unknown_npc", "'bo'")
    refused(troupe, m.Leave(id="l", scene="barn", npc="mara"), "unknown_target", "'barn'")
    refused(troupe, m.Leave(id="l", scene="inn", npc="tom"), "unknown_target", "'tom'")
    refused(troupe, m.Leave(id="l", scene="inn", npc="bo"), "unknown_npc", "'bo'")


def test_a_scene_belongs_to_its_client(troupe: Troupe) -> None:
    target = troupe.scene("inn", ["mara", "bram"])
    troupe.until_line(target, 1)
    said = troupe.cancel(target, client=b"other")
    troupe.until(said, b"other")
    assert troupe.records(said, b"other")[-1].code == "unknown_target"
    assert (GAME, target) in troupe.open
    assert troupe.ask(m.Join(id="j", scene="inn", npc="wren"), b"other") == m.Ok(id="j")


def test_two_scenes_at_once(troupe: Troupe) -> None:
    inn = troupe.scene("inn", ["mara", "bram"], turns=6)
    mill = troupe.scene("mill", ["wren", "tom"], turns=6, client=b"other")
    n_both = 0
    while troupe.open:
        troupe.step()
        n_both += len([c for c in troupe.engine.stage.characters.values() if c.generation]) == 2
    assert n_both > 20, "they took turns"
    assert troupe.records(inn)[-1].reason == troupe.records(mill, b"other")[-1].reason == "turns"
    troupe.rest()
    for npc in ("mara", "bram"):
        assert "kw0" not in troupe.heard(npc) and "kt0" not in troupe.heard(npc)
        assert "kb2" in troupe.heard(npc) and "km2" in troupe.heard(npc)


def test_who_is_in_which_scene(troupe: Troupe) -> None:
    target = troupe.scene("inn", ["mara", "bram"])
    infos = {i.npc: i.scene for i in troupe.ask(m.List(id="l")).npcs}
    assert infos == {"mara": "inn", "bram": "inn", "wren": None, "tom": None}
    assert troupe.ask(m.Stats(id="t")).stats["n_scenes"] == 1
    troupe.cancel(target)
    assert troupe.ask(m.Stats(id="t")).stats["n_scenes"] == 0


def test_a_cancelled_scene_makes_room_at_once(troupe: Troupe) -> None:
    troupe.cancel(troupe.scene("inn", ["mara", "bram"]))
    target = troupe.scene("inn", ["bram", "mara"], turns=2)
    assert troupe.until(target).n_turns == 2


def test_past_scenes_do_not_pile_up(troupe: Troupe) -> None:
    for _ in range(MAX_PAST + 5):
        troupe.until(troupe.scene("inn", ["mara", "bram"], turns=1))
    assert len(troupe.engine.stage.scenes._scenes) <= MAX_PAST + 1


def test_a_member_that_talks_to_somebody_else_is_waited_for(troupe: Troupe) -> None:
    """Its turn comes when it has ended that; what it missed meanwhile it hears then, once."""
    troupe.lines["bram"][0] = "kz " * 15
    said = troupe.say("bram", "A tale?", client=b"other", priority="ambient")
    troupe.steps(3)
    target = troupe.scene("inn", ["mara", "bram"], turns=3)
    troupe.until(target)
    troupe.until(said, b"other")
    troupe.rest()
    assert troupe.heard("bram").count("km0 is so.") == 1
    assert troupe.speakers(target) == ["mara", "bram", "mara"]


def test_a_cue_that_waits_takes_no_place_of_a_line(tmp_path: Path) -> None:
    troupe = Troupe(tmp_path, {k: ["So it is."] for k in ("mara", "bram")}, max_queue=1)
    troupe.say("mara", priority="near")
    while not troupe["mara"].is_speaking:
        troupe.step()
    target = troupe.scene("inn", ["mara", "bram"], turns=1)
    troupe.step()
    assert troupe["mara"].is_speaking and troupe["mara"].waiting(m.Say), "the cue"
    assert troupe.talk("mara").reason == "stop"
    troupe.until(target)
    troupe.close()


def test_an_idle_engine_with_a_past_scene_rests(troupe: Troupe) -> None:
    troupe.play("mara", "bram", turns=2)
    troupe.rest()
    assert troupe.engine.patience() is None


MOVES = [
    "scene", "scene", "say", "say", "near", "ambient", "event", "hear", "cancel", "late", "heard",
    "batch", "batch", "join", "leave", "rewind", "despawn", "spawn", "pin", "fact", "save", "load",
    "drop", "fail", "step", "step", "steps", "steps", "steps",
]  # fmt: skip


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(
        st.tuples(st.sampled_from(MOVES), st.integers(0, 3), st.integers(0, 40)), max_size=60
    ),
    recurrent=st.booleans(),
    n_slots=st.sampled_from([1, 2, 4]),
    window=st.sampled_from([420, 3000]),
)
def test_whatever_happens_every_scene_ends_once(
    tmp_path: Path, moves: list[tuple[str, int, int]], recurrent: bool, n_slots: int, window: int
) -> None:
    """The rig checks each step: one terminal reply, no gap, caches and chats well-formed."""
    lines = {name: [unique_line(name, i) for i in range(200)] for name in FOUR}
    saves = Path(tempfile.mkdtemp(dir=tmp_path))  # nobody is loaded out of another example
    troupe = Troupe(
        saves, lines, recurrent=recurrent, n_slots=n_slots, window=window, max_tokens=40
    )
    walk = Walk(troupe)
    walk.run(moves)
    troupe.rest()
    walk.check_talk()
    walk.check_what_others_heard()
    troupe.rest()
    troupe.close()


def unique_line(name: str, i: int) -> str:
    """A turn whose words nobody says again, to somebody."""
    return f"{FOUR[i % 3]}, k{name}{i}q. *nods* And k{name}{i}z."


class Walk:
    """Random requests. Whatever happens, nobody remembers hearing a word twice; what was said to
    somebody whose client got the answer is remembered; and what was cut or taken back is gone
    from everybody who has not answered it.
    """

    def __init__(self, troupe: Troupe) -> None:
        self.troupe = troupe
        self.targets: list[str] = []
        self.said: dict[str, tuple[str, str]] = {}  # by id: to whom, and a word of it
        self.disturbed: set[str] = set()  # whose memory the game has changed itself

    def run(self, moves: list[tuple[str, int, int]]) -> None:
        for move, one, n in moves:
            self.move(move, FOUR[one], FOUR[(one + 1 + n % 3) % 4], n)
            self.check_talk()

    def check_talk(self) -> None:
        for npc in self.troupe.engine.stage.characters:
            words = re.findall(r"k\w+\d+[qz]", self.troupe.talk_of(npc))
            assert len(words) == len(set(words)), self.troupe.talk_of(npc)
        for target, (npc, word) in self.said.items():
            done = [r for r in self.troupe.records(target) if isinstance(r, m.Done) and r.turn]
            if done and self.remembers_all(npc):
                assert word in self.troupe.talk_of(npc), "an answered line is forgotten"

    def remembers_all(self, npc: str) -> bool:
        characters = self.troupe.engine.stage.characters
        is_known = npc in characters and npc not in self.disturbed
        return is_known and not characters[npc].dialogue.ledger.n_evicted

    def check_what_others_heard(self) -> None:
        """At rest: who has not answered what it heard knows no more of it than who said it."""
        for npc, character in self.troupe.engine.stage.characters.items():
            if any(s.pinned and s.kind != "persona" for s in character.dialogue.ledger.segments):
                continue
            unanswered = self.troupe.talk_of(npc).rsplit("|assistant", 1)[-1]
            for word, speaker in re.findall(r"\b(k([a-z]+)\d+[qz])\b", unanswered):
                if speaker in FOUR and speaker != npc and self.remembers_all(speaker):
                    assert word in self.troupe.talk_of(speaker), f"{npc} still knows {word}"

    def move(self, move: str, one: str, two: str, n: int) -> None:
        troupe = self.troupe
        simple: dict[str, Callable[[], m.Request]] = {
            "join": lambda: m.Join(id=troupe.id(), scene=f"s{n % 2}", npc=one),
            "leave": lambda: m.Leave(id=troupe.id(), scene=f"s{n % 2}", npc=one),
            "despawn": lambda: m.Despawn(id=troupe.id(), npc=one),
            "spawn": lambda: m.Spawn(
                id=troupe.id(),
                npc=one,
                card={"name": one.capitalize(), "system_prompt": f"I am {one.capitalize()}."},
            ),
            "pin": lambda: m.Pin(id=troupe.id(), npc=one, turn=1 + n % 5),
            "save": lambda: m.Save(id=troupe.id(), slot="a"),
            "fact": lambda: m.Pin(id=troupe.id(), npc=one, text=f"Fact {n}."),
            "rewind": lambda: m.Rewind(id=troupe.id(), npc=one, turns=1 + n % 2),
            "load": lambda: m.Load(id=troupe.id(), slot="a", npcs=[one]),
            "event": lambda: m.Event(id=troupe.id(), npcs="*", text="A bell."),
            "hear": lambda: m.Hear(id=troupe.id(), npc=one, text="Half a wor"),
        }
        others: dict[str, Callable[[], object]] = {
            "scene": lambda: self.scene(f"s{n % 2}", one, two, n),
            "say": lambda: self.say(one, "player"),
            "near": lambda: self.say(one, "near"),
            "ambient": lambda: self.say(one, "ambient"),
            "batch": lambda: self.batch(one, two, n),
            "cancel": lambda: self.cancel(n, None),
            "late": lambda: self.cancel(n, n),
            "heard": lambda: self.cancel(n, 10_000),
            "drop": lambda: troupe.engine.drop(GAME, "cancelled" if n % 2 else "slow_client"),
            "fail": lambda: setattr(troupe.fake, "n_failures", 1),
        }
        if move in ("rewind", "load", "despawn"):
            self.disturbed.add(one)
        if move in simple:
            troupe.send(simple[move]())
        others.get(move, lambda: None)()
        troupe.steps({"steps": n, "batch": n % 2}.get(move, 1))

    def scene(self, name: str, one: str, two: str, n: int) -> None:
        npcs = [one, two, *([FOUR[n % 4]] if n % 2 else [])]
        self.targets.append(self.troupe.scene(name, npcs, turns=1 + n % 7))

    def say(self, npc: str, priority: Any) -> None:
        word = f"kp{len(self.said)}q"
        target = self.troupe.say(npc, f"Well, {word}?", priority=priority)
        self.targets.append(target)
        self.said[target] = npc, word

    def batch(self, one: str, two: str, n: int) -> None:
        """No step comes between these."""
        if n % 2:
            self.say(one, "player")
        self.cancel(n, heard=n)
        if n % 3:
            self.say(two, "player")

    def cancel(self, n: int, heard: int | None) -> None:
        if self.targets:
            self.troupe.cancel(self.targets[-1 - (n % 3) % len(self.targets)], heard=heard)
