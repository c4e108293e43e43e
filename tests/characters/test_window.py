"""What a character's window holds, told of an engine that talks, evicts, parks and speaks."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from npc_engine import protocol as m
from npc_engine.characters.requests import Requests
from npc_engine.client.in_process import Engine
from tests.support.fake_llama import FakeLlama
from tests.support.rig import Rig, scripted


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path, fake=FakeLlama(mind=scripted("*nods* Come in.")))
    rig.spawn("mara")
    return rig


def window(rig: Rig, npc: str = "mara") -> m.WindowReply:
    """The answer before the next step, as it comes over the wire."""
    reply = Requests(rig.engine.stage).show_window(b"", m.Window(id="w", npc=npc))
    got = m.unpack_reply(m.pack(reply))
    assert isinstance(got, m.WindowReply)
    return got


def check(rig: Rig, got: m.WindowReply) -> None:
    """The record is what the ledger says, and adds up."""
    ledger = rig[got.npc].dialogue.ledger
    counts = (got.n_tokens, got.n_cells, got.n_pinned, got.n_window, got.next_pos, got.n_evicted)
    assert counts == (
        *(ledger.n_tokens, ledger.n_cells, ledger.n_pinned),
        *(ledger.window, ledger.next_pos, ledger.n_evicted),
    )
    assert got.n_tokens == sum(s.n_tokens for s in got.segments) <= got.n_window
    assert got.n_cells == sum(s.n_cached for s in got.segments)
    assert got.n_pinned == sum(s.n_tokens for s in got.segments if s.pinned)
    assert got.next_pos <= got.n_pos
    places = [(s.start, s.start + s.n_cached) for s in got.segments if s.start is not None]
    assert all(a[1] <= b[0] for a, b in pairwise(places))


def texts(got: m.WindowReply, kind: str) -> list[str]:
    return [s.text for s in got.segments if s.kind == kind]


def test_a_talk(rig: Rig) -> None:
    rig.event("The bell\nrings.", importance=0.75)
    rig.talk("mara", "Good   evening.")
    rig.rest()
    got = window(rig)
    check(rig, got)
    assert (got.npc, got.state, got.speaking, got.turn) == ("mara", "resident", False, 2)
    assert (got.n_cells, got.n_evicted, got.n_renumbered) == (got.n_tokens, 0, 0)
    kinds = [s.kind for s in got.segments]
    assert kinds == ["persona", "open", "event", "said", "close", "reply", "end"]
    assert [s.turn for s in got.segments] == [0, *6 * [1]]
    persona, _, event, *_ = got.segments
    assert (persona.start, persona.pinned, persona.text) == (0, True, "Mara keeps the inn.")
    assert (event.text, event.importance, event.pinned) == ("*The bell rings.*", 0.75, False)
    assert texts(got, "said") == ["Good evening."]
    assert texts(got, "reply") == ["*nods* Come in."]


def test_old_turns_leave_whole_and_the_persona_stays(rig: Rig) -> None:
    for i in range(20):
        rig.talk("mara", f"This is line {i}.")
        got = window(rig)
        check(rig, got)
        assert got.segments[0].start == 0
    assert got.n_evicted == got.next_pos - got.n_cells > 0
    assert got.segments[0].n_cached == got.segments[0].n_tokens
    kinds: dict[int, list[str]] = {}
    for s in got.segments[1:]:
        kinds.setdefault(s.turn, []).append(s.kind)
    whole = ["open", "said", "close", "reply", "end"]
    assert kinds == dict.fromkeys(range(min(kinds), got.turn), whole)
    assert min(kinds) > 1


def test_what_is_not_read_yet_has_no_position(rig: Rig) -> None:
    rig.rest()
    rig.event("A stranger comes in.")
    rig.engine.stage.claims()  # it is taken in, and nothing is decoded
    got = window(rig)
    check(rig, got)
    assert got.n_cells == got.n_tokens - sum(s.n_tokens for s in got.segments[1:])
    assert [(s.start, s.n_cached) for s in got.segments[1:]] == 2 * [(None, 0)]


def test_a_reply_under_way_has_its_words(rig: Rig) -> None:
    rig.say("mara", "Good evening.")
    while not texts(window(rig), "reply") or len(texts(window(rig), "reply")[0]) < 8:
        rig.step()
    got = window(rig)
    check(rig, got)
    assert got.speaking
    assert texts(got, "reply")[0] in ("*nods* C", "*nods* Co")


def test_a_parked_character_keeps_its_places(tmp_path: Path) -> None:
    rig = Rig(tmp_path, fake=FakeLlama(n_slots=1))
    for npc in ("mara", "bram"):
        rig.spawn(npc)
        rig.talk(npc)
    got = window(rig)
    check(rig, got)
    assert (got.state, window(rig, "bram").state) == ("parked", "resident")
    assert got.n_cells > 0


def test_pinned_turns_are_told_from_the_persona(tmp_path: Path) -> None:
    rig = Rig(tmp_path, fake=FakeLlama(mind=scripted("Aye.")), window=512)
    rig.spawn("mara")
    rig.ask(m.Pin(id=rig.id(), npc="mara", text="Tom has it."))
    done = rig.talk("mara", "No.")
    pinned = rig.ask(m.Pin(id=rig.id(), npc="mara", turn=done.turn))
    assert isinstance(pinned, m.Pinned), pinned
    for i in range(20):
        rig.talk("mara", f"This is line {i}.")
    got = window(rig)
    check(rig, got)
    whole = ["open", "event", "close", "reply", "end"]
    pins = [(s.turn, s.kind) for s in got.segments if s.pinned and s.kind != "persona"]
    assert pins == [(1, kind) for kind in whole] + [
        (done.turn, kind.replace("event", "said")) for kind in whole
    ]
    assert "*Tom has it.*" in texts(got, "event")
    assert "No." in texts(got, "said")


@pytest.mark.parametrize("text", ["\x1b[31mred\x9b2J \u202edesrever\u2028 \x00", "wörd " * 400])
def test_texts_are_short_and_clean(rig: Rig, text: str) -> None:
    rig.talk("mara", text)
    rig.event(text)
    rig.hear("mara", text)
    rig.rest()
    for s in window(rig).segments:
        assert len(s.text) <= 80
        assert s.text.isprintable() and "  " not in s.text and s.text == s.text.strip()


def test_nobody_of_that_name(rig: Rig) -> None:
    got = rig.ask(m.Window(id=rig.id(), npc="bob"))
    assert isinstance(got, m.Error) and got.code == "unknown_npc"


def test_asking_in_process(rig: Rig) -> None:
    engine = Engine(rig.engine)
    assert engine.window("mara").n_pinned == engine.list_npcs()[0].n_pinned


def listed(rig: Rig, npc: str = "mara") -> m.NpcInfo:
    """The character in a `list`, as it comes over the wire."""
    reply = Requests(rig.engine.stage).list(b"", m.List(id="l"))
    got = m.unpack_reply(m.pack(reply))
    assert isinstance(got, m.Npcs)
    return next(info for info in got.npcs if info.npc == npc)


def test_a_list_tells_who_waits(rig: Rig) -> None:
    rig.rest()
    quiet = listed(rig)
    assert (quiet.priority, quiet.n_waiting, quiet.n_events, quiet.n_pending) == (None, 0, 0, 0)
    rig.say("mara", "Hello.", priority="ambient")
    rig.say("mara", "Hello again.", priority="player")
    waiting = listed(rig)
    assert (waiting.speaking, waiting.priority, waiting.n_waiting) == (False, "ambient", 2)
    rig.step()
    rig.event("The bell rings.")
    spoken_to = listed(rig)
    assert (spoken_to.speaking, spoken_to.priority) == (True, "ambient")
    assert (spoken_to.n_waiting, spoken_to.n_events) == (1, 1)
    assert spoken_to.n_pending == rig["mara"].dialogue.sequence.n_pending
    rig.rest()
    assert listed(rig).priority is None


def test_an_older_engine_does_not_tell_who_waits() -> None:
    old = {"npc": "mara", "name": "Mara", "state": "parked", "speaking": False}
    counts = {"n_tokens": 1, "n_pinned": 1, "n_window": 9}
    info = msgspec.convert(old | counts, m.NpcInfo)
    assert (info.priority, info.n_waiting, info.n_events, info.n_pending) == (None,) * 4
