"""Whose reply is whose; `Speech` and `Conversation`: what comes of a `say` and of a `scene`.

Owns request ids, one inbox for each open request, cancelling what nobody wants any more, and the
checks that a request must pass before it is sent. It knows no socket, no engine and no card.

Errors: the RequestError that the engine's `error` stands for; BadMessage for a request that the
protocol does not allow (nothing is sent then); ConnectionLost when the engine is silent for too
long. One thread at a time may use a Mailbox and its speeches.
"""

import itertools
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar, cast

from npc_engine.errors import ConnectionLost, Internal, NpcError, UnknownTarget, error_for_code
from npc_engine.protocol import (
    Cancel,
    Done,
    Error,
    Gesture,
    Line,
    Ok,
    Reply,
    Request,
    SceneDone,
    Text,
    Turn,
    pack,
    unpack,
)

__all__ = ["Conversation", "Mailbox", "Record", "Speech"]

MAX_KEPT = 4096  # replies kept for a request that nobody reads

Record = Text | Line | Gesture
AnyReply = TypeVar("AnyReply", bound=Reply)
End = TypeVar("End", Done, SceneDone)


class Mailbox(ABC):
    """Sends requests and hands each reply to the request it answers."""

    def __init__(self) -> None:
        self.__ids = itertools.count(1)
        self.__inboxes: dict[str, deque[Reply]] = {}
        self.__abandoned: deque[str] = deque()
        # Held while a primitive runs. The garbage collector may drop a Speech in the middle of
        # one, or on another thread; then its cancel waits for the next call.
        self.__lock = threading.Lock()

    @abstractmethod
    def _send(self, request: Request) -> None:
        """Hand over a valid request without waiting; raises ConnectionLost."""

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
            raise _silence(timeout)
        return _expected(reply, answer)

    def _post(self, request: Request) -> None:
        checked = _checked(request)
        self._flush_abandoned()
        with self.__lock:
            self._send(checked)
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
                self._send(Cancel(id=self._new_id(), target=target))  # its answer is dropped
        finally:
            self.__lock.release()


class _Stream(Generic[End]):
    """Records as they come, up to the terminal one: what `Speech` and `Conversation` share.

    Drop it (break out of the loop), leave its `with` block, or call `cancel`, and whoever talks
    stops. Up to 4096 records wait for a reader, then the oldest are dropped.
    """

    _end: ClassVar[type[Reply]]

    def __init__(self, mailbox: Mailbox, request_id: str, timeout: float) -> None:
        self.id = request_id
        self.done: End | None = None
        self._mailbox = mailbox
        self._timeout = timeout
        self._failure: NpcError | None = None
        self._closed = False

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        record = self._read(self._timeout)
        if record is not None:
            return record
        if self._is_over:
            raise StopIteration
        self.close()
        self._failure = _silence(self._timeout)
        raise self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def poll(self) -> list[Record]:
        """Return the records that are there without waiting, for a loop that draws frames.

        In process this lets the engine take a step, when nothing is there yet.
        """
        records = []
        record = self._read(0.0)
        while record is not None:
            records.append(record)
            # What came with it; a second look at the engine could go on for all of the reply.
            record = self._read(0.0) if self._mailbox._has_reply(self.id) else None
        return records

    def wait(self) -> End:
        """Read to the end and return `done`."""
        for _ in self:
            pass
        if self.done is None:
            raise Internal("This speech was closed before its end.", "Call wait() before close().")
        return self.done

    def cancel(self, heard: int | None = None) -> None:
        """Cut whoever talks short and wait until it has stopped; `done` is set then.

        `heard` is how many characters (code points) of the line texts that came, summed, reached
        the player; the character remembers having said that much, also where the reply had ended
        before it was heard to the end. None: all it has said.
        """
        if self._is_over and (heard is None or self.done is None):
            return
        request = Cancel(id=self._mailbox._new_id(), target=self.id, heard=heard)
        with suppress(UnknownTarget):  # it ended in the meantime
            self._mailbox._ask(request, Ok, self._timeout)
        if not self._is_over:
            self.wait()

    def close(self) -> None:
        """Cancel it, unless it is over, without waiting; the rest of its records is dropped."""
        if not self._is_over:
            self._closed = True
            self._mailbox._abandon(self.id)

    @property
    def _is_over(self) -> bool:
        return self._closed or self.done is not None or self._failure is not None

    def _read(self, timeout: float) -> Record | None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._is_over:
            return None
        reply = self._mailbox._next_reply(self.id, timeout)
        while isinstance(reply, Turn):
            self._note(reply)
            # It is not for the reader: look for what came with it, or wait on.
            waits = timeout > 0 or self._mailbox._has_reply(self.id)
            reply = self._mailbox._next_reply(self.id, timeout) if waits else None
        if isinstance(reply, Text | Line | Gesture):
            self._note(reply)
            return reply
        if reply is not None:
            self._finish(reply)
        return None

    def _note(self, record: Record | Turn) -> None:
        """Take in what comes, for those who keep of it."""

    def _finish(self, reply: Reply) -> None:
        self._mailbox._forget(self.id)
        try:
            self.done = cast(End, _expected(reply, self._end))
        except NpcError as error:
            self._failure = error
            raise


class Speech(_Stream[Done]):
    """A character's reply as it comes: iterate it for Line, Gesture and Text records.

    It ends with `done`. Drop it (break out of `for line in engine.say(...)`), leave its `with`
    block, or call `cancel`, and the character stops talking. Up to 4096 records wait for a reader,
    then the oldest are dropped; `done.text` has all of the reply in any case.
    """

    _end = Done

    def __init__(self, mailbox: Mailbox, request_id: str, timeout: float) -> None:
        super().__init__(mailbox, request_id, timeout)
        self._texts: list[str] = []
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """The whole reply once it is done; before, what was spoken in the records read so far."""
        if self.done is not None:
            return self.done.text
        return "".join(self._texts) or " ".join(self._lines)

    def _note(self, record: Record | Turn) -> None:
        if isinstance(record, Text):
            self._texts.append(record.text)
        elif isinstance(record, Line):
            self._lines.append(record.text)


class Conversation(_Stream[SceneDone]):
    """What characters say to each other in a scene: iterate it for their lines, with `npc` in each.

    `turns` has what was said so far, one record for each turn that has ended; `done` is set at the
    end. Drop it, leave its `with` block, or call `cancel`, and the scene ends.
    """

    _end = SceneDone

    def __init__(self, mailbox: Mailbox, request_id: str, timeout: float) -> None:
        super().__init__(mailbox, request_id, timeout)
        self.turns: list[Turn] = []

    def _note(self, record: Record | Turn) -> None:
        if isinstance(record, Turn):
            self.turns.append(record)


def _checked(request: Request) -> Request:
    """Return a copy of a request that the protocol allows; raises BadMessage."""
    frame = pack(request)
    checked: Request = unpack(frame, len(frame))
    return checked


def _expected(reply: Reply, answer: type[AnyReply]) -> AnyReply:
    if isinstance(reply, answer):
        return reply
    if isinstance(reply, Error):
        raise error_for_code(reply.code, reply.message, reply.help)
    raise Internal(
        f"The engine answered with {type(reply).__name__!r}, not {answer.__name__!r}.",
        "Use client and engine of the same version.",
    )


def _silence(timeout: float) -> ConnectionLost:
    return ConnectionLost(
        f"The engine has not answered for {timeout:g} s.",
        "See its log; give a longer timeout if the machine is slow.",
    )
