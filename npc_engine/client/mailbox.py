"""Whose reply is whose: one inbox for each open request, over whatever carries requests.

Owns request ids, cancelling what nobody wants any more, and the checks that a request must pass
before it is sent. It knows no socket, no engine and no card.

Errors: the RequestError that the engine's `error` stands for; BadMessage for a request that the
protocol does not allow (nothing is sent then); ConnectionLost when the engine is silent for too
long. One thread at a time may use a Mailbox and its speeches.
"""

import itertools
import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import TypeVar

from npc_engine.errors import ConnectionLost, Internal, NpcError, error_for_code
from npc_engine.protocol import Cancel, Error, Reply, Request, pack, unpack

__all__ = ["MAX_KEPT", "Mailbox", "expected", "silence"]

MAX_KEPT = 4096  # replies kept for a request that nobody reads

AnyReply = TypeVar("AnyReply", bound=Reply)


class Mailbox(ABC):
    """Sends requests and hands each reply to the request it answers.

    A game sees `poll` of it; the rest is for the verbs, and for the speeches they return.
    """

    def __init__(self) -> None:
        self.__ids = itertools.count(1)
        self.__inboxes: dict[str, deque[Reply]] = {}
        self.__abandoned: deque[str] = deque()
        # Held while a primitive runs. The garbage collector may drop a Speech in the middle of
        # one, or on another thread; then its cancel waits for the next call.
        self.__lock = threading.Lock()

    @abstractmethod
    def _send(self, request: Request, frame: bytes) -> None:
        """Hand over a valid request, packed as `frame`, without waiting; raises ConnectionLost."""

    @abstractmethod
    def _receive(self, timeout: float) -> list[Reply]:
        """Return what has come for any request, waiting for it `timeout` seconds at most.

        Empty when nothing came. Raises an NpcError when nothing can come any more.
        """

    def poll(self) -> None:
        """Take in what has come, without waiting. For a loop that draws frames, once a frame.

        In process this is one step of the engine: it reads events and half-typed lines ahead
        while nobody speaks.
        """
        self._flush_abandoned()
        with self.__lock:
            replies = self._receive(0.0)
        self._deliver(replies)

    def _new_id(self) -> str:
        return str(next(self.__ids))

    def _ask(self, request: Request, answer: type[AnyReply], timeout: float) -> AnyReply:
        """Send a request that is not a `say` and return its answer."""
        self._post(request)
        try:
            reply = self._next_reply(request.id, timeout)
        finally:
            self._forget(request.id)
        if reply is None:
            raise silence(timeout)
        return expected(reply, answer)

    def _post(self, request: Request) -> None:
        frame = pack(request)
        checked: Request = unpack(frame, len(frame))  # raises for what the protocol does not allow
        self._flush_abandoned()
        with self.__lock:
            self._send(checked, frame)
        self.__inboxes[request.id] = deque(maxlen=MAX_KEPT)

    def _next_reply(self, request_id: str, timeout: float) -> Reply | None:
        """Return the next reply to one request; replies to others are kept for them.

        None when the engine was silent for `timeout` seconds, whomever a reply would have been for.
        """
        inbox = self.__inboxes[request_id]
        while not inbox:
            self._flush_abandoned()
            with self.__lock:
                replies = self._receive(timeout)
            if not replies:
                return None
            self._deliver(replies)
        return inbox.popleft()

    def _has_reply(self, request_id: str) -> bool:
        return bool(self.__inboxes.get(request_id))

    def _forget(self, request_id: str) -> None:
        self.__inboxes.pop(request_id, None)

    def _deliver(self, replies: list[Reply]) -> None:
        lost = None
        for reply in replies:
            inbox = self.__inboxes.get(reply.id or "")
            if inbox is not None:
                inbox.append(reply)
            elif reply.id is None and isinstance(reply, Error):
                lost = reply
        if lost is not None:
            # The engine could not even read whose request it was: better now than a timeout.
            raise error_for_code(lost.code, lost.message, lost.help)

    def _abandon(self, request_id: str) -> None:
        """Cancel a say whose replies nobody wants any more. Safe at any moment, never raises."""
        self.__abandoned.append(request_id)
        with suppress(NpcError):
            self._flush_abandoned()

    def _flush_abandoned(self) -> None:
        if not self.__lock.acquire(blocking=False):
            return
        try:
            while self.__abandoned:
                target = self.__abandoned.popleft()
                self._forget(target)
                cancel = Cancel(id=self._new_id(), target=target)
                self._send(cancel, pack(cancel))  # its answer is dropped
        finally:
            self.__lock.release()


def expected(reply: Reply, answer: type[AnyReply]) -> AnyReply:
    """Return a terminal reply of that type; raise what the engine says instead."""
    if isinstance(reply, answer):
        return reply
    if isinstance(reply, Error):
        raise error_for_code(reply.code, reply.message, reply.help)
    raise Internal(
        f"The engine answered with {type(reply).__name__!r}, not {answer.__name__!r}.",
        "Use client and engine of the same version.",
    )


def silence(timeout: float) -> ConnectionLost:
    """Return the error for an engine that says nothing."""
    return ConnectionLost(
        f"The engine has not answered for {timeout:g} s.",
        "See its log; give a longer timeout if the machine is slow.",
    )
