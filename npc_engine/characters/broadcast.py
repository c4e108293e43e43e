"""An event for many, told to a few of them at a time.

Owns who has still to hear of it. Nobody notices: before anything else is asked of a character, it
is told.
"""

from collections.abc import Callable, Iterable

from npc_engine.protocol import Event

__all__ = ["Broadcast"]

Tell = Callable[[str, bytes, Event], None]


class Broadcast:
    """The events that not everybody has heard of. `tell` tells one character."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._news: list[tuple[bytes, Event, dict[str, None]]] = []  # oldest first

    def __bool__(self) -> bool:
        return bool(self._news)

    def add(self, client: bytes, event: Event, names: Iterable[str]) -> None:
        """Let these hear of an event, some time soon."""
        self._news.append((client, event, dict.fromkeys(names)))

    def tell(self, n: float) -> None:
        """Tell `n` characters; math.inf tells all."""
        while self._news and n > 0:
            client, event, names = self._news[0]
            if not names:
                del self._news[0]
                continue
            name = next(iter(names))
            del names[name]
            self._tell(name, client, event)
            n -= 1

    def tell_one(self, name: str) -> None:
        """Tell a character all that it has not heard of."""
        for client, event, names in self._news:
            if name in names:
                del names[name]
                self._tell(name, client, event)

    def forget(self, name: str) -> None:
        """A character has left."""
        for _, _, names in self._news:
            names.pop(name, None)
