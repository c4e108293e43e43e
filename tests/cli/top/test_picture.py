"""The picture of an engine: no row is too wide, everybody is there or counted."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.cli.top.picture import draw
from npc_engine.cli.top.sample import Rates, Sample
from npc_engine.cli.window_bars import FANCY, PLAIN, Glyphs
from npc_engine.cli.window_picture import MIN_WIDTH, n_columns
from npc_engine.protocol import NpcInfo
from tests.support.live import npc

STATS = {
    "n_waiting_says": 1,
    "n_waiting_events": 2,
    "n_pending_tokens": 1034,
    "step_ms": 8.25,
    "n_threads": 1,
    "uptime_s": 3725.9,
    "model_bytes": 98 << 20,
    "kv_bytes": 190 << 20,
    "parked_bytes": 57 << 20,
}
NAMES = st.text("Mara Venn 旅人はいる 🐉 e\u0301 \x1b[31m\n", max_size=30)


def sample(npcs: list[NpcInfo], **stats: Any) -> Sample:
    return Sample("tcp://127.0.0.1:5757", "SmolLM2", 8, npcs, STATS | stats)


def text(
    one: Sample, width: int = 80, glyphs: Glyphs = PLAIN, speeds: Rates | None = None, **keys: Any
) -> list[str]:
    drawn = draw(one, speeds or Rates(120.6, 0.0), width, glyphs=glyphs, **keys)
    return ["".join(part for _style, part in row) for row in drawn]


def test_the_head() -> None:
    assert text(sample([npc(), npc("bram", state="parked")]))[:5] == [
        "SmolLM2 | tcp://127.0.0.1:5757 | up 1:02:05",
        "who      1 of 8 slots | 1 resident, 1 parked",
        "speed    speaking 121 tok/s | reading 0 tok/s | step 8.2 ms | 1 thread",
        "waiting  1 line | 2 events | 1,034 tokens to read",
        "memory   model 98 MiB | KV 190 MiB | parked 57 MiB",
    ]


def test_the_table() -> None:
    cast = [
        npc("idle", n_tokens=400, n_pinned=400),
        npc("mara", speaking=True, priority="player", n_waiting=2, n_tokens=200, n_pending=1),
        npc("bram", n_waiting=1, priority="near", n_pending=40),
    ]
    rows = text(sample(cast))[6:]
    assert rows[0].split() == ["name", "does", "for", "queue", "window"]
    assert rows[1].startswith("> Mara             speaks   player       2  ####")
    assert rows[1].endswith(" 200/400")
    assert rows[2].split()[:4] == ["Bram", "waits", "near", "1"]
    assert rows[3].split()[:2] == ["Idle", "resident"]
    bars = [re.search(r"  ([#=:.]+) ", row)[1] for row in rows[1:]]  # type: ignore[index]
    assert len({len(bar) for bar in bars}) == 1
    n = len(bars[0])
    assert bars[0].count("#") + bars[0].count("=") == round(n / 2)
    assert bars[1].count(":") == round(n / 10)
    assert bars[2] == n * "#"


@given(
    st.lists(
        st.builds(
            npc,
            name=st.sampled_from(["mara", "x" * 64]),
            speaking=st.booleans(),
            state=st.sampled_from(["resident", "parked", "frozen"]),
            priority=st.sampled_from([None, "player", "ambient", "something new"]),
            n_waiting=st.none() | st.integers(0, 99),
            n_pending=st.none() | st.integers(0, 5000),
            n_tokens=st.integers(0, 1 << 20),
            n_pinned=st.integers(0, 5000),
            n_window=st.integers(1, 1 << 20),
        ),
        max_size=12,
    ),
    st.integers(1, 200),
    st.none() | st.integers(1, 30),
    st.sampled_from([FANCY, PLAIN]),
    NAMES,
)
def test_no_row_is_too_wide_and_everybody_counts(
    npcs: list[NpcInfo], width: int, height: int | None, glyphs: Glyphs, name: str
) -> None:
    for one in npcs:
        one.name = name
    problem = "The engine at tcp://127.0.0.1:5757 is gone. Trying again for 30 s; q leaves."
    rows = text(sample(npcs), width, glyphs, height=height, problem=problem)
    for row in rows:
        assert n_columns(row) <= max(width, MIN_WIDTH)
        assert row.isprintable()
    if npcs:
        table = rows[rows.index("") + 2 :]
        more = re.match(r"  and (\d+) more", table[-1])
        n = len(table) - 1 + int(more[1]) if more else len(table)
        assert n == len(npcs)
        assert more is None or int(more[1]) > 1


def test_a_long_list_is_cut_with_a_count() -> None:
    cast = [npc(f"n{i}", state="resident" if i < 8 else "parked") for i in range(40)]
    rows = text(sample(cast), height=17)
    assert len(rows) == 17
    assert rows[-1] == "  and 31 more: 31 parked"
    assert len(text(sample(cast), height=7 + 40)) == 7 + 40
    assert len(text(sample(cast))) == 7 + 40


def test_a_screen_of_few_rows_still_shows_who_is_busiest() -> None:
    cast = [npc("idle"), npc("idler"), npc("mara", speaking=True), npc("idlest")]
    rows = text(sample(cast), height=3)
    assert "Mara" in rows[7]
    assert rows[-1] == "  and 2 more: 2 resident"


def test_narrow_terminals() -> None:
    row = text(sample([npc(priority="player", n_waiting=3)]), 50)[-1]
    assert "player" not in row and "#" in row
    full = npc(n_tokens=99_999, n_window=100_000)
    assert text(sample([full]), 40)[-1] == "  Mara             resident 100%"
    assert text(sample([full]), 50)[-1].endswith(" 99,999/100,000")


def test_nobody_and_nothing_known() -> None:
    empty = Sample("tcp://x:1", "", None, [], {})
    rows = text(empty, speeds=Rates())
    assert rows == ["tcp://x:1", "speed    speaking ? | reading ?", "", "Nobody is there."]
    old = npc(priority=None, n_waiting=None, n_events=None, n_pending=None)
    assert " ? " in text(sample([old]))[-1]


def test_a_problem_stands_above_all() -> None:
    rows = text(sample([npc()]), problem="The engine is gone.")
    assert rows[0] == "The engine is gone."
    assert rows[1].startswith("SmolLM2")


@pytest.mark.parametrize("glyphs", [FANCY, PLAIN])
def test_only_glyphs_that_can_be_printed(glyphs: Glyphs) -> None:
    one = sample([npc(speaking=True, n_pending=1), npc("b", n_pending=50)])
    printed = "".join(text(one, glyphs=glyphs))
    if glyphs is PLAIN:
        printed.encode("ascii")
    else:
        assert "█" in printed and "→" in printed
