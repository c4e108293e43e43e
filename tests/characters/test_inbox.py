"""What waits for a character: what merges, what is too much, what is told of it."""

from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.characters.inbox import Heard, Inbox, Waiting
from npc_engine.characters.unread_events import Flood, Unread
from npc_engine.dialogue.overheard import Cue, Overheard
from npc_engine.errors import Busy

OPEN_TURN: Any = None  # nothing is served here


@pytest.fixture
def inbox() -> Inbox:
    return Inbox("mara", Unread(OPEN_TURN, 2, Flood()))


def put(inbox: Inbox, *requests: Heard, max_queue: int = 1) -> None:
    for request in requests:
        inbox.put(Waiting(b"game", request, 10.0, 0), max_queue)


def served(inbox: Inbox) -> list[Heard]:
    return [inbox.take_first().request for _ in range(len(inbox))]


def test_what_comes_first_is_served_first(inbox: Inbox) -> None:
    say, event = m.Say(id="1", npc="mara", text="Hello."), m.Event(id="2", npcs="*", text="Rain.")
    assert inbox.first is None
    put(inbox, say, event)
    assert inbox.first is say
    assert [w.request for w in inbox.all_of(m.Event, m.Pin)] == [event]
    assert served(inbox) == [say, event]
    assert not inbox


def test_the_newest_of_half_typed_lines_counts(inbox: Inbox) -> None:
    lines = [m.Hear(id=str(i), npc="mara", text="Who are you"[: 3 * i]) for i in range(1, 4)]
    put(inbox, *lines)
    assert served(inbox) == lines[-1:]


def test_talk_that_goes_on_is_one(inbox: Inbox) -> None:
    put(inbox, Overheard(1, "Bram", " Hm."), Overheard(1, "Bram", " Yes."))
    put(inbox, Overheard(2, "Wren", " No."), Overheard(1, "Bram", " Oh."))
    assert inbox.lines() == ["Bram: Hm. Yes. Oh.", "Wren: No."]
    assert len(inbox) == 3


def test_too_many_lines_are_busy_and_a_cue_is_none_of_them(inbox: Inbox) -> None:
    put(inbox, Cue(id="turn 0", npc="mara", text="Mara speaks."))
    put(inbox, m.Say(id="1", npc="mara", text="Hello."))
    put(inbox, Cue(id="turn 1", npc="mara", text="Mara speaks."))
    with pytest.raises(Busy, match="1 requests"):
        put(inbox, m.Say(id="2", npc="mara", text="Hello?"))
    assert len(inbox) == 3


def test_events_that_are_not_over_are_told(inbox: Inbox) -> None:
    put(
        inbox,
        m.Event(id="1", npcs="*", text="Rain.", expires_s=5.0, importance=0.75),
        m.Event(id="2", npcs="*", text="Snow."),
    )
    assert inbox.events(14.0) == [("Rain.", 0.75, 1.0), ("Snow.", 0.5, None)]
    assert inbox.events(15.0) == [("Snow.", 0.5, None)]
