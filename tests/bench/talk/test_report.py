"""The report in its four forms, from turns that are made up."""

from pathlib import Path
from typing import Any

import pytest

from npc_engine.bench.shared.figures import passed
from npc_engine.bench.shared.report import save_figure
from npc_engine.bench.talk.figures import TalkRun, Turn
from npc_engine.bench.talk.report import as_json, as_markdown, as_text, figure

FACTS = {
    "command": "npc-engine bench talk --model q4.gguf",
    "model": "q4",
    "n_threads": 1,
    "layout": "f16",
    "n_turns": 20,
    "max_tokens": 24,
}


def run_of(n_turns: int = 20, slow: float = 110.0) -> TalkRun:
    run = TalkRun(512, 130)
    for i in range(1, n_turns + 1):
        over = i > 10
        ttft = slow if over else 100.0
        run.ours.turns.append(Turn(i, over, 20, 29, 24, ttft, 900.0, 100 << 20, 3, 40.0, 0))
    for i in range(1, n_turns // 2 + 1):
        over = i > 8
        run.baseline.turns.append(
            Turn(i, over, 20, 300 if over else 40, 24, 900.0 if over else 100.0, 2e3, 90 << 20)
        )
    run.baseline.errors.append("ValueError: it broke")
    return run


def test_json_has_numbers_verdicts_and_turns() -> None:
    found = as_json(FACTS, [run_of()])
    (window,) = found["windows"]
    assert found["model"] == "q4"
    assert window["verdicts"] == {"ttft": True, "read": True, "errors": True}
    assert window["ours"]["ttft_ratio"] == pytest.approx(1.1)
    assert window["rival"]["ttft_ratio"] == pytest.approx(9.0)
    assert window["rival"]["errors"] == ["ValueError: it broke"]
    assert window["turns"]["ours"]["number"].split() == [str(i) for i in range(1, 21)]
    assert window["turns"]["rival"]["overflow"] == "0 0 0 0 0 0 0 0 1 1"


def test_table_and_markdown_tell_the_same() -> None:
    found = as_json(FACTS, [run_of()])
    row = ["512", "rival", "8", "2", "100", "900", "9.00", "900", "900", "2000", "2000"]
    assert row == as_text(found).splitlines()[3].split()[: len(row)]
    page = as_markdown(found)
    assert page.startswith("# A talk of 20 turns: q4\n")
    assert "| " + " | ".join(row) in page
    assert "read at most 9 tokens beside the message" in page
    assert "1 errors: ['ValueError: it broke']" in page
    assert "png" not in page


@pytest.mark.parametrize(
    ("slow", "interrupted", "passes", "says"),
    [
        (110.0, False, True, "window 512: ttft passed, read passed, errors passed\n"),
        (140.0, False, False, "window 512: ttft FAILED, read passed, errors passed\n"),
        (110.0, True, False, "window 512: ttft passed, read passed, errors passed (interrupted)\n"),
    ],
)
def test_what_passes(slow: float, interrupted: bool, passes: bool, says: str) -> None:
    run = run_of(slow=slow)
    run.interrupted = interrupted
    whole = as_json(FACTS, [run])
    assert passed(whole["windows"][0]) is passes
    assert as_text(whole).endswith("\n" + says)


def test_no_overflow_is_no_failure() -> None:
    whole = as_json(FACTS, [run_of(n_turns=5)])
    assert passed(whole["windows"][0])
    table, verdicts = as_text(whole).split("window 512: ")
    assert "ttft no overflow" in verdicts
    assert table.count("-  ") > 4


@pytest.mark.parametrize("runs", [[], [TalkRun(512)], [run_of(), run_of(5)]])
def test_the_plot_is_made_of_whatever_there_is(runs: list[Any], tmp_path: Path) -> None:
    save_figure(figure(runs), tmp_path / "talk.png")
    assert (tmp_path / "talk.png").read_bytes().startswith(b"\x89PNG")
