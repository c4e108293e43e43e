"""The report in its four forms, from numbers that are made up."""

from pathlib import Path

import pytest

from npc_engine.bench.save.figures import Beside, Character, Crowd, Measured, Trip
from npc_engine.bench.save.report import as_json, as_markdown, as_text, figure
from npc_engine.bench.shared.figures import passed
from npc_engine.bench.shared.report import save_figure, verdicts

FACTS = {
    "command": "npc-engine bench save --model q4.gguf",
    "model": "q4",
    "n_threads": 1,
    "layout": "f16, flash attention off",
    "layouts": {"f16": "f16, flash attention off", "q8_0": "q8_0, flash attention on"},
}


def measured(restore: float = 20.0, during: float = 41.0) -> Measured:
    trips = [Trip(8.0, 15.0, 30.0, 14.0, restore, 4000.0)]
    characters = [
        Character("f16", "f16, flash attention off", 954, 22_004_823, 2048, trips),
        Character("q8_0", "q8_0, flash attention on", 2000, 24_000_000, 4096, trips),
    ]
    rounds = [Beside([40.0] * 60, [during] * 40, 6100.0, 440 << 20)]
    return Measured(characters, Crowd(20, 4, 954, "f16, flash attention off", rounds))


def test_json_has_numbers_and_verdicts() -> None:
    whole = as_json(FACTS, measured())
    assert (whole["benchmark"], whole["model"], whole["interrupted"]) == ("save", "q4", False)
    assert [row["kv_type"] for row in whole["characters"]] == ["f16", "q8_0"]
    assert whole["crowd"]["saved_ms"] == 6100.0
    assert set(whole["verdicts"].values()) == {True}
    assert passed(whole)


def test_tables_and_markdown_tell_the_same() -> None:
    whole = as_json(FACTS, measured())
    tables, page = as_text(whole), as_markdown(whole)
    size = ["954", "f16", "23,064", "21.0", "2.0"]
    time = ["954", "f16", "8.0", "15.0", "30.0", "14.0", "20.0", "4,000.0", "200 x"]
    rows = [row.split() for row in tables.splitlines() if row.startswith("954 ")]
    assert rows[0] == size
    assert rows[1] == [*time[:-1], "200", "x"]
    for cells in (size, time, ["added to a line, steps", "", "0.50"]):
        assert "| " + " | ".join(cells) + " |" in page
    assert "| longest line, ms | 800 | 820 |" in page
    assert page.startswith("# Saves: q4\n")
    assert "q8_0: q8_0, flash attention on; beside speakers f16, flash attention off." in page
    assert "png" not in page


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (measured(restore=300.0), "restoring 1,000 tokens: FAILED"),
        (measured(during=43.0), "a save beside speakers: FAILED"),
        (Measured(measured().characters, None, interrupted=True), "not measured (interrupted)"),
    ],
)
def test_failures_and_interruptions_do_not_pass(found: Measured, says: str) -> None:
    whole = as_json(FACTS, found)
    assert not passed(whole)
    assert says in verdicts(whole)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["characters", "crowd", "all"])
def test_the_plot_has_what_was_measured(tmp_path: Path, part: str) -> None:
    pytest.importorskip("matplotlib")
    found = measured()
    if part == "characters":
        found.crowd = None
    elif part == "crowd":
        found.characters = []
    whole = as_json(FACTS, found)
    made = figure(whole)
    assert len(made.axes) == (2 if part == "all" else 1)
    save_figure(made, tmp_path / "save.png")
    assert (tmp_path / "save.png").read_bytes().startswith(b"\x89PNG")
    assert as_markdown(whole).count("## ") == {"characters": 2, "crowd": 1, "all": 3}[part]
