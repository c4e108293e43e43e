"""The paragraphs of a user turn as text: their form, and the share of the window that each has."""

from npc_engine.dialogue.paragraphs import MAX_LABEL, Paragraphs, as_event, label_of, own_turn
from npc_engine.kvcache.ledger import Ledger
from tests.support.fake_llama import FakeLlama


def make(window: int = 300) -> Paragraphs:
    return Paragraphs(FakeLlama().chat_format(), Ledger(window, 10_000))


def test_an_event_is_a_line_between_asterisks() -> None:
    assert make().event(" A wolf\x00 howls. ") == "*A wolf howls.*\n"
    assert make().event("*It rains.*") == as_event("*It rains.*") == "*It rains.*\n"
    assert make().event(" \x00\n") == ""


def test_whoever_is_not_the_player_is_named() -> None:
    assert make().said("Player", "Hi.") == ("Hi.", False)
    assert make().said("Old\nTom", "Ale!") == ("Old Tom: Ale!", False)
    assert make().said("", "Hi.") == ("Hi.", False)
    assert label_of(" \n") == ""
    assert own_turn("Mara") == "*Mara speaks.*"


def test_silence_is_shown() -> None:
    assert make().said("Player", " \n") == ("...", False)
    assert make(window=1).said("Player", "Hello there") == ("...", True)


def test_each_has_its_share_of_the_window() -> None:
    words = make()
    long = "word " * 200
    message, is_cut = words.said("Player", long)
    notes, are_cut = words.notes([long])
    assert is_cut and are_cut
    assert len(notes) < len(words.event(long)) < len(message) < 120


def test_notes_stand_in_brackets_and_empty_ones_are_none() -> None:
    assert make().notes(["", " \n"]) == ([], False)
    tokens, is_cut = make(window=600).notes(["Tired.", "", "It is late."])
    assert (bytes(tokens).decode(), is_cut) == ("\n(Tired.\nIt is late.)", False)


def test_a_name_too_long_for_a_label_is_left_out() -> None:
    assert bytes(make().own_label("Mara")).decode() == "Mara:"
    assert len(make().own_label("x" * (MAX_LABEL - 1))) == MAX_LABEL
    assert make().own_label("x" * MAX_LABEL) == []
