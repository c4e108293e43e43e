"""Reports: whole or not at all, numbers in rows, progress without a screen."""

import json
from pathlib import Path

import pytest

from npc_engine.bench.shared.report import (
    log_axis,
    new_figure,
    progress,
    save_figure,
    write_json,
)
from npc_engine.errors import SetupError


def test_json_comes_back_and_numbers_stand_in_rows(tmp_path: Path) -> None:
    report = {"a": [1, -2.5, 3e-9], "b": {"c": ["x, [1,  2]"], "d": []}, "e": [[1, 2], [3]]}
    path = tmp_path / "new" / "report.json"
    write_json(path, report)
    assert report == json.loads(path.read_text("utf-8"))
    assert ' "a": [ 1, -2.5, 3e-09 ],\n' in path.read_text("utf-8")
    assert [f.name for f in path.parent.iterdir()] == ["report.json"]


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(SetupError, match=r"report\.json"):
        write_json(tmp_path / "file" / "report.json", {})


@pytest.mark.parametrize(("top", "labels"), [(45, {"20", "30", "40"}), (4000, {"20", "500"})])
def test_a_logarithmic_axis_has_plain_numbers(tmp_path: Path, top: int, labels: set[str]) -> None:
    figure, (ax,) = new_figure(1, "title")
    ax.plot([1, 2], [15, top])
    log_axis(ax, "ms")
    save_figure(figure, tmp_path / "a.png")
    shown = {t.get_text() for t in [*ax.get_yticklabels(), *ax.get_yticklabels(minor=True)]}
    assert labels <= shown
    assert not any("$" in text for text in shown)


def test_progress_is_a_row_for_every_twentieth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(100, "reading") as show:
        for done in range(0, 101, 2):
            show(done, f"token {done}")
    rows = capsys.readouterr().err.splitlines()
    assert len(rows) == 21
    assert rows[-1] == "100 %  token 100"
