"""Processes that spin, and that leave with whoever started them."""

import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from npc_engine.bench.crowd.threads import busy_game
from tests.support.games import games
from tests.support.paths import ROOT

WAIT_S = 20.0
HOST = """
import os, psutil, sys
from npc_engine.bench.crowd.threads import busy_game
with busy_game(2):
    print(*[child.pid for child in psutil.Process().children()], flush=True)
    sys.stdin.read()
"""


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_they_spin_and_end() -> None:
    with busy_game(2) as is_busy:
        both = games()
        assert len(both) == 2
        wait_for(lambda: all(game.cpu_times().user > 0 for game in both))
        assert is_busy()
    assert not games()


def test_none_is_a_game_too() -> None:
    with busy_game(0) as is_busy:
        assert is_busy()


def test_one_that_ended_is_told() -> None:
    with busy_game(2) as is_busy:
        games()[0].kill()
        wait_for(lambda: not is_busy())


def test_an_error_ends_them() -> None:
    with pytest.raises(KeyboardInterrupt), busy_game(1):
        raise KeyboardInterrupt
    assert not games()


def test_they_end_with_a_process_that_is_killed() -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with host:
        assert host.stdout is not None
        both = [psutil.Process(int(pid)) for pid in host.stdout.readline().split()]
        assert len(both) == 2
        host.kill()
    gone, left = psutil.wait_procs(both, timeout=WAIT_S)
    assert len(gone) == 2 and not left
