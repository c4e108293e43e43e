"""The report in its four forms, from numbers that are made up."""

from pathlib import Path
from typing import Any

import pytest

from npc_engine.bench.crowd.figures import Idle, Measured, Parking, Round, Sharing
from npc_engine.bench.crowd.report import as_json, as_markdown, as_text, figure, has_figure
from npc_engine.bench.shared.figures import passed
from npc_engine.bench.shared.report import save_figure, verdicts

SPEED, WAIT = "tokens per second, all together", "first token, ms"
FACTS = {
    "command": "npc-engine bench crowd --model q4.gguf",
    "model": "q4",
    "n_threads": 1,
    "layout": "f16, no flash attention",
    "depth": 900,
}


def measured(slow: float = 10.0, defaults: bool = True) -> Measured:
    rounds = {}
    for n in (1, 8):
        step_ms = {"engine": slow, "bare": 9.8} | ({"defaults": 25.0} if defaults else {})
        first = {"engine": [20.0] * n, "serial": [500.0 * i for i in range(n)]}
        rounds[n] = [Round(step_ms, 0.25, first, {"engine": 700.0, "serial": 90.0})]
    ram = {"model_bytes": 98 << 20, "kv_bytes": 190 << 20, "rss_bytes": 1 << 30}
    parking = Parking(200, 200, 8, 1000, [7.0], [4.0], [12.0], [4000.0], [99.0], [80.0], ram)
    return Measured(rounds, [100] * 15 + [96], parking, shared(), Idle(50, 30.0, 0.03, 4.0))


def shared() -> list[Sharing]:
    turns = {"auto": (960, 8.0), "1": (800, 8.0), "2": (1000, 8.0)}
    stats = {"n_threads": 2, "n_thread_switches": 3, "load": 0.1}
    return [Sharing(n, n_busy, [turns], stats) for n_busy in (0, 2) for n in (1, 8)]


def test_json_has_numbers_and_verdicts() -> None:
    whole = as_json(FACTS, measured())
    assert (whole["benchmark"], whole["model"], whole["interrupted"]) == ("crowd", "q4", False)
    assert [row["n_speakers"] for row in whole["speakers"]] == [1, 8]
    assert whole["fair"]["share"] == pytest.approx(0.96)
    assert whole["parking"]["of_reread"] == pytest.approx(1000)
    assert [row["n_busy"] for row in whole["governor"]] == [0, 0, 2, 2]
    assert {row["best"] for row in whole["governor"]} == {"2"}
    assert whole["idle"]["share"] == pytest.approx(0.001)
    assert set(whole["verdicts"].values()) == {True}
    assert passed(whole)


def test_tables_and_markdown_tell_the_same() -> None:
    whole = as_json(FACTS, measured())
    tables, page = as_text(whole), as_markdown(whole)
    eight = ["8", "10.0", "800", "816", "98.0%", "320", "2.50", "0.20", "0.25", "700", "90"]
    assert eight == next(row.split() for row in tables.splitlines() if row.startswith("8 "))
    assert "| " + " | ".join(eight) + " |" in page
    assert "| 8 | 20 | 20 | 20 | 1.00 | 0 | 1750 | 3500 |" in page
    assert "| call in: copy in | 4.0 | 4.0 | 4.0 | 1 |" in page
    assert "| to read again takes, of calling in | 1000 x |" in page
    assert "| kv | 190 |" in page
    assert "| speakers | busy | auto | 1 thr. | 2 thr. | of best | ends at | switches |" in page
    assert "| 8 | 2 | 120.0 | 100.0 | 125.0 | 96.0% | 2 | 3 |" in page
    assert "| 50 | 4.0 | 30 | 30 | 0.10% |" in page
    assert page.startswith("# A crowd: q4\n")
    assert "png" not in page


def test_what_could_not_be_measured_is_a_dash() -> None:
    whole = as_json(FACTS, measured(defaults=False))
    row = next(row.split() for row in as_text(whole).splitlines() if row.startswith("8 "))
    assert row[5:7] == ["-", "-"]
    assert "8 speakers against defaults: not measured" in verdicts(whole)
    assert passed(whole)


def test_failures_and_interruptions_do_not_pass() -> None:
    slow = as_json(FACTS, measured(slow=11.0))
    assert not passed(slow)
    assert "8 speakers against bare: FAILED" in verdicts(slow)
    found = measured()
    found.interrupted = True
    whole = as_json(FACTS, found)
    assert not passed(whole)
    assert verdicts(whole).endswith("(interrupted)\n")


def test_of_nothing_there_is_still_a_report() -> None:
    whole: dict[str, Any] = as_json(FACTS, Measured())
    assert as_text(whole) == "\n" + verdicts(whole)
    assert "not measured" in as_markdown(whole)
    assert not has_figure(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("found", "panels"),
    [
        (measured(), [SPEED, WAIT, SPEED]),
        (measured(defaults=False), [SPEED, WAIT, SPEED]),
        (Measured(rounds=measured().rounds), [SPEED, WAIT]),
        (Measured(sharing=shared()[:1]), [SPEED]),
    ],
)
def test_the_plot(tmp_path: Path, found: Measured, panels: list[str]) -> None:
    whole = as_json(FACTS, found)
    assert has_figure(whole)
    made, picture = figure(whole), tmp_path / "crowd.png"
    assert [ax.get_ylabel() for ax in made.axes] == panels
    save_figure(made, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_auto_is_a_level_in_the_colour_of_its_line() -> None:
    ax = figure(as_json(FACTS, Measured(sharing=shared()))).axes[0]
    lines = [line for line in ax.get_lines() if len(line.get_xdata())]
    fixed, auto = lines[::2], lines[1::2]
    assert [list(line.get_ydata()) for line in fixed] == [[100.0, 125.0]] * 4
    assert [list(line.get_ydata()) for line in auto] == [[120.0, 120.0]] * 4
    assert [line.get_color() for line in fixed] == [line.get_color() for line in auto]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names[:3] == ["1 speaker, quiet", "8 speakers, quiet", "1 speaker, 2 busy processes"]
