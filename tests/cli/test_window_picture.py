"""The picture: no row is too wide, the tokens add up, and who is pinned is always to be seen."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from npc_engine.cli.window_bars import FANCY, PLAIN, Glyphs
from npc_engine.cli.window_picture import MIN_WIDTH, draw, n_columns
from npc_engine.protocol import WindowReply
from tests.support.windows import segment, window, windows


def rows(w: WindowReply, width: int = 80, glyphs: Glyphs = PLAIN, name: str = "") -> list[str]:
    picture = draw(w, width, name=name, glyphs=glyphs)
    return ["".join(text for _, text in row) for row in picture]


def table(w: WindowReply, width: int = 80) -> list[tuple[str, str, int, str]]:
    """The table's rows: swatch, name, tokens, the rest."""
    drawn = rows(w, width)
    found = []
    for row in drawn[drawn.index("") + 2 :]:
        match = re.fullmatch(r"(..)  (persona|left|free|turn \d+|\d+ more) +([\d,]+)(.*)", row)
        assert match, row
        found.append((match[1], match[2], int(match[3].replace(",", "")), match[4].strip()))
    return found


@pytest.mark.slow
@given(windows(), st.integers(40, 200), st.sampled_from([FANCY, PLAIN]), st.text(max_size=90))
def test_no_row_is_too_wide(w: WindowReply, width: int, glyphs: Glyphs, name: str) -> None:
    for row in rows(w, width, glyphs, name if name.isprintable() else ""):
        assert n_columns(row) <= width
        assert row == row.rstrip()


@given(windows(), st.integers(40, 200))
def test_the_tokens_add_up_to_the_window(w: WindowReply, width: int) -> None:
    assert sum(n for _, _, n, _ in table(w, width)) == w.n_window


@pytest.mark.parametrize("text", ["Mara", "Grüß Gott", "旅人はいる", "🐉", "e\u0301", "ｱ", ""])
def test_columns_are_those_of_a_terminal(text: str) -> None:
    assert n_columns(text) == cell_len(text)


def test_less_than_the_least_width_is_taken_as_that() -> None:
    w = window([segment("persona", 0, 100)])
    assert rows(w, 1) == rows(w, MIN_WIDTH)


def test_the_head_says_who_and_what() -> None:
    w = window([segment("persona", 0, 100)], turn=7)
    assert rows(w)[0] == "mara | turn 7 | resident"
    assert rows(w, glyphs=FANCY, name="Mara Venn")[0] == "Mara Venn · turn 7 · resident"
    w.state = "parked"
    assert rows(w)[0].endswith("parked")
    w.speaking = True
    assert rows(w)[0].endswith("speaking")


def test_a_turn_tells_its_age_and_importance_and_words() -> None:
    w = window(
        [
            segment("persona", 0, 100, text="Mara keeps the inn."),
            segment("open", 3, 4, 100),
            segment("event", 3, 10, 104, text="*The bell rings.*", importance=0.875),
            segment("said", 3, 10, 114, text="Who is it?"),
            segment("reply", 3, 10, 124, text="*shrugs* A guest."),
            segment("event", 9, 7, None, text="*Rain.*"),
        ],
        n_window=200,
    )
    assert table(w) == [
        ("##", "persona", 100, "pinned: Mara keeps the inn."),
        ("__", "left", 0, "turns 1-2, 4-8, whole"),
        ("==", "turn 3", 34, "6  0.88  *The bell rings.* Who i... > *shrugs* A guest."),
        ("::", "turn 9", 7, "0   0.5  open, 7 not read: *Rain.*"),
        ("..", "free", 59, ""),
    ]


def test_both_sides_of_a_long_turn_are_seen() -> None:
    said, reply = "Tell me all about it. " * 3, "There is not much to tell, stranger. " * 2
    segments = [segment("said", 1, 10, text=said), segment("reply", 1, 10, 10, text=reply)]
    shown = table(window(segments))[0][3]
    assert "Tell me" in shown and " > There is" in shown and shown.endswith("...")
    segments[1].text = "No."
    shown = table(window(segments))[0][3]
    assert shown.endswith("... > No.")


@pytest.mark.parametrize(
    ("turns", "n_evicted", "left"),
    [
        ([1, 2, 3], 0, None),
        ([4, 5], 321, "321 tokens so far; turns 1-3, whole"),
        ([2, 5], 1234, "1,234 tokens so far; turns 1, 3-4, whole"),
        ([1], 12, "12 tokens so far"),
    ],
)
def test_who_has_left(turns: list[int], n_evicted: int, left: str | None) -> None:
    segments = [segment("persona", 0, 10)]
    segments += [segment("said", turn, 10, 10 * turn) for turn in turns]
    drawn = table(window(segments, n_evicted=n_evicted))
    assert [text for _, name, _, text in drawn if name == "left"] == ([left] if left else [])


def test_a_long_list_is_cut_in_the_middle_and_never_at_pins() -> None:
    segments = [segment("persona", 0, 10)]
    segments += [segment("said", t, 10, 10 * t, pinned=t in (2, 15)) for t in range(1, 31)]
    names = [name for _, name, _, _ in table(window(segments))]
    turns = ["turn 1", "turn 2", "turn 3", "turn 4", "10 more", "turn 15", "6 more"]
    assert names == ["persona", *turns, *(f"turn {t}" for t in range(22, 31)), "free"]
    shown = {name: (swatch, text) for swatch, name, _, text in table(window(segments))}
    assert shown["turn 15"] == (2 * PLAIN.pin, "15   0.5  pinned")


def test_a_narrow_terminal_keeps_words_and_not_age() -> None:
    w = window([segment("persona", 0, 100, text="Mara keeps the inn."), segment("said", 1, 9, 100)])
    assert "tokens  age  imp." in "\n".join(rows(w))
    assert "age" not in "\n".join(rows(w, 50))
    assert table(w, 50)[0] == ("##", "persona", 100, "pinned: Mara keeps the inn.")


def test_plain_glyphs_are_ascii() -> None:
    segments = [segment("persona", 0, 100, text="x" * 80), segment("said", 9, 100, 900)]
    assert "\n".join(rows(window(segments))).isascii()


def test_a_turn_is_as_important_as_its_events() -> None:
    shown = [
        [
            segment("open", 1, 4),
            segment("event", 1, 5, 4, importance=0.0),
            segment("said", 1, 5, 9),
        ],
        [segment("open", 1, 4), segment("said", 1, 5, 4)],
    ]
    for segments, importance in zip(shown, (" 0 ", " 0.5 "), strict=True):
        w = window([segment("persona", 0, 4, 0), *segments], turn=3)
        turn = next(row for row in table(w) if row[1] == "turn 1")
        assert importance in f" {turn[3]} "
