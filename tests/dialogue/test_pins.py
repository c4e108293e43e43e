"""Pins: what a character must never forget stays, whatever else leaves, within its budget."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine import protocol as m
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.pins import TAKEN, budget
from npc_engine.kvcache.ledger import Kind
from npc_engine.saving.restore.reviving import retell, thaw
from npc_engine.saving.serialization import freeze
from tests.support.fake_llama import FakeLlama
from tests.support.rig import MakeRig, Rig, TimedLlama

FACT = "You promised Tom your sword."
WELL_FORMED = re.compile(r"P(OE*SCRD|OECRD)*(O(E*)S?)?")
JOINED = re.compile(r"P((E*SCRD|ECRD)(OE*SCRD|OECRD)*(O(E*)S?)?|E*S?)")
LETTER = dict(zip(Kind, "POESNCRD", strict=True))


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig(window=900, fake=TimedLlama(n_cells=900))


def pin(rig: Rig, text: str | None = None, turn: int | None = None, npc: str = "mara") -> Any:
    return rig.ask(m.Pin(id=rig.id(), npc=npc, text=text, turn=turn))


def unpin(rig: Rig, turn: int, npc: str = "mara") -> Any:
    return rig.ask(m.Unpin(id=rig.id(), npc=npc, turn=turn))


def forget_the_past(rig: Rig, n: int = 30) -> None:
    """Talk until whatever may leave has left."""
    for i in range(n):
        rig.talk("mara", f"Day {i} is like the day before it.", max_tokens=20)


def kinds(dialogue: Dialogue) -> str:
    return "".join(LETTER[s.kind] for s in dialogue.ledger.segments)


def test_a_fact_stays_until_it_is_unpinned(rig: Rig) -> None:
    spawned = rig.spawn("mara")
    pinned = pin(rig, FACT)
    assert isinstance(pinned, m.Pinned)
    assert pinned.n_pinned == spawned.n_pinned + pinned.n_tokens
    assert pinned.n_left == budget(rig["mara"].dialogue) - pinned.n_tokens
    forget_the_past(rig)
    assert rig["mara"].dialogue.ledger.n_evicted > 900
    assert f"*{FACT}*" in rig.heard("mara")
    assert isinstance(unpin(rig, pinned.turn), m.Ok)
    forget_the_past(rig)
    assert FACT not in rig.heard("mara")
    assert rig["mara"].dialogue.ledger.n_pinned == spawned.n_pinned


def test_a_turn_stays_whole(rig: Rig) -> None:
    rig.spawn("mara")
    rig.talk("mara", "Good morning.", max_tokens=10)
    rig.event("A bell tolls.")
    done = rig.talk("mara", "I am your brother.", max_tokens=10)
    assert done.turn == 2
    pinned = pin(rig, turn=done.turn)
    assert pinned.turn == 2
    forget_the_past(rig)
    dialogue = rig["mara"].dialogue
    assert [s.kind for s in dialogue.ledger.segments if s.turn == 2] == [
        *(Kind.OPEN, Kind.EVENT, Kind.SAID, Kind.CLOSE, Kind.REPLY, Kind.END)
    ]
    assert "*A bell tolls.*\nI am your brother." in rig.heard("mara")
    assert "Good morning." not in rig.heard("mara")


def test_the_same_fact_twice_is_one(rig: Rig) -> None:
    rig.spawn("mara")
    first, second = pin(rig, FACT), pin(rig, f" {FACT}\n")
    assert (first.turn, first.n_left) == (second.turn, second.n_left)
    done = rig.talk("mara", max_tokens=5)
    first, second = pin(rig, turn=done.turn), pin(rig, turn=done.turn)
    assert (first.turn, first.n_left) == (second.turn, second.n_left)


def test_a_full_budget_is_an_error_that_says_what_to_do(rig: Rig) -> None:
    rig.spawn("mara")
    first = pin(rig, FACT)
    before = rig.tokens("mara")
    error = pin(rig, "Never forget this. " * 8)
    assert isinstance(error, m.Error)
    assert error.code == "too_large"
    assert f"{first.n_tokens} of {first.n_tokens + first.n_left} tokens" in error.message
    assert f"Unpin turn {first.turn}," in error.help
    assert rig.tokens("mara") == before
    too_long = pin(rig, "Never forget this. " * 99)  # whatever is unpinned for it
    assert "Say it shorter" in too_long.help
    assert isinstance(unpin(rig, first.turn), m.Ok)


@pytest.mark.parametrize(
    ("request_", "code", "help_"),
    [
        ({"text": FACT, "turn": 1}, "bad_message", "one of them"),
        ({}, "bad_message", "one of them"),
        ({"text": "\x00 \n"}, "bad_message", "in words"),
        ({"turn": 2}, "unknown_target", "are: 1."),  # the open turn
        ({"turn": 99}, "unknown_target", "are: 1."),
        ({"npc": "tom", "turn": 1}, "unknown_npc", ""),
    ],
)
def test_what_cannot_be_pinned(rig: Rig, request_: dict[str, Any], code: str, help_: str) -> None:
    rig.spawn("mara")
    rig.talk("mara", max_tokens=3)
    rig.event("A bell.")
    rig.rest()
    before = rig.tokens("mara")
    error = pin(rig, **request_)
    assert isinstance(error, m.Error)
    assert error.code == code
    assert help_ in error.help
    assert rig.tokens("mara") == before


def test_what_cannot_be_unpinned(rig: Rig) -> None:
    rig.spawn("mara")
    error = unpin(rig, 1)
    assert (error.code, error.help) == ("unknown_target", "Nothing is pinned.")
    pinned = pin(rig, FACT)
    assert f"Pinned turns: {pinned.turn}." in unpin(rig, 99).help


def test_a_turn_that_has_left_cannot_be_pinned(rig: Rig) -> None:
    rig.spawn("mara")
    rig.talk("mara")
    forget_the_past(rig)
    error = pin(rig, turn=1)
    assert error.code == "unknown_target"


def test_the_open_turn_goes_on_behind_a_fact(rig: Rig) -> None:
    rig.spawn("mara")
    rig.event("A bell tolls.")
    rig.hear("mara", "Do you")
    rig.rest()
    pinned = pin(rig, FACT)
    assert pinned.turn == 1
    rig.talk("mara", "Do you hear it?", max_tokens=4)
    heard = rig.heard("mara")
    assert heard.index(FACT) < heard.index(TAKEN) < heard.index("*A bell tolls.*\nDo you hear it?")
    assert WELL_FORMED.fullmatch(kinds(rig["mara"].dialogue))


def test_a_pin_waits_for_the_line_that_is_spoken(rig: Rig) -> None:
    rig.spawn("mara")
    say = rig.say("mara", max_tokens=30)
    rig.steps(6)
    assert rig["mara"].generation
    waiting = rig.send(m.Pin(id=rig.id(), npc="mara", text=FACT))
    rig.step()
    assert rig.records(waiting) == []
    assert isinstance(rig.until(waiting), m.Pinned)
    assert isinstance(rig.records(say)[-1], m.Done)


def test_a_pin_that_waits_is_answered_when_its_character_leaves(rig: Rig) -> None:
    rig.spawn("mara")
    rig.say("mara", max_tokens=30)
    rig.steps(6)
    waiting = rig.send(m.Pin(id=rig.id(), npc="mara", text=FACT))
    rig.ask(m.Despawn(id=rig.id(), npc="mara"))
    assert rig.until(waiting).code == "unknown_npc"


def test_too_many_pins_at_once_are_refused(rig: Rig) -> None:
    rig.spawn("mara")
    rig.say("mara", max_tokens=30)
    rig.steps(6)
    ids = [rig.send(m.Pin(id=rig.id(), npc="mara", text=f"Fact {i}.")) for i in range(9)]
    assert rig.until(ids[-1]).code == "busy"


def test_a_save_keeps_pins(rig: Rig) -> None:
    rig.spawn("mara")
    pinned = pin(rig, FACT)
    turn = rig.talk("mara", "I am Tom.", max_tokens=5).turn
    pin(rig, turn=turn)
    forget_the_past(rig, 10)
    tokens = rig.tokens("mara")
    rig.save("slot")
    forget_the_past(rig)
    loaded = rig.load("slot")
    assert [one.source for one in loaded.npcs] == ["payload"]
    assert rig.tokens("mara") == tokens
    forget_the_past(rig)
    assert FACT in rig.heard("mara")
    assert "I am Tom." in rig.heard("mara")
    assert isinstance(unpin(rig, pinned.turn), m.Ok)


def frozen_with_pins() -> dict[str, Any]:
    rig = Rig(Path("never-written"), window=900, fake=TimedLlama(n_cells=900))
    rig.spawn("mara")
    for fact in (FACT, "Tom is afraid of dogs."):
        assert isinstance(pin(rig, fact), m.Pinned)
    rig.talk("mara", "Good day.", max_tokens=5)
    state = freeze(rig["mara"].dialogue, [], now=rig.now)
    rig.close()
    return state


def test_another_model_pins_what_was_pinned() -> None:
    fake = FakeLlama()
    npc = retell(
        "mara",
        frozen_with_pins(),
        fake.chat_format(),
        fake,
        window=900,
        n_pos=10_000,
        most_events=64,
        now=0.0,
    )
    texts = [s.text for s in npc.ledger.segments if s.pinned and s.kind is Kind.EVENT]
    assert texts == [f"*{FACT}*\n", "*Tom is afraid of dogs.*\n"]
    assert WELL_FORMED.fullmatch(kinds(npc))


def test_a_smaller_window_lets_go_of_the_oldest_pins() -> None:
    fake = FakeLlama()
    state = frozen_with_pins()
    npc = thaw("mara", state, fake.chat_format(), fake, window=330, n_pos=10_000, n_vocab=259,
               most_events=64, payload=None, now=0.0)  # fmt: skip
    texts = [s.text for s in npc.ledger.segments if s.pinned and s.kind is Kind.EVENT]
    assert texts == ["*Tom is afraid of dogs.*\n"]
    assert npc.ledger.n_pinned == sum(len(s.tokens) for s in npc.ledger.segments if s.pinned)


@pytest.mark.slow
@pytest.mark.parametrize("joined", [False, True])
@given(st.lists(st.sampled_from("ttteefupx"), max_size=25))
def test_a_chat_with_pins_is_well_formed(joined: bool, moves: list[str]) -> None:
    """Whatever is said, perceived, pinned, unpinned and interrupted, in any order."""
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    rig = Rig(Path("never-written"), window=300)
    if joined:
        rig.engine.stage.chat_format = rig.fake.chat_format(template)
    rig.spawn("mara")
    dialogue = rig["mara"].dialogue
    assert dialogue.ledger.joined is joined
    facts: dict[int, str] = {}
    last: Any = None
    for i, move in enumerate(moves):
        if move == "t":
            last = rig.talk("mara", f"Line {i}, and more of it.", max_tokens=12)
        elif move == "e":
            rig.event(f"Bell {i}.", importance=i % 3 / 2)
        elif move == "f" and isinstance(reply := pin(rig, f"Fact {i}."), m.Pinned):
            facts[reply.turn] = f"Fact {i}."
        elif move == "p" and last is not None:
            pin(rig, turn=last.turn)
        elif move == "u" and facts:
            turn, _ = facts.popitem()
            assert isinstance(unpin(rig, turn), m.Ok)
        elif move == "x" and last is not None:
            rig.cancel(last.id, heard=3)
        rig.rest()
        assert (JOINED if joined else WELL_FORMED).fullmatch(kinds(dialogue)), kinds(dialogue)
        assert all(fact in rig.heard("mara") for fact in facts.values())
        assert dialogue.ledger.n_pinned <= dialogue.ledger.window
    rig.close()


def test_a_late_cancel_cuts_the_line_and_not_a_fact_that_was_pinned_since(rig: Rig) -> None:
    rig.spawn("mara")
    done = rig.talk("mara", "Who are you?", max_tokens=20)
    fact = pin(rig, FACT)
    reply = rig.ask(m.Cancel(id=rig.id(), target=done.id or "", heard=3))
    assert reply == m.Ok(id=reply.id, cancelled=False)
    rig.rest()
    replies = {s.turn: s.text for s in rig["mara"].dialogue.ledger.segments if s.kind is Kind.REPLY}
    assert replies == {done.turn: done.text[:3].rstrip(), fact.turn: TAKEN}
    assert f"*{FACT}*" in rig.heard("mara")
    assert TAKEN in rig.heard("mara")


class Listener(TimedLlama):
    """Notes the longest text that it was asked to tokenize."""

    longest = 0

    def tokenize(self, text: str, markup: bool = False) -> list[int]:
        self.longest = max(self.longest, len(text))
        return super().tokenize(text, markup)


def test_no_text_is_tokenized_only_to_be_refused_or_cut(tmp_path: Path) -> None:
    """However long: a step would else take as long as a megabyte takes."""
    long = "Mara. " * 80_000
    fake = Listener(n_cells=900)
    rig = Rig(tmp_path, window=900, fake=fake)
    rig.spawn("mara", card={"name": "Mara", "first_mes": "Come in. " * 6_000})
    refused = pin(rig, long)
    assert refused.code == "too_large"
    assert "A pin of over " in refused.message
    card = {"name": "Bram", "description": "A smith. " * 7_000}
    refused = rig.ask(m.Spawn(id=rig.id(), npc="bram", card=card))
    assert refused.code == "too_large"
    assert "takes over " in refused.message
    rig.event(long)
    rig.hear("mara", long)
    assert rig.talk("mara", long, notes=[long], max_tokens=4).truncated
    assert 0 < fake.longest <= 16 * 900
    rig.close()
