"""Who may ask what: a client's frames become a request, or an error that says why not.

Owns the token, the protocol version and the size limit. It knows no socket and no engine.
"""

import hmac
import logging

from npc_engine import protocol as m
from npc_engine.errors import BadMessage, ProtocolVersion, Unauthorized
from npc_engine.server.connection import Connection

__all__ = ["Admission"]

log = logging.getLogger(__name__)

# Decoding a frame costs several times its size: beyond this many times the limit, no id is sought.
_SEEK_ID = 4
# A hello without its token: a name of 256 characters, an id of 64, keys of newer clients.
_HELLO_BYTES = 8192
MAX_LOGGED = 64  # characters of a client's name in the log


class Admission:
    """Lets requests in. `token`, if not empty, must be shown by a client's first message."""

    def __init__(self, token: str, max_message_bytes: int) -> None:
        # A token out of the environment may hold bytes that are no UTF-8.
        self._token = token.encode("utf-8", "surrogateescape")
        self._max_bytes = max_message_bytes

    @property
    def seek_id_bytes(self) -> int:
        """Length of the longest frame in which an id is sought."""
        return _SEEK_ID * self._max_bytes

    @property
    def hello_bytes(self) -> int:
        """Length of the longest frame that is looked into before the token was shown."""
        return _HELLO_BYTES + 2 * len(self._token)

    def admit(
        self,
        frames: list[bytes],
        connection: Connection,
        *,
        chose_its_id: bool = False,
        n_skipped: int = 0,
    ) -> m.Request:
        """Return the request in the frames of one message; raises RequestError.

        `n_skipped`: bytes of the last frame, where it was too long to be kept.

        A client without the token learns nothing else, whatever it sends. A routing id that a
        client chose outlives its connection: where a token counts, whoever takes it next would
        be taken for the one that showed the token.
        """
        if self._token and chose_its_id:
            raise Unauthorized(
                "This client has chosen its own routing id, which proves nothing.",
                "Leave ZMQ_ROUTING_ID (identity) unset.",
            )
        if self.knows(connection):
            request = self._unpack(frames, n_skipped)
        else:
            request = self._unpack_hello(frames, n_skipped)
        if isinstance(request, m.Hello) and request.protocol != m.PROTOCOL_VERSION:
            raise ProtocolVersion(
                f"The client speaks protocol version {request.protocol!r}, "
                f"this engine version {m.PROTOCOL_VERSION}.",
                "Use a client and an engine of the same version.",
            )
        if isinstance(request, m.Hello):
            log.info("hello from the client %a", request.client[:MAX_LOGGED])
        connection.authorized = bool(self._token)
        return request

    def knows(self, connection: Connection) -> bool:
        """Return whether a client may ask for anything: it has shown the token, if there is one."""
        return connection.authorized or not self._token

    def find_id(self, frames: list[bytes], connection: Connection) -> str | None:
        """Return the id of a message that was not admitted, if it has a usable one."""
        frame = frames[-1] if frames else b""
        most = self.seek_id_bytes if self.knows(connection) else self.hello_bytes
        return m.find_id(frame) if len(frame) <= most else None

    def _unpack(self, frames: list[bytes], n_skipped: int) -> m.Request:
        if len(frames) != 1:
            raise BadMessage(
                f"The message has {len(frames)} frames.",
                "Send each message as one frame, through a DEALER socket.",
            )
        if n_skipped:
            raise m.too_large(n_skipped, self._max_bytes)
        request: m.Request = m.unpack(frames[0], self._max_bytes)
        return request

    def _unpack_hello(self, frames: list[bytes], n_skipped: int) -> m.Hello:
        """Return the hello that shows the token; raises Unauthorized for all else, unread."""
        whole = len(frames) == 1 and not n_skipped and len(frames[0]) <= self.hello_bytes
        hello = m.unpack_hello(frames[0]) if whole else None
        shown = (hello and hello.token) or ""
        if hello is None or not self._is_token(shown):
            raise _unauthorized(wrong=bool(shown))
        return hello

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self._token)


def _unauthorized(*, wrong: bool) -> Unauthorized:
    return Unauthorized(
        "The token is wrong: this engine was started with another."
        if wrong
        else "This engine wants a token, and the client has shown none.",
        "Send a hello with the token first; whoever started the engine has it.",
    )
