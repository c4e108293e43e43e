"""The bars: to scale, in the glyphs of their parts, with true captions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.cli.terminal import WINDOW_STYLES
from npc_engine.cli.window_bars import FANCY, LABEL, PLAIN, Glyphs, draw_bars, glyphs_for, parts_of
from npc_engine.protocol import WindowReply
from tests.support.windows import segment, window, windows

WIDTHS = st.integers(40, 200)


def bars(w: WindowReply, width: int = 80, glyphs: Glyphs = PLAIN) -> dict[str, str]:
    """The bars by label, without their captions."""
    rows = ["".join(text for _, text in row) for row in draw_bars(w, parts_of(w), width, glyphs)]
    return {row[:LABEL].strip(): row[LABEL:] for row in rows if row[0] != " "}


def captions(w: WindowReply) -> str:
    rows = ["".join(text for _, text in row) for row in draw_bars(w, parts_of(w), 200, PLAIN)]
    return " ".join(row.strip() for row in rows if row[0] == " ")


def holds(w: WindowReply, label: str) -> list[str]:
    """The style of each token of the window, or of each position that was used."""
    places: list[str] = []
    for part in parts_of(w):
        for s in part.segments:
            if label == "cells":
                places += [part.style] * s.n_tokens
            elif s.start is not None:
                places += ["hole"] * (s.start - len(places)) + [part.style] * s.n_cached
    return places + ["free"] * (w.n_window - len(places) if label == "cells" else 0)


@given(windows(), WIDTHS)
def test_a_column_shows_what_its_middle_falls_into(w: WindowReply, width: int) -> None:
    n = width - LABEL
    for label in ("cells", "positions"):
        places = holds(w, label)
        drawn = bars(w, width)[label]
        assert len(drawn) == (n if places else 0)
        for i, glyph in enumerate(drawn):
            first, middle, last = (int((i + x) * len(places) / n) for x in (0, 0.5, 1))
            allowed = {getattr(PLAIN, places[middle])}
            if label == "cells":
                allowed |= {PLAIN.pending} if places[middle] != "free" else set()
            if "pin" in places[first : last + 1]:
                allowed |= {PLAIN.pin, PLAIN.pending}
            assert glyph in allowed, (label, i)


@given(st.integers(1, 4000), st.integers(0, 4000), WIDTHS)
def test_to_scale_within_a_column(n_persona: int, n_free: int, width: int) -> None:
    w = window([segment("persona", 0, n_persona)], n_window=n_persona + n_free)
    drawn = bars(w, width)["cells"]
    exact = n_persona * len(drawn) / w.n_window
    assert abs(drawn.count(PLAIN.persona) - exact) <= 1
    assert set(drawn[: drawn.count(PLAIN.persona)]) <= {PLAIN.persona}


def test_a_small_pin_is_seen() -> None:
    w = window(
        [
            segment("persona", 0, 300),
            segment("event", 1, 3, 300, pinned=True),
            segment("said", 2, 300, 900),
        ],
        n_window=8192,
    )
    assert bars(w)["cells"].count(PLAIN.pin) == 1
    assert bars(w)["positions"].count(PLAIN.pin) == 1


def test_turns_that_are_neighbours_differ_and_the_open_one_too() -> None:
    segments = [segment("persona", 0, 50)]
    segments += [segment("said", turn, 50, 50 * turn) for turn in (1, 3, 5, 6)]
    drawn = bars(window(segments, n_window=300))["cells"]
    order = list(dict.fromkeys(drawn))
    assert order == [PLAIN.persona, PLAIN.even, PLAIN.odd, PLAIN.open, PLAIN.free]
    styles = [part.style for part in parts_of(window(segments))]
    assert styles == ["persona", "even", "odd", "even", "open"]


def test_holes_take_positions_and_no_cells() -> None:
    w = window([segment("persona", 0, 100), segment("said", 9, 100, 900)], n_window=400)
    drawn = bars(w)
    assert PLAIN.hole not in drawn["cells"]
    n = len(drawn["positions"])
    assert abs(drawn["positions"].count(PLAIN.hole) - 0.8 * n) <= 1
    assert "800 of 1,000 positions are holes now (_): no cells, no time." in captions(w)
    assert "each with its cell" in captions(window([segment("persona", 0, 100)]))


def test_what_is_not_read_yet() -> None:
    segments = [segment("persona", 0, 100), segment("said", 1, 100, None)]
    drawn = bars(window(segments, n_window=400))
    n = len(drawn["cells"])
    assert abs(drawn["cells"].count(PLAIN.pending) - n / 4) <= 1
    assert PLAIN.pending not in drawn["positions"]
    assert "200 of 400 tokens, 100 not read yet (:)." in captions(window(segments, n_window=400))
    fresh = window([segment("persona", 0, 100, None)])
    assert bars(fresh)["positions"] == ""
    assert "Nothing is in the cache yet." in captions(fresh)


def test_the_mark_stands_where_holes_are_closed() -> None:
    w = window([segment("persona", 0, 100)], n_pos=4000)
    drawn = bars(w)
    n = len(drawn["limit"])
    assert abs(drawn["limit"].index(PLAIN.mark) - 0.75 * n) <= 1
    assert "100 of 4,000 positions (2%). From | 3,000 on" in captions(w)


def test_the_limit_fills_up() -> None:
    w = window([segment("persona", 0, 100), segment("said", 9, 100, 3900)], n_pos=4000)
    assert set(bars(w)["limit"]) == {PLAIN.used, PLAIN.mark}
    assert "4,000 of 4,000 positions (100%)" in captions(w)
    for n, text in ((0, "closes holes."), (1, "(so far once)."), (3, "(so far 3 times).")):
        w.n_renumbered = n
        assert text in captions(w)


def test_glyphs() -> None:
    assert all(glyphs.isascii() for glyphs in PLAIN)
    for glyphs in (FANCY, PLAIN):
        single = glyphs[:11]
        assert {len(g) for g in single} == {1}
        assert len(set(single[:8])) == 8
    assert {"head", "note"} | {*Glyphs._fields[:11]} - {"pending"} == {*WINDOW_STYLES}


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [("utf-8", FANCY), ("ascii", PLAIN), ("cp1252", PLAIN), (None, PLAIN), ("none-such", PLAIN)],
)
def test_glyphs_that_an_encoding_has(encoding: str | None, glyphs: Glyphs) -> None:
    assert glyphs_for(encoding) == glyphs
