"""`Speech` and `Conversation`: what comes of a `say` and of a `scene`, as it comes.

Owns what is kept of it, its end, and what it means to drop one. Whose reply is whose, and the
errors, are `mailbox`'s. It knows no socket, no engine and no card.
"""

from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar, cast

from npc_engine.client.mailbox import Mailbox, expected, silence
from npc_engine.errors import Internal, NpcError, UnknownTarget
from npc_engine.protocol import Cancel, Done, Gesture, Line, Ok, Reply, SceneDone, Text, Turn

__all__ = ["Conversation", "Record", "Speech"]

Record = Text | Line | Gesture
End = TypeVar("End", Done, SceneDone)


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
        self._failure = silence(self._timeout)
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
            self.done = cast(End, expected(reply, self._end))
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
