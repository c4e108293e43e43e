"""Floods of events: bounded, the same text once, nothing beyond its time; against naive models."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine import protocol as m
from npc_engine.characters.unread_events import Flood, Unread
from npc_engine.kvcache.ledger import Kind
from npc_engine.protocol import Event, Hear, Say
from tests.support.rig import MakeRig, Rig, TimedLlama, scripted

TEXTS = [f"Bell {i}." for i in range(6)]


@dataclass(eq=False)
class Waits:
    request: Any
    received: float = 0.0


def event(text: str, importance: float = 0.5, expires_s: float | None = None) -> Event:
    return Event(id="e", npcs="*", text=text, importance=importance, expires_s=expires_s)


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    fake = TimedLlama(n_cells=4000, n_slots=1, mind=scripted("Hm."))
    rig = make_rig(fake=fake, window=4000, max_events=4)
    rig.spawn("mara")
    rig.rest()
    return rig


def stats(rig: Rig) -> tuple[int, int, int]:
    """Dropped, coalesced, expired."""
    values = rig.ask(m.Stats(id=rig.id())).stats
    return (
        values["n_events_dropped"],
        values["n_events_coalesced"],
        values["n_events_expired"],
    )


def unread(rig: Rig) -> list[str]:
    """The events of the open turn, in order."""
    dialogue = rig["mara"].dialogue
    found = [
        s for s in dialogue.ledger.segments if s.kind is Kind.EVENT and s.turn == dialogue.turn
    ]
    return [s.text.strip("*\n") for s in found]


# -- what waits ---------------------------------------------------------------------------------


def test_of_two_that_wait_the_later_one_counts() -> None:
    flood, inbox = Flood(), deque[Waits]()
    queue = Unread(None, 9, flood)  # type: ignore[arg-type]
    queue.put(inbox, Waits(event("A.", 0.9, 5), 10.0))
    queue.put(inbox, Waits(event("B."), 11.0))
    queue.put(inbox, Waits(event("A.", 0.2, 1), 12.0))
    assert [(w.request.text, w.request.importance) for w in inbox] == [("B.", 0.5), ("A.", 0.9)]
    assert inbox[1].received + inbox[1].request.expires_s == 15.0
    queue.put(inbox, Waits(event("A."), 13.0))
    assert inbox[1].request.expires_s is None
    queue.put(inbox, Waits(event("A.", 1.0, 1), 14.0))
    assert (inbox[1].request.expires_s, inbox[1].request.importance) == (None, 1.0)
    assert flood == Flood(n_coalesced=3)


def test_what_came_before_a_line_stays_before_it() -> None:
    flood, inbox = Flood(), deque[Waits]()
    queue = Unread(None, 9, flood)  # type: ignore[arg-type]
    queue.put(inbox, Waits(event("A.")))
    inbox.append(Waits(Say(id="s", npc="mara", text="Hi.")))
    queue.put(inbox, Waits(event("A.")))
    inbox.append(Waits(Hear(id="h", npc="mara", text="Wh")))
    queue.put(inbox, Waits(event("A.")))
    assert [type(w.request).__name__ for w in inbox] == ["Event", "Say", "Hear", "Event"]
    assert flood == Flood(n_coalesced=1)


@given(st.lists(st.sampled_from([*TEXTS, None]), max_size=40), st.integers(1, 4))
def test_what_waits_is_as_in_the_naive_model(texts: list[str | None], most: int) -> None:
    """None is a line of the player."""
    flood, inbox = Flood(), deque[Waits]()
    queue = Unread(None, most, flood)  # type: ignore[arg-type]
    model: list[str | None] = []
    for text in texts:
        if text is None:
            inbox.append(Waits(Say(id="s", npc="mara", text="Hi.")))
        else:
            queue.put(inbox, Waits(event(text)))
            last_line = max((i for i, t in enumerate(model) if t is None), default=-1)
            if text in model[last_line + 1 :]:
                model.reverse()
                model.remove(text)
                model.reverse()
        model.append(text)
        events = [t for t in model if t is not None]
        if len(events) > most:
            model.remove(events[0])
        found = [w.request.text if isinstance(w.request, Event) else None for w in inbox]
        assert found == model
    n_events = sum(t is not None for t in texts)
    n_kept = sum(t is not None for t in model)
    assert flood.n_dropped + flood.n_coalesced == n_events - n_kept


def test_a_flood_of_trifles_drops_no_event_that_matters() -> None:
    flood, inbox = Flood(), deque[Waits]()
    queue = Unread(None, 4, flood)  # type: ignore[arg-type]
    queue.put(inbox, Waits(event("Murder!", 1.0)))
    for i in range(6):
        queue.put(inbox, Waits(event(f"Drop {i}.", 0.0)))
    texts = [w.request.text for w in inbox]
    assert texts == ["Murder!", "Drop 3.", "Drop 4.", "Drop 5."]
    for i in range(20):
        queue.put(inbox, Waits(event(f"News {i}.", 1.0)))
    assert [w.request.text for w in inbox] == [f"News {i}." for i in range(16, 20)]
    assert flood.n_dropped == 23


# -- the open turn ------------------------------------------------------------------------------


def test_a_flood_in_the_open_turn_drops_no_event_that_matters(rig: Rig) -> None:
    rig.event("Murder!", importance=1.0)
    for i in range(6):
        rig.event(f"Drop {i}.", importance=0.0)
        rig.rest()
    assert unread(rig) == ["Murder!", "Drop 3.", "Drop 4.", "Drop 5."]


@pytest.mark.parametrize("importance", [0.0, 0.5, 1.0])
def test_a_flood_of_events_does_not_push_out_the_talk(tmp_path: Path, importance: float) -> None:
    rig = Rig(tmp_path, fake=TimedLlama(mind=scripted("It is so.")), window=400)
    rig.spawn("mara")
    rig.event("Mara finds her sister dead.", importance=1.0)
    weighty = rig.talk("mara", "I am sorry.").turn
    while rig["mara"].dialogue.ledger.n_tokens < 250:
        rig.talk("mara", "Go on.")
    for i in range(40):
        rig.event(f"Drop {i} falls.", importance=importance)
        rig.rest()
    turns = {t.turn: t for t in rig.ask(m.Transcript(id=rig.id(), npc="mara")).turns}
    assert weighty in turns or importance == 1.0
    assert len(turns) >= 3, "some of the talk stays"
    assert unread(rig)[-1] == "Drop 39 falls."
    assert sum(len(f"*{text}*\n") for text in unread(rig)) <= 0.55 * 400
    rig.close()


def test_the_newest_of_the_open_turn_are_kept(rig: Rig) -> None:
    for text in TEXTS:
        rig.event(text)
        rig.rest()
    assert unread(rig) == TEXTS[2:]
    assert stats(rig) == (2, 0, 0)
    rig.talk("mara")
    for text in TEXTS[:3]:
        rig.event(text)
    rig.rest()
    assert unread(rig) == TEXTS[:3], "a reply has taken in the others"
    assert stats(rig) == (2, 0, 0)


def test_a_flood_while_it_speaks_and_before(rig: Rig) -> None:
    for text in TEXTS[:3]:
        rig.event(text)
    rig.rest()
    target = rig.say("mara")
    rig.steps(2)
    for i in range(1000):
        rig.event(f"Drop {i}.")
        rig.event("It rains.")
    assert len(rig["mara"].waiting(m.Event)) == 4
    rig.until(target)
    rig.rest()
    assert unread(rig) == ["Drop 997.", "Drop 998.", "Drop 999.", "It rains."]
    assert all(text in rig.heard("mara") for text in TEXTS[:3])
    assert stats(rig) == (997, 999, 0)


def test_the_same_again_is_not_read_again(rig: Rig) -> None:
    rig.event(TEXTS[0])
    rig.event(TEXTS[1])
    rig.rest()
    n_read = sum(len(t) for batch in rig.fake.batches for _, _, t, _ in batch)
    for _ in range(100):
        rig.event(TEXTS[1], importance=0.9)
        rig.rest()
    assert n_read == sum(len(t) for batch in rig.fake.batches for _, _, t, _ in batch)
    assert unread(rig) == TEXTS[:2]
    assert rig["mara"].dialogue.ledger.segments[-1].importance == 0.9
    rig.event(TEXTS[0], importance=0.1)
    rig.rest()
    assert unread(rig) == [TEXTS[1], TEXTS[0]]
    assert rig["mara"].dialogue.ledger.segments[-1].importance == 0.5
    assert stats(rig) == (0, 101, 0)


def test_the_half_typed_line_stays_behind_a_flood(rig: Rig) -> None:
    rig.event(TEXTS[0])
    rig.hear("mara", "Who are y")
    rig.rest()
    for text in [*TEXTS, *TEXTS]:
        rig.event(text)
        rig.rest()
    assert unread(rig) == TEXTS[2:]
    assert rig["mara"].dialogue.ledger.segments[-1].text == "Who are y"
    rig.talk("mara", "Who are you?")
    assert rig.heard("mara").count("Who are y") == 1


def test_what_has_expired_is_never_read(rig: Rig) -> None:
    """It is pending when its time is over: the engine was busy with somebody else's line."""
    rig.spawn("bob")
    rig.rest()
    speech = rig.say("bob")
    rig.event("A smell of smoke.", ["mara"], expires_s=10)
    rig.event("A song.", ["mara"], expires_s=60)
    rig.steps(2)
    assert unread(rig) == ["A smell of smoke.", "A song."]
    rig.now += 20
    rig.until(speech)
    rig.fake.batches.clear()
    rig.hear("mara", "Hm")
    rig.rest()
    assert unread(rig) == ["A song."]
    read = bytes(t for b in rig.fake.batches for s in b for t in s[2] if t < 256)
    assert b"song" in read and b"smoke" not in read
    assert stats(rig) == (0, 0, 1)
    rig.now += 100
    rig.talk("mara")
    assert "song" not in rig.heard("mara")
    assert stats(rig) == (0, 0, 2)


