"""The way in for a game that runs the model in its own process: the verbs over an engine core.

Owns the loop that steps the engine while a reply is waited for, and sleeps in its pauses: the core
never does. It knows no socket, and nothing of what a step does.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Self

from npc_engine.client.verbs import Verbs
from npc_engine.config import Settings
from npc_engine.engine import LOCAL, EngineCore
from npc_engine.protocol import Reply, Request

__all__ = ["Engine"]


class Engine(Verbs):
    """Many characters over one model, in this process and with no socket.

    engine = Engine.open("q4.gguf")
    engine.spawn("mara", "mara.toml")
    for line in engine.say("mara", "Who are you?"):
        print(line.text)
    """

    def __init__(self, core: EngineCore) -> None:
        super().__init__()
        self._engine = core

    @property
    def core(self) -> EngineCore:
        """What it steps: characters, scheduler, backend."""
        return self._engine

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str],
        *,
        progress: Callable[[float], None] | None = None,
        **settings: Any,
    ) -> Self:
        """Load a GGUF model and return an engine over it. `settings`: names of config.Settings.

        `progress` is called with fractions from 0 to 1. Raises SetupError.
        """
        from npc_engine.loading import load_engine  # brings llama_cpp

        return cls(load_engine(Settings.parse({"model": os.fspath(model), **settings}), progress))

    def close(self) -> None:
        """Answer whatever is open, finish file writes (bounded), free the model."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send(self, request: Request, frame: bytes) -> None:  # noqa: ARG002 - it is for a wire
        self._engine.handle(request, LOCAL)

    def _receive(self, timeout: float) -> list[Reply]:
        deadline = time.perf_counter() + timeout
        while True:
            replies = [reply for client, reply in self._engine.step() if client == LOCAL]
            patience = self._engine.patience()
            if replies or patience is None or time.perf_counter() >= deadline:
                return replies
            if patience:
                time.sleep(max(0.0, min(patience, deadline - time.perf_counter())))
