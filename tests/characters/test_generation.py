"""One reply under way: its records, its counts, when it may end and when it is full."""

from typing import Any, Literal

import pytest

from npc_engine import protocol as m
from npc_engine.characters.generation import MAX_FOR_LINE, MAX_SILENT_TOKENS, Generation
from npc_engine.text.thoughts import KNOWN

Kind = Literal["text", "line", "gesture"]


ALL: list[Kind] = ["text", "line", "gesture"]


def make(limit: int = 100, stream: list[Kind] = ALL) -> Generation:
    request = m.Say(id="7", npc="mara", text="Hm?", stream=stream)
    generation = Generation(
        request, b"game", own=("Mara",), others=("Player",), stop=(), thoughts=KNOWN,
        sampler=None, received=10.0,
    )  # fmt: skip
    generation.limit = limit
    generation.silent_limit = limit + MAX_SILENT_TOKENS
    return generation


def say(generation: Generation, text: str) -> list[Any]:
    records: list[Any] = []
    for byte in text.encode():
        generation.note_token(11.0)
        records += generation.feed(bytes([byte]))
    return records


def test_its_records_are_numbered_and_bear_the_request() -> None:
    generation = make()
    records = say(generation, "Aye. *nods* Well.") + generation.finish(cut=False)
    assert [r.seq for r in records] == list(range(len(records)))
    assert {(r.id, r.npc) for r in records} == {("7", "mara")}
    lines = [r for r in records if isinstance(r, m.Line)]
    assert [(r.index, r.text) for r in lines] == [(0, "Aye."), (1, "Well.")]
    assert [r.text for r in records if isinstance(r, m.Gesture)] == ["nods"]
    assert "".join(r.text for r in records if isinstance(r, m.Text)) == "Aye. *nods* Well."


def test_only_what_is_asked_for_streams_and_is_numbered() -> None:
    generation = make(stream=["line"])
    records = say(generation, "Aye. *nods* Well.") + generation.finish(cut=False)
    assert [(type(r), r.seq) for r in records] == [(m.Line, 0), (m.Line, 1)]


def test_whole_lines_are_what_a_barge_in_leaves() -> None:
    generation = make()
    say(generation, "Aye. I saw it. And th")
    assert generation.whole_lines == "Aye. I saw it."
    say(generation, "e")
    assert not generation.has_new_line


def test_nothing_ends_before_anything_was_said() -> None:
    generation = make()
    assert not generation.may_end
    say(generation, "A")
    assert generation.may_end
    silent = make()
    say(silent, "\n" * MAX_SILENT_TOKENS)
    assert silent.may_end, "but not for ever"


def test_a_reply_is_full_at_its_limit_and_an_empty_one_later() -> None:
    generation = make(limit=3)
    say(generation, "Ay")
    assert not generation.is_full
    say(generation, "e")
    assert generation.is_full
    silent = make(limit=3)
    say(silent, "\n" * (3 + MAX_SILENT_TOKENS - 1))
    assert not silent.is_full
    say(silent, "\n")
    assert silent.is_full


@pytest.mark.parametrize("limit", [40, 400])
def test_a_thought_that_leaves_no_room_for_a_line_is_told_of_once(limit: int) -> None:
    generation = make(limit=limit)
    say(generation, "<think>")
    n_left = min(limit // 4, MAX_FOR_LINE)
    say(generation, "x" * (limit - n_left - generation.stats.n_decoded - 1))
    assert generation.too_long_a_thought() is None
    say(generation, "x")
    assert generation.too_long_a_thought() == "<think>"
    assert generation.too_long_a_thought() is None


def test_a_thought_that_is_set_aside_counts_no_more() -> None:
    generation = make()
    thought = "<think>A wolf.</think>"
    say(generation, thought)
    assert generation.thought_is_over
    generation.set_aside(len(thought))
    assert not generation.thought_is_over
    say(generation, "Aye.")
    generation.finish(cut=False)
    assert generation.n_bytes("Aye") == 3
    assert generation.heard(3) == "Aye"


def test_its_end_tells_times_and_counts() -> None:
    generation = make()
    say(generation, "Aye. So it is.")
    done = generation.done("stop", "Aye.", now=12.0)
    assert (done.id, done.npc, done.text, done.reason) == ("7", "mara", "Aye.", "stop")
    assert (done.stats.n_decoded, done.stats.ttft_ms, done.stats.total_ms) == (14, 1000.0, 2000.0)
    assert done.stats.decode_tps == 13.0


def test_it_answers_one_request_of_one_client() -> None:
    generation = make()
    assert generation.answers(b"game", "7")
    assert not generation.answers(b"other", "7")
    assert not generation.answers(b"game", "8")
