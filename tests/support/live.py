"""An engine over FakeLlama behind a bridge, for the commands that look at one that runs."""

import threading
from pathlib import Path
from typing import Any

from npc_engine.client.zmq_client import Client
from npc_engine.config import Settings
from npc_engine.engine import EngineCore
from npc_engine.protocol import NpcInfo
from npc_engine.server.bridge import Bridge
from tests.support.fake_llama import FakeLlama

WAIT_S = 10.0
TOKEN = "a-secret"


class Served:
    """An engine on a thread, until the end of a `with`."""

    def __init__(self, folder: Path) -> None:
        fake = FakeLlama()
        settings = Settings(bind="tcp://127.0.0.1:0", saves=str(folder), window=400)
        engine = EngineCore(fake, fake.chat_format(), settings)
        self._bridge = Bridge(engine, settings, token=TOKEN)
        self.endpoint = self._bridge.bind()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._bridge.run()
        self._bridge.close()

    def stop(self) -> None:
        self._bridge.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def client(self) -> Client:
        return Client(self.endpoint, token=TOKEN, timeout=WAIT_S)


def npc(name: str = "mara", **keys: Any) -> NpcInfo:
    values: dict[str, Any] = {
        "name": name.title(),
        "state": "resident",
        "n_tokens": 100,
        "n_pinned": 50,
        "n_window": 400,
        "speaking": False,
        "n_waiting": 0,
        "n_events": 0,
        "n_pending": 0,
    }
    return NpcInfo(npc=name, **(values | keys))
