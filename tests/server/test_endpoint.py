"""Every endpoint is bound, or refused with a BindError that says why and what to do."""

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from npc_engine.errors import BindError
from npc_engine.server.endpoint import bind_endpoint, release_endpoint

needs_ipc = pytest.mark.skipif(
    not zmq.has("ipc") or sys.platform == "win32", reason="no ipc on this system"
)


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def other(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    return context.socket(zmq.ROUTER)


@pytest.fixture
def router(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    return context.socket(zmq.ROUTER)


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:0", "tcp://localhost:0", "tcp://127.0.0.1:*"]
)
def test_port_0_becomes_a_real_port(router: zmq.Socket[bytes], endpoint: str) -> None:
    bound = bind_endpoint(router, endpoint)
    host, _, port = bound.removeprefix("tcp://").rpartition(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=5):
        pass


def test_ipv6_loopback(router: zmq.Socket[bytes]) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert bind_endpoint(router, "tcp://[::1]:0").startswith("tcp://[::1]:")


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "5757",
        "http://127.0.0.1:1",
        "inproc://x",
        "ipc://",
        "ipc:///tmp/a\0b",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:port",
        "tcp://127.0.0.1:\u0665\u0665\u0665\u0665",
        "tcp://127.0.0.1:\u0660",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:0;127.0.0.1:0",
        "tcp://127.0.0.1:0\0",
        "tcp://127.0.0.1:0\n",
        "tcp://[::1:0",
    ],
)
def test_malformed(router: zmq.Socket[bytes], endpoint: str) -> None:
    with pytest.raises(BindError) as e:
        bind_endpoint(router, endpoint)
    assert repr(endpoint) in e.value.message
    assert e.value.help


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "192.168.1.1", "[::]", "eth0", "example.com"])
def test_beyond_loopback_needs_a_token(router: zmq.Socket[bytes], host: str) -> None:
    with pytest.raises(BindError, match="other machines, and no token"):
        bind_endpoint(router, f"tcp://{host}:0")


def test_beyond_loopback_with_a_token(router: zmq.Socket[bytes]) -> None:
    assert bind_endpoint(router, "tcp://0.0.0.0:0", token="t").startswith("tcp://0.0.0.0:")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine(router: zmq.Socket[bytes], host: str) -> None:
    with pytest.raises(BindError, match="cannot be bound") as e:
        bind_endpoint(router, f"tcp://{host}:0", token="t")
    assert "127.0.0.1" in e.value.help


def test_port_in_use(router: zmq.Socket[bytes], other: zmq.Socket[bytes]) -> None:
    taken = bind_endpoint(router, "tcp://127.0.0.1:0")
    with pytest.raises(BindError, match="cannot be bound") as e:
        bind_endpoint(other, taken)
    assert "--bind tcp://127.0.0.1:0" in e.value.help


@needs_ipc
def test_ipc(router: zmq.Socket[bytes], tmp_path: Path) -> None:
    assert bind_endpoint(router, f"ipc://{tmp_path}/e") == f"ipc://{tmp_path}/e"


@needs_ipc
def test_ipc_in_use(router: zmq.Socket[bytes], other: zmq.Socket[bytes], tmp_path: Path) -> None:
    endpoint = bind_endpoint(router, f"ipc://{tmp_path}/e")
    with pytest.raises(BindError, match="in use"):
        bind_endpoint(other, endpoint)


@needs_ipc
def test_ipc_after_a_crash(router: zmq.Socket[bytes], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(f"{tmp_path}/e")
    assert (tmp_path / "e").exists()
    assert bind_endpoint(router, f"ipc://{tmp_path}/e")


@needs_ipc
def test_ipc_never_deletes_a_file(router: zmq.Socket[bytes], tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("precious")
    for path in (tmp_path / "diary", tmp_path):
        with pytest.raises(BindError, match="would delete"):
            bind_endpoint(router, f"ipc://{path}")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BindError, match="would delete"):
        bind_endpoint(router, f"ipc://{tmp_path}/link")
    assert (tmp_path / "diary").read_text() == "precious"
    assert (tmp_path / "link").is_symlink()


@needs_ipc
def test_ipc_wants_a_path(router: zmq.Socket[bytes]) -> None:
    with pytest.raises(BindError, match="names no path"):
        bind_endpoint(router, "ipc://*")


@needs_ipc
def test_released_ipc_leaves_no_file(router: zmq.Socket[bytes], tmp_path: Path) -> None:
    endpoint = bind_endpoint(router, f"ipc://{tmp_path}/e")
    release_endpoint(endpoint)
    assert (tmp_path / "e").exists()  # somebody listens there
    router.close(linger=0)
    deadline = time.monotonic() + 10
    while (tmp_path / "e").exists() and time.monotonic() < deadline:
        release_endpoint(endpoint)  # libzmq closes on a thread of its own
    assert not (tmp_path / "e").exists()
    release_endpoint(endpoint)
    (tmp_path / "e").write_text("precious")
    release_endpoint(endpoint)
    assert (tmp_path / "e").read_text() == "precious"


@needs_ipc
@pytest.mark.parametrize("path", ["missing/e", "e" * 200, "e" * 300, "e/" * 3000])
def test_bad_ipc_path(router: zmq.Socket[bytes], tmp_path: Path, path: str) -> None:
    with pytest.raises(BindError, match="cannot be bound"):
        bind_endpoint(router, f"ipc://{tmp_path}/{path}")


def test_a_system_without_ipc(
    router: zmq.Socket[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq, "has", lambda capability: False)
    with pytest.raises(BindError, match="no ipc"):
        bind_endpoint(router, f"ipc://{tmp_path}/e")
