"""A client in process that trusts nothing: it checks that every request is answered as it should.

Owns which requests are open, and the faults: no terminal reply or two of them, an error that was
not provoked, a record in the name of nobody. It knows no model and no script.
"""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from npc_engine import protocol as m
from npc_engine.engine import LOCAL, EngineCore

__all__ = ["CheckingClient"]

MAX_FAULTS = 50  # texts that are kept; `n_faults` counts them all
TIMEOUT_S = 300.0


@dataclass(slots=True)
class _Open:
    """A request without its answer. `allowed`: codes of errors that it may end with."""

    kind: str
    allowed: frozenset[str]
    answer: Any = None


class CheckingClient:
    """One client of an engine. Requests go through the wire's bytes, as a game's do."""

    def __init__(self, engine: EngineCore) -> None:
        self.engine = engine
        self.faults: list[str] = []
        self.n_faults = 0
        self.n_requests = 0
        self.replies: Counter[str] = Counter()
        self.n_steps = 0
        self._open: dict[str, _Open] = {}

    def fault(self, text: str) -> None:
        """Note what must not happen."""
        self.n_faults += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text)

    def post(self, kind: type[m.Request], *, allow: str = "", **fields: Any) -> str:
        """Send a request without waiting; return its id. `allow`: error codes, by space."""
        self.n_requests += 1
        request_id = str(self.n_requests)
        frame = m.pack(kind(id=request_id, **fields))
        self._open[request_id] = _Open(kind.__name__, frozenset(allow.split()))
        self.engine.handle(m.unpack(frame, len(frame)))
        return request_id

    def ask(self, kind: type[m.Request], *, allow: str = "", **fields: Any) -> Any:
        """Send a request and step the engine until it is answered; return the answer."""
        return self.wait(self.post(kind, allow=allow, **fields))[0]

    def wait(self, *ids: str) -> list[Any]:
        """Step the engine until all of these are answered; return the answers, None for none."""
        deadline = time.monotonic() + TIMEOUT_S
        while any(self._open[i].answer is None for i in ids):
            patience = self.engine.patience()
            if patience is None or time.monotonic() > deadline:
                for i in ids:
                    if self._open[i].answer is None:
                        self.fault(f"A {self._open[i].kind} was never answered.")
                break
            if patience:
                time.sleep(patience)
            self.step()
        return [self._open.pop(i).answer for i in ids]

    def rest(self) -> None:
        """Step the engine until it has nothing to do but wait: what a pause in a talk is."""
        while self.engine.patience() == 0:
            self.step()

    def step(self) -> list[m.Reply]:
        """One step; return the records that came."""
        self.n_steps += 1
        replies = []
        for client, reply in self.engine.step():
            if client != LOCAL:
                self.fault(f"A {type(reply).__name__} for a client that does not exist.")
            self._take(reply)
            replies.append(reply)
        return replies

    def is_open(self, request_id: str) -> bool:
        """Whether a request has no answer yet."""
        return self._open[request_id].answer is None

    def _take(self, reply: m.Reply) -> None:
        self.replies[type(reply).__name__] += 1
        request = self._open.get(reply.id or "")
        if request is None or request.answer is not None:
            self.fault(f"A {type(reply).__name__} after the end, or for no request at all.")
            return
        if not reply.terminal:
            return
        request.answer = reply
        if isinstance(reply, m.Error):
            self.replies[f"Error {reply.code}"] += 1
            if reply.code not in request.allowed:
                self.fault(f"{request.kind}: {reply.code}: {reply.message}")
