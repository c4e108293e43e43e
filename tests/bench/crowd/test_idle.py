"""Watching a server that does nothing: a made-up one here, whose process is this one."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import psutil
import pytest

from npc_engine.bench.crowd import idle as crowd_idle
from npc_engine.bench.crowd.figures import N_IDLE, Measured
from npc_engine.bench.crowd.idle import idle, n_looks
from npc_engine.bench.crowd.setup import Setup
from npc_engine.errors import BackendError

SETUP = cast("Setup", SimpleNamespace(model=SimpleNamespace(path=Path("q4.gguf")), idle_s=0.025))


class FakeServer:
    """Server and client in one. It still does a step at each of the first `n_steps` looks."""

    def __init__(self, n_steps: float = 5) -> None:
        self.pid = os.getpid()
        self.open = 0
        self.names: list[str] = []
        self.cards: list[Any] = []
        self.n_looks = 0
        self.args: tuple[Any, ...] = ()
        self._n_steps = n_steps

    def __call__(self, *args: Any) -> Self:
        self.args = args
        return self

    def client(self) -> Self:
        return self

    def __enter__(self) -> Self:
        self.open += 1
        return self

    def __exit__(self, *error: object) -> None:
        self.open -= 1

    def spawn(self, name: str, card: Any) -> None:
        self.names.append(name)
        self.cards.append(card)

    def event(self, _text: str) -> None:
        assert len(self.names) == N_IDLE

    def say(self, name: str, _text: str, max_tokens: int) -> Any:
        assert name in self.names and max_tokens
        return SimpleNamespace(wait=lambda: None)

    def stats(self) -> dict[str, Any]:
        self.n_looks += 1
        return {"n_steps": min(self.n_looks, self._n_steps)}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeServer], FakeServer]:
    def put(server: FakeServer) -> FakeServer:
        monkeypatch.setattr(crowd_idle, "Sidecar", server)
        monkeypatch.setattr(crowd_idle, "LOOK_S", 0.01)
        return server

    return put


def test_it_is_watched_once_it_rests(
    serve: Callable[[FakeServer], FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(FakeServer())
    cpu = iter([10.0, 10.25, 10.5, 11.0])
    monkeypatch.setattr(crowd_idle, "_cpu_s", lambda _process: next(cpu))
    found = Measured()
    shares = [found.idle and found.idle.cpu_s for _now in idle(SETUP, found)]
    assert len(shares) == n_looks(SETUP) == 6
    assert shares == [None, None, None, None, 0.25, 0.5], "kept look by look"
    assert found.idle is not None
    assert (found.idle.n_characters, found.idle.cpu_s) == (N_IDLE, 1.0)
    assert found.idle.before_s == 10.0
    assert found.idle.seconds >= SETUP.idle_s
    assert server.n_looks == 5 + crowd_idle.N_RESTING
    assert len({str(card) for card in server.cards}) == len(server.names) == N_IDLE
    assert server.args[0] == Path("q4.gguf")
    assert server.open == 0


def test_one_that_never_rests_is_not_watched(
    serve: Callable[[FakeServer], FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(FakeServer(n_steps=float("inf")))
    monkeypatch.setattr(crowd_idle, "MOST_READING_S", 0.05)
    found = Measured()
    with pytest.raises(BackendError, match=r"still works after 0\.05 s"):
        list(idle(SETUP, found))
    assert found == Measured()
    assert server.open == 0


def test_an_end_in_the_middle_ends_the_server(serve: Callable[[FakeServer], FakeServer]) -> None:
    server, found = serve(FakeServer()), Measured()
    looks = cast("Any", idle(SETUP, found))
    while found.idle is None:
        next(looks)
    assert server.open == 2
    looks.close()
    assert server.open == 0
    assert 0 < found.idle.seconds < SETUP.idle_s + 1


def test_time_of_its_children_counts() -> None:
    class Process:
        def __init__(self, *children: "Process") -> None:
            self._children = children

        def children(self, recursive: bool) -> tuple["Process", ...]:
            assert recursive
            return self._children

        def cpu_times(self) -> Any:
            return SimpleNamespace(user=1.0, system=0.5)

    launcher = cast("psutil.Process", Process(Process()))
    assert crowd_idle._cpu_s(launcher) == 3.0


def test_a_server_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_process: object) -> Any:
        raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil.Process, "cpu_times", gone)
    with pytest.raises(BackendError, match="ended while it was watched"):
        crowd_idle._cpu_s(psutil.Process())
