"""The Python client against a ROUTER with a script: every reply, every way to lose an engine."""

import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import zmq

from npc_engine import errors
from npc_engine.client.zmq_client import Client
from npc_engine.errors import ConnectionLost, Internal, ProtocolVersion, Unauthorized
from tests.support.paths import ROOT, TESTS

VECTORS = TESTS / "vectors"
WAIT_S = 10.0
STATS = dict.fromkeys(("n_prompt", "n_cached", "n_decoded", "n_evicted"), 0) | dict.fromkeys(
    ("queue_ms", "ttft_ms", "decode_tps", "total_ms"), 0.0
)
Map = dict[str, Any]
Script = Callable[[Map], list[Map | bytes]]


class FakeEngine:
    """A ROUTER on a thread. `script` gives the replies to a request, which stands in `requests`."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: queue.SimpleQueue[Map] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.linger = 0
        port = self._router.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._router.poll(20):
                continue
            client, frame = self._router.recv_multipart()
            request = msgpack.unpackb(frame)
            self.requests.put(request)
            for reply in self.script(request):
                body = reply if isinstance(reply, bytes) else msgpack.packb(reply)
                self._router.send_multipart([client, body])
        self._router.close()

    def request(self, kind: str) -> Map:
        """Return the next request of this type."""
        while True:
            found = self.requests.get(timeout=WAIT_S)
            if found["type"] == kind:
                return found

    def close(self) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self._context.term()


def _welcome(request: Map) -> Map:
    return {
        "type": "welcome",
        "id": request["id"],
        "protocol": 1,
        "engine": "0.1.0",
        "model": {"name": "tiny"},
        "limits": {"window": 2048},
        "npcs": ["mara"],
    }


def _line(request_id: str, index: int, text: str) -> Map:
    head = {"type": "line", "id": request_id, "seq": index, "npc": "mara"}
    return head | {"index": index, "text": text}


def _done(request_id: str, reason: str = "stop") -> Map:
    head = {"type": "done", "id": request_id, "npc": "mara", "text": "One. Two."}
    return head | {"reason": reason, "truncated": False, "stats": STATS}


def _answers(request: Map) -> list[Map | bytes]:
    """Answer as an engine that says "One. Two." to everything, and to "Sing." for ever."""
    i = request["id"]
    match request:
        case {"type": "say", "text": "Sing."}:
            return [_line(i, 0, "One.")]
        case {"type": "say"}:
            return [_line(i, 0, "One."), _line(i, 1, "Two."), _done(i)]
        case {"type": "cancel", "target": target}:
            return [{"type": "ok", "id": i, "cancelled": True}, _done(target, "cancelled")]
        case {"type": "hello"}:
            return [_welcome(request)]
    return [ANSWERS[request["type"]] | {"id": i}]


ANSWERS: dict[str, Map] = {
    "spawn": {
        "type": "spawned",
        "npc": "mara",
        "n_pinned": 9,
        "n_shared": 3,
        "restored": False,
        "greeting": "Come in.",
    },
    "hear": {"type": "ok"},
    "event": {"type": "ok", "n_heard": 2},
    "save": {"type": "saved", "slot": "one", "npcs": ["mara"], "n_bytes": 77, "ms": 1.5},
    "load": {
        "type": "loaded",
        "slot": "one",
        "npcs": [{"npc": "mara", "from": "tokens", "notice": "Another model."}],
        "ms": 1.5,
    },
    "despawn": {"type": "ok"},
    "list": {"type": "npcs", "npcs": []},
    "window": json.loads((VECTORS / "reply-window.json").read_text("utf-8")),
    "stats": {"type": "stats", "stats": {"n_steps": 5}},
    "ping": {"type": "pong"},
}


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    fake = FakeEngine(_answers)
    yield fake
    fake.close()


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[Client]:
    with Client(engine.endpoint, timeout=WAIT_S) as client:
        yield client


def test_hello_carries_token_version_and_name(engine: FakeEngine) -> None:
    with Client(engine.endpoint, token="s3cret", timeout=WAIT_S, name="my game") as client:
        assert client.welcome.npcs == ["mara"] and client.welcome.model == {"name": "tiny"}
    hello = engine.request("hello")
    assert (hello["protocol"], hello["client"], hello["token"]) == (1, "my game", "s3cret")


def test_every_verb(client: Client, engine: FakeEngine) -> None:
    spawned = client.spawn("mara", {"name": "Mara"}, sampling={"top_k": 5}, window=512)
    assert (spawned.n_pinned, spawned.greeting) == (9, "Come in.")
    assert engine.request("spawn")["sampling"] == {"top_k": 5}
    client.hear("mara", "Who a")
    assert client.event("The bell tolls.", ["mara", "bo"], 0.9, 60) == 2
    assert client.save("one").n_bytes == 77
    loaded = client.load("one", ["mara"])
    assert (loaded.npcs[0].source, loaded.npcs[0].notice) == ("tokens", "Another model.")
    assert client.list_npcs() == []
    window = client.window("mara")
    assert (window.next_pos, window.segments[-1].start) == (871, None)
    assert engine.request("window")["npc"] == "mara"
    assert client.stats() == {"n_steps": 5}
    client.despawn("mara")
    client.ping()


def test_a_card_file_is_sent_as_a_card(client: Client, engine: FakeEngine, tmp_path: Any) -> None:
    path = tmp_path / "mara.toml"
    path.write_text('name = "Mara"\ndescription = "Keeps the inn."\n')
    client.spawn("mara", path)
    card = engine.request("spawn")["card"]
    assert card["data"]["description"] == "Keeps the inn."
    with pytest.raises(errors.CardError, match="no such file"):
        client.spawn("bo", tmp_path / "bo.toml")


def test_of_a_card_goes_what_the_engine_reads(client: Client, engine: FakeEngine) -> None:
    card = {"name": "Mara", "description": "Keeps the inn.", "creator_notes": "Mine."}
    client.spawn("mara", card | {"assets": [{"uri": "data:," + "A" * 3_000_000}]})
    assert engine.request("spawn")["card"] == card


def test_what_is_too_large_names_its_field_and_is_not_sent(client: Client) -> None:
    with pytest.raises(errors.TooLarge, match=r"most of them in 'card\.description'"):
        client.spawn("mara", {"name": "Mara", "description": "x" * 5_000_000})
    with pytest.raises(errors.TooLarge, match="most of them in 'text'"):
        client.say("mara", "x" * 5_000_000)
    client.ping()


def test_lines_stream(client: Client) -> None:
    assert [line.text for line in client.say("mara", "Who are you?")] == ["One.", "Two."]
    done = client.say("mara", "Who are you?").wait()
    assert (done.reason, done.text) == ("stop", "One. Two.")


def test_interleaved_speeches(client: Client) -> None:
    speeches = [client.say("mara", "Who are you?") for _ in range(5)]
    client.ping()
    first = [next(speech).text for speech in reversed(speeches)]
    rest = [[record.text for record in speech] for speech in speeches]
    assert first == ["One."] * 5 and rest == [["Two."]] * 5


def test_cancel(client: Client, engine: FakeEngine) -> None:
    speech = client.say("mara", "Sing.")
    assert next(speech).text == "One."
    speech.cancel(heard=2)
    cancel = engine.request("cancel")
    assert (cancel["target"], cancel["heard"]) == (speech.id, 2)
    assert speech.done is not None and speech.done.reason == "cancelled"


def test_break_cancels(client: Client, engine: FakeEngine) -> None:
    for _ in client.say("mara", "Sing."):
        break
    assert engine.request("say")["id"] == engine.request("cancel")["target"]
    client.ping()


@pytest.mark.parametrize(
    "code",
    [cls.code for cls in errors.RequestError.__subclasses__()],
)
def test_error_codes_become_their_errors(engine: FakeEngine, code: str) -> None:
    with Client(engine.endpoint, timeout=WAIT_S) as client:
        engine.script = lambda request: [
            {"type": "error", "id": request["id"], "code": code, "message": "No.", "help": "Do."}
        ]
        with pytest.raises(errors.RequestError, match=r"No\. Do\.") as caught:
            client.ping()
        assert type(caught.value).code == caught.value.code == code
        with pytest.raises(type(caught.value)):
            client.say("mara", "Hi.").wait()


def test_an_unknown_code_is_internal(client: Client, engine: FakeEngine) -> None:
    engine.script = lambda request: [
        {"type": "error", "id": request["id"], "code": "asleep", "message": "No.", "help": ""}
    ]
    with pytest.raises(Internal):
        client.ping()


@pytest.mark.parametrize("frame", [b"", b"\xff" * 9, b"\x81\xa4type\xa4sung", b"\x91\x01"])
def test_an_unreadable_reply_is_an_error_and_not_the_end(
    client: Client, engine: FakeEngine, frame: bytes
) -> None:
    engine.script = lambda request: [frame, *_answers(request)]
    with pytest.raises(errors.BadMessage, match="same protocol version"):
        client.ping()
    engine.script = _answers
    client.ping()


def test_a_wrong_token_is_unauthorized(engine: FakeEngine) -> None:
    engine.script = lambda request: [
        {
            "type": "error",
            "id": request["id"],
            "code": "unauthorized",
            "message": "Wrong token.",
            "help": "Ask whoever started the engine.",
        }
    ]
    with pytest.raises(Unauthorized, match="Wrong token"):
        Client(engine.endpoint, token="wrong", timeout=WAIT_S)


def test_another_protocol_version_is_said(engine: FakeEngine) -> None:
    engine.script = lambda request: [_welcome(request) | {"protocol": 2}]
    with pytest.raises(ProtocolVersion, match="protocol 2"):
        Client(engine.endpoint, timeout=WAIT_S)


def test_an_absent_engine_is_said_after_the_timeout() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
    with pytest.raises(ConnectionLost, match="No engine answers at") as caught:
        Client(f"tcp://127.0.0.1:{port}", timeout=0.2)
    assert "npc-engine serve" in caught.value.help


@pytest.mark.parametrize("endpoint", ["", "mara", "tcp://", "tcp://127.0.0.1:port", "x://y"])
def test_a_malformed_endpoint_is_said(endpoint: str) -> None:
    with pytest.raises(ConnectionLost, match="no endpoint"):
        Client(endpoint, timeout=0.2)


def test_an_engine_that_dies_in_mid_speech_is_noticed_before_the_timeout() -> None:
    engine = FakeEngine(_answers)
    with Client(engine.endpoint, timeout=WAIT_S) as client:
        speech = client.say("mara", "Sing.", timeout=600.0)
        assert client._socket.poll(int(WAIT_S * 1000))  # a line has come, and is not read yet
        engine.close()
        assert client._monitor.poll(int(WAIT_S * 1000))
        assert next(speech).text == "One."  # what came before its end is not lost
        with pytest.raises(ConnectionLost, match="is gone"):
            next(speech)
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="is gone"):
                client.ping()


def test_an_engine_that_is_silent_is_noticed_at_the_timeout(
    client: Client, engine: FakeEngine
) -> None:
    engine.script = lambda request: []
    with pytest.raises(ConnectionLost, match=r"0\.1 s"):
        client.ping(timeout=0.1)
    with pytest.raises(ConnectionLost, match=r"0\.1 s"):
        client.say("mara", "Hi.", timeout=0.1).wait()
    assert engine.request("cancel")["target"] == "3"
    engine.script = _answers
    client.ping()


def test_a_late_answer_is_not_taken_for_another(client: Client, engine: FakeEngine) -> None:
    engine.script = lambda request: []
    with pytest.raises(ConnectionLost):
        client.stats(timeout=0.1)
    late = {"type": "stats", "id": "2", "stats": {"late": True}}
    engine.script = lambda request: [late, *_answers(request)]
    assert client.stats() == {"n_steps": 5}


def test_a_closed_client_says_so(engine: FakeEngine) -> None:
    client = Client(engine.endpoint, timeout=WAIT_S)
    speech = client.say("mara", "Sing.")
    client.close()
    client.close()
    with pytest.raises(ConnectionLost, match="closed"):
        client.ping()
    with pytest.raises(ConnectionLost, match="closed"):
        next(speech)
    del speech  # cancels what can no longer be cancelled, and says nothing


def test_a_break_just_before_close_still_reaches_the_engine(engine: FakeEngine) -> None:
    with Client(engine.endpoint, timeout=WAIT_S) as client:
        for _ in client.say("mara", "Sing."):
            break
    assert engine.request("cancel")["target"] == "2"


def test_the_client_in_the_document_works(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    document = ROOT / "docs" / "protocol.md"
    found = re.search(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    code = found[1].replace("tcp://127.0.0.1:5757", engine.endpoint)
    with zmq.Context() as context:
        code = code.replace("zmq.Context.instance()", "context")
        names: dict[str, Any] = {"context": context}
        exec(code, names)
        names["socket"].close()
    assert capsys.readouterr().out == "{'name': 'tiny'}\nOne.\nTwo.\n"