def test_the_later_end_counts(rig: Rig) -> None:
    rig.event("A song.", expires_s=60)
    rig.rest()
    rig.event("A song.", expires_s=10)
    rig.event("Rain.", expires_s=10)
    rig.rest()
    rig.event("A song.", expires_s=10)
    rig.rest()
    rig.now += 20
    rig.event("Wind.")
    rig.rest()
    assert unread(rig) == ["A song.", "Wind."]
    rig.event("A song.")
    rig.rest()
    rig.now += 1000
    rig.event("Wind.", expires_s=1)
    rig.rest()
    rig.now += 1000
    rig.rest()
    rig.event("Rain.")
    rig.rest()
    assert unread(rig) == ["A song.", "Wind.", "Rain."], "one of the two had no end"


ops = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(TEXTS), st.sampled_from([None, 0, 5, 20])),
        st.integers(1, 15),  # seconds that pass
        st.just("talk"),
    ),
    max_size=25,
)


@given(ops)
def test_the_open_turn_is_as_in_the_naive_model(tmp_path_factory: Any, ops: list[Any]) -> None:
    fake = TimedLlama(n_cells=4000, n_slots=1, mind=scripted("Hm."))
    rig = Rig(tmp_path_factory.getbasetemp(), fake=fake, window=4000, max_events=3)
    rig.spawn("mara")
    model: dict[str, float] = {}  # text to its end, in order
    for op in ops:
        if isinstance(op, int):
            rig.now += op
        elif op == "talk":
            rig.talk("mara")
            model.clear()
        else:
            text, expires_s = op
            rig.event(text, expires_s=expires_s)
            model = {t: end for t, end in model.items() if end > rig.now}
            end = rig.now + (float("inf") if expires_s is None else expires_s)
            if end > rig.now:
                model[text] = max(end, model.pop(text, 0.0))
                model = dict(list(model.items())[-3:])
        rig.rest()
        rig.step()
        assert unread(rig) == [t for t, end in model.items() if end > rig.now]
    rig.close()
