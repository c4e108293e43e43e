"""An engine that loads nothing and answers by rote: what the addon's tests need of one.

Started as the addon starts an engine (`serve --model ... --token-stdin --exit-on-stdin-eof`), or
with `--bind` alone. A `say` streams `text` records at the rate and for the seconds that its own
text names: "500 for 4".
"""

import json
import os
import sys
import threading
import time
from typing import Any

import msgpack  # type: ignore[import-untyped]
import zmq

WORDS = ["The ", "river ", "is ", "high ", "tonight. "]


def main() -> None:
    """Serve until stdin closes."""
    bind = [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == "--bind"][-1]
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.linger = 0
    socket.sndhwm = 0
    socket.setsockopt(zmq.HEARTBEAT_IVL, 500)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 1000 if "--impatient" in sys.argv else 30_000)
    socket.bind(bind)
    if "--token-stdin" in sys.argv:
        sys.stdin.readline()
    endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    sys.stdout.write("READY " + json.dumps({"endpoint": endpoint, "protocol": 1}) + "\n")
    sys.stdout.flush()
    threading.Thread(target=_serve, args=(socket,), daemon=True).start()
    sys.stdin.read()


def _serve(socket: Any) -> None:
    streams: list[dict[str, Any]] = []
    while True:
        if socket.poll(1 if streams else 1000):
            client, frame = socket.recv_multipart()
            request = msgpack.unpackb(frame)
            if request["type"] == "say":
                streams.append(_stream(client, request))
            else:
                socket.send_multipart([client, msgpack.packb(_answer(request))])
                if "--crash" in sys.argv:
                    time.sleep(0.05)  # the greeting gets out
                    os._exit(1)
        streams = [stream for stream in streams if _go_on(socket, stream)]


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, dict[str, Any]] = {
        "hello": {"type": "welcome", "protocol": 1, "engine": "fake", "npcs": []},
        "spawn": {"type": "spawned", "npc": request.get("npc"), "n_pinned": 1, "restored": False},
        "ping": {"type": "pong"},
    }
    return answers.get(request["type"], {"type": "ok"}) | {"id": request["id"]}


def _stream(client: bytes, request: dict[str, Any]) -> dict[str, Any]:
    rate, seconds = (float(word) for word in request["text"].split(" for "))
    base = {"id": request["id"], "npc": request["npc"], "client": client, "seq": 0, "lines": 0}
    return base | {"from": time.monotonic(), "rate": rate, "n": rate * seconds}


def _go_on(socket: Any, stream: dict[str, Any]) -> bool:
    due = min((time.monotonic() - stream["from"]) * stream["rate"], stream["n"])
    n_texts = stream["seq"] - stream["lines"]
    while n_texts < int(due):
        _record(socket, stream, "text", WORDS[n_texts % len(WORDS)])
        n_texts += 1
        if n_texts % len(WORDS) == 0:
            _record(socket, stream, "line", "".join(WORDS).strip(), index=stream["lines"])
            stream["lines"] += 1
    if n_texts < stream["n"]:
        return True
    done = {"type": "done", "id": stream["id"], "npc": stream["npc"], "text": "", "stats": {}}
    done |= {"reason": "stop", "truncated": False}
    socket.send_multipart([stream["client"], msgpack.packb(done)])
    return False


def _record(socket: Any, stream: dict[str, Any], kind: str, text: str, **keys: int) -> None:
    record = {"type": kind, "id": stream["id"], "seq": stream["seq"], "npc": stream["npc"]}
    socket.send_multipart([stream["client"], msgpack.packb(record | {"text": text} | keys)])
    stream["seq"] += 1


if __name__ == "__main__":
    main()
