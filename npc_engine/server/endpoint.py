"""Where the engine listens: which endpoints may be bound, and what to say when one cannot.

Owns the checks that libzmq leaves out: it wraps ports over 65535 round, takes the ipc path of a
live server, deletes any file found there, and says no more than "Invalid argument". It knows no
message and no client.
"""

import errno
import ipaddress
import os
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path

import zmq

from npc_engine.errors import BindError

__all__ = ["bind_endpoint", "release_endpoint"]

_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.*-]+):([0-9]{1,5}|\*)")
_ABSTRACT = "ipc://@"  # Linux: a name that is no file
_EXAMPLES = "Use tcp://127.0.0.1:5757, tcp://127.0.0.1:0 for any free port, or ipc://PATH."
# libzmq has numbers of its own where a system lacks one, so its names where it gives them.
_HELP = {
    zmq.EADDRINUSE: (
        "Another engine may be running there: stop it, or take any free port: "
        "--bind tcp://127.0.0.1:0"
    ),
    zmq.EADDRNOTAVAIL: "Bind an address of this machine, such as 127.0.0.1.",
    errno.ENODEV: "Bind an IP address of this machine, such as 127.0.0.1, not a host's name.",
    errno.EACCES: "Take a port over 1023, or a folder that you may write to.",
    errno.ENOENT: "Make that folder first.",
}


def bind_endpoint(sock: zmq.Socket[bytes], endpoint: str, *, token: str = "") -> str:
    """Bind `sock` and return the endpoint it got, with the real port.

    Raises BindError: malformed, in use, not permitted, not of this machine, ipc where the system
    has none, or reachable from other machines while no `token` protects it.
    """
    if endpoint.startswith("tcp://"):
        endpoint = _check_tcp(endpoint, token)
        sock.setsockopt(zmq.IPV6, int("[" in endpoint))
    elif endpoint.startswith("ipc://") and endpoint != "ipc://" and "\0" not in endpoint:
        _check_ipc(endpoint)
    else:
        raise BindError(
            f"The endpoint {endpoint!r} is neither tcp://ADDRESS:PORT nor ipc://PATH.", _EXAMPLES
        )
    try:
        sock.bind(endpoint)
    except zmq.ZMQError as e:
        code = e.errno or 0
        raise BindError(
            f"The endpoint {endpoint!r} cannot be bound: {zmq.strerror(code)}.",
            _HELP.get(code, _EXAMPLES),
        ) from None
    return str(sock.getsockopt_string(zmq.LAST_ENDPOINT))


def release_endpoint(endpoint: str) -> None:
    """Remove the file of a bound ipc endpoint whose socket is closed.

    Not if another engine has taken the path since: that one answers.
    """
    if not endpoint.startswith("ipc://") or endpoint.startswith(_ABSTRACT):
        return
    path = Path(endpoint.removeprefix("ipc://"))
    with suppress(OSError):
        if path.is_socket() and not _answers(path):
            path.unlink()


def _check_tcp(endpoint: str, token: str) -> str:
    match = _TCP.fullmatch(endpoint)
    if match is None:
        raise BindError(f"The endpoint {endpoint!r} is no tcp://ADDRESS:PORT.", _EXAMPLES)
    host, port = match.groups()
    if port != "*" and int(port) > 65535:
        raise BindError(f"The endpoint {endpoint!r} has no valid port.", "Ports end at 65535.")
    host = "127.0.0.1" if host == "localhost" else host
    if not token and not _is_loopback(host):
        raise BindError(
            f"The endpoint {endpoint!r} can be reached from other machines, and no token is set: "
            "anybody there could use the engine.",
            "Set a token, or bind to tcp://127.0.0.1:PORT.",
        )
    return f"tcp://{host}:{port if port == '*' else int(port)}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_ipc(endpoint: str) -> None:
    if not zmq.has("ipc"):
        raise BindError(
            f"The endpoint {endpoint!r} cannot be bound: this system has no ipc.",
            "Use tcp://127.0.0.1:0.",
        )
    if endpoint == "ipc://*":
        raise BindError(
            f"The endpoint {endpoint!r} names no path: libzmq would make one up.",
            "Use ipc://PATH, or tcp://127.0.0.1:0 for any free port.",
        )
    path = Path(endpoint.removeprefix("ipc://"))
    # Windows tells no socket from a file.
    if sys.platform == "win32" or not os.path.lexists(path):
        return
    if not path.is_socket():
        raise BindError(
            f"The endpoint {endpoint!r} is a file or folder, which binding would delete.",
            "Choose a path that does not exist yet.",
        )
    if _answers(path):
        raise BindError(
            f"The endpoint {endpoint!r} is in use.", "Stop the engine there, or use another path."
        )


def _answers(path: Path) -> bool:
    """Return whether a server listens at a Unix socket; a crashed one leaves its file behind."""
    if sys.platform == "win32":
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
