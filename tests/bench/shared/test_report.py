"""Reports: whole or not at all, numbers in rows, verdicts, a page and a plot."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from npc_engine.bench.shared.figures import passed
from npc_engine.bench.shared.report import (
    Table,
    as_page,
    log_axis,
    markdown_table,
    new_figure,
    save_figure,
    verdicts,
    write,
    write_json,
)
from npc_engine.errors import SetupError


def test_json_comes_back_and_numbers_stand_in_rows(tmp_path: Path) -> None:
    report = {"a": [1, -2.5, 3e-9], "b": {"c": ["x, [1,  2]"], "d": []}, "e": [[1, 2], [3]]}
    path = tmp_path / "new" / "report.json"
    write_json(path, report)
    assert json.loads(path.read_text("utf-8")) == report
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


def whole(*values: bool | None, interrupted: bool = False) -> dict[str, Any]:
    verdicts = {f"v{i}": value for i, value in enumerate(values)}
    return {"verdicts": verdicts, "interrupted": interrupted}


def test_verdicts_are_one_line() -> None:
    assert verdicts(whole(True, False, None)) == "v0: passed, v1: FAILED, v2: not measured\n"
    told = verdicts(whole(None, interrupted=True), "no overflow", " ")
    assert told == "v0 no overflow (interrupted)\n"


def test_what_passes() -> None:
    assert passed(whole(True, None))
    assert not passed(whole(True, False))
    assert not passed(whole(True, interrupted=True))


def test_a_page_has_tables_and_what_they_mean() -> None:
    tables = [Table("One", "About one.", [("a", "b"), ("1", "2")])]
    page = as_page("# It", tables, whole(True))
    assert page == (
        "# It\n\n## One\n\n| a | b |\n|---|---:|\n| 1 | 2 |\n\nAbout one.\n\n"
        "**Verdicts.** v0: passed.\n"
    )
    assert "|---:|---|\n" in markdown_table(tables[0].rows, left=(1,))


@pytest.mark.parametrize("no_plot", [False, True])
def test_all_of_a_report_stands_side_by_side(
    tmp_path: Path, no_plot: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    args = Namespace(out=str(tmp_path / "far" / "it.json"), no_plot=no_plot)
    write(args, {"a": 1}, "told\n", "# It\n", "A plot", lambda: new_figure(1, "It")[0])
    assert capsys.readouterr().out == "told\n"
    out = tmp_path / "far" / "it.json"
    assert json.loads(out.read_text("utf-8")) == {"a": 1}
    page = out.with_suffix(".md").read_text("utf-8")
    if no_plot:
        assert page == "# It\n"
        assert not out.with_suffix(".png").exists()
    else:
        assert page.rstrip().endswith("![A plot](it.png)")
        assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_what_was_not_drawn_is_not_on_the_page(tmp_path: Path) -> None:
    args = Namespace(out=str(tmp_path / "it.json"), no_plot=False)
    write(args, {}, "", "# It\n", "A plot")
    assert "png" not in (tmp_path / "it.md").read_text("utf-8")
