"""One client as the bridge sees it: its open requests, and what waits to be sent to it.

Rule 1. An id is open from its request until its terminal reply has left; then it may be used again.
Rule 2. An id gets one terminal reply. Whatever comes for an id that is not open is not sent.
Rule 3. At most `max_open` requests are open, and terminal replies to these always fit. Other
        records fit while fewer than `max_waiting` wait; the first that does not cuts every stream
        that the client has open.
Rule 4. Urgent requests (what makes room, and what asks whether anybody is there) are opened beyond
        that, too, while a record would fit; what answers them takes the place of one.
Rule 5. Errors for requests that were never opened fit like other records: a client that sends
        rubbish and reads nothing loses them, and costs no more memory.

It knows neither sockets nor the engine.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum

from npc_engine.errors import BadMessage, Busy, NpcError
from npc_engine.protocol import Reply, error_reply, pack

__all__ = ["Connection"]

log = logging.getLogger(__name__)


class _Request(Enum):
    OPEN = "open"
    CUT = "cut"  # open, but its stream is cut: only the terminal reply is still sent
    ANSWERED = "answered"  # its terminal reply waits to be sent


class Connection:
    """The requests and waiting replies of one client. Limits are numbers of records."""

    __slots__ = (
        "_max_open",
        "_max_waiting",
        "_n_unanswered",
        "_requests",
        "_waiting",
        "authorized",
    )

    def __init__(self, max_open: int, max_waiting: int) -> None:
        self.authorized = False
        self._max_open = max_open
        self._max_waiting = max_waiting
        self._n_unanswered = 0
        self._requests: dict[str, _Request] = {}
        # Each with the id that closes once it is sent.
        self._waiting: deque[tuple[bytes, str | None]] = deque()

    @property
    def is_idle(self) -> bool:
        """Nothing is open and nothing waits."""
        return not self._requests and not self._waiting

    @property
    def n_waiting(self) -> int:
        """Records that wait to be sent."""
        return len(self._waiting)

    def unanswered(self) -> Iterator[str]:
        """Yield the ids that still lack their terminal reply."""
        yield from [i for i, s in self._requests.items() if s is not _Request.ANSWERED]

    def open(self, request_id: str, urgent: bool = False) -> None:
        """Open a request; raises BadMessage if its id is open already, Busy if too many are."""
        if request_id in self._requests:
            raise BadMessage(
                f"A request with the id {request_id!r} is open already.",
                "Give each request an id of its own; one may be used again after its last reply.",
            )
        if len(self._requests) >= self._max_open and (self.is_full or not urgent):
            raise Busy(
                f"{len(self._requests)} requests of this client are open.",
                "Read their replies before you send more.",
            )
        self._requests[request_id] = _Request.OPEN
        self._n_unanswered += 1

    @property
    def is_full(self) -> bool:
        """No record but a terminal one fits."""
        n_urgent = max(0, self._n_unanswered - self._max_open)
        return self.n_waiting + n_urgent >= self._max_waiting

    def put(self, reply: Reply) -> bool:
        """Queue a reply of the engine; False if it cuts the client's streams (rule 3)."""
        state = self._requests.get(reply.id or "")
        if reply.id is None or state is None or state is _Request.ANSWERED:
            log.error("%s for %r, which is not open: not sent", type(reply).__name__, reply.id)
        elif reply.terminal:
            self._requests[reply.id] = _Request.ANSWERED
            self._n_unanswered -= 1
            self._waiting.append((pack(reply), reply.id))
        elif state is _Request.OPEN:
            if self.is_full:
                self._cut()
                return False
            self._waiting.append((pack(reply), None))
        return True

    def _cut(self) -> None:
        for request_id in self.unanswered():
            self._requests[request_id] = _Request.CUT

    def refuse(self, error: NpcError, request_id: str | None) -> None:
        """Queue the error for a request that was not opened (rule 5).

        It carries no id that is open: the client would take it for the end of that request.
        """
        if self.is_full:
            log.debug("a client that does not read loses an error: %s", error)
            return
        request_id = None if request_id in self._requests else request_id
        self._waiting.append((pack(error_reply(error, request_id)), None))

    def flush(self, send: Callable[[bytes], bool]) -> int:
        """Send what waits, in order, until `send` returns False; return how many were sent."""
        n_sent = 0
        while self._waiting and send(self._waiting[0][0]):
            _, closes = self._waiting.popleft()
            if closes is not None:
                del self._requests[closes]
            n_sent += 1
        return n_sent
