"""A connection to the engine that is watched: what it tells, and beginning anew when it is gone."""

from typing import Any

import msgspec

from npc_engine.cli.attach import CONNECT_S
from npc_engine.cli.top.sample import Sample
from npc_engine.client.zmq_client import Client
from npc_engine.errors import ConnectionLost

__all__ = ["Link"]

AGAIN_S = 1.0  # as CONNECT_S, of one that has gone and may come back


class Link:
    """A connection that can be made again when the engine comes back."""

    def __init__(self, endpoint: str, token: str | None) -> None:
        self.endpoint = endpoint
        self._token = token
        self._client: Client | None = None

    def open(self, timeout: float) -> Client:
        """Return the connection, made if there is none. Raises ConnectionLost, Unauthorized."""
        if self._client is None:
            self._client = Client(self.endpoint, token=self._token, timeout=timeout, name="top")
        return self._client

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def look(self) -> Sample:
        """Return how the engine is doing. Raises ConnectionLost, and begins anew the next time."""
        try:
            client = self.open(AGAIN_S)
            npcs, stats = client.list_npcs(timeout=CONNECT_S), client.stats(timeout=CONNECT_S)
        except ConnectionLost:
            self.close()
            raise
        model, slots = client.welcome.model.get("name"), client.welcome.limits.get("slots")
        return Sample(
            self.endpoint,
            model if isinstance(model, str) else "",
            slots if isinstance(slots, int) else None,
            npcs,
            stats,
        )

    def facts(self) -> dict[str, Any]:
        """Return all that the engine tells, in plain JSON types."""
        client = self.open(CONNECT_S)
        return {
            "endpoint": self.endpoint,
            "engine": client.welcome.engine,
            "model": client.welcome.model,
            "limits": client.welcome.limits,
            "stats": client.stats(timeout=CONNECT_S),
            "npcs": msgspec.to_builtins(client.list_npcs(timeout=CONNECT_S)),
        }
