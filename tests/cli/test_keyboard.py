"""Single keys; where nobody sits at a keyboard it only waits."""

import io
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from npc_engine.cli.keyboard import listening

posix = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end of a pseudo terminal at which one types; stdin is the other."""
    import pty

    typed, inner = pty.openpty()
    stdin = os.fdopen(inner, "r")
    monkeypatch.setattr(sys, "stdin", stdin)
    yield typed
    stdin.close()
    os.close(typed)


@posix
def test_a_key_comes_at_once(keys: int) -> None:
    with listening() as wait:
        assert wait(0.01) == ""
        os.write(keys, b"q")
        assert wait(10) == "q"
        os.write(keys, "é".encode())
        assert wait(10) == "é"
        assert wait(0.01) == ""


@posix
def test_the_terminal_is_given_back(keys: int) -> None:
    import termios

    before = termios.tcgetattr(keys)
    with pytest.raises(KeyboardInterrupt), listening():
        assert termios.tcgetattr(keys) != before
        raise KeyboardInterrupt
    assert termios.tcgetattr(keys) == before


@pytest.mark.parametrize("stdin", [None, io.StringIO("q")])
def test_without_a_keyboard(stdin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    began = time.monotonic()
    with listening() as wait:
        assert wait(0.02) == ""
    assert time.monotonic() - began >= 0.02
