"""What is printed comes out, whatever stdout is."""

import io
import sys

import pytest

from npc_engine.cli.output import write


def test_letters_that_the_terminal_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", newline="\n"))
    write("Jos\u00e9")
    write("\u96e8", end="")
    assert raw.getvalue() == b"Jos?\n?"


def test_without_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    write("heard by nobody")
