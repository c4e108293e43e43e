"""Whose reply is whose, and what a Speech does, over a mailbox with a script and no socket."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from npc_engine.client.mailbox import MAX_KEPT
from npc_engine.client.verbs import Verbs
from npc_engine.errors import BadMessage, Busy, ConnectionLost, Internal, NpcExists, UnknownNpc
from npc_engine.protocol import (
    Cancel,
    Done,
    DoneStats,
    Error,
    Gesture,
    Join,
    Leave,
    Line,
    Ok,
    Pong,
    Reply,
    Request,
    Say,
    Scene,
    SceneDone,
    Text,
    Turn,
    unpack,
)

Answer = Callable[[Request], list[list[Reply]]]


class Scripted(Verbs):
    """Verbs whose engine answers each request with batches of replies, one at a `_receive`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.sent: list[Request] = []
        self.waiting: list[list[Reply]] = []
        self.timeouts: list[float] = []

    def _send(self, request: Request, frame: bytes) -> None:
        assert unpack(frame) == request
        self.sent.append(request)
        self.waiting += self.answer(request)

    def _receive(self, timeout: float) -> list[Reply]:
        self.timeouts.append(timeout)
        return self.waiting.pop(0) if self.waiting else []


def _line(request_id: str, index: int, text: str) -> Line:
    return Line(id=request_id, seq=index, npc="mara", index=index, text=text)


def _done(request_id: str, reason: Any = "stop", text: str = "One. Two.") -> Done:
    return Done(
        id=request_id, npc="mara", text=text, reason=reason, truncated=False, stats=DoneStats()
    )


def _talk(request: Request) -> list[list[Reply]]:
    """Answer a say with two lines, one at a time; a cancel with its two replies."""
    match request:
        case Say(id=i):
            return [[_line(i, 0, "One.")], [_line(i, 1, "Two.")], [_done(i)]]
        case Cancel(id=i, target=target):
            return [[Ok(id=i, cancelled=True)], [_done(target, "cancelled")]]
    return [[Pong(id=request.id)]]


def _cancels(verbs: Scripted) -> list[str]:
    return [request.target for request in verbs.sent if isinstance(request, Cancel)]


def test_a_speech_yields_lines_as_they_come_and_ends_with_done() -> None:
    verbs = Scripted(_talk)
    speech = verbs.say("mara", "Who are you?")
    assert next(speech).text == "One."
    assert (speech.text, speech.done) == ("One.", None)
    assert [record.text for record in speech] == ["Two."]
    assert speech.done is not None and speech.done.reason == "stop"
    assert speech.text == "One. Two."
    assert list(speech) == [] and speech.wait() is speech.done
    del speech
    assert _cancels(verbs) == []


def test_text_records_and_gestures() -> None:
    def answer(request: Request) -> list[list[Reply]]:
        i = request.id
        return [
            [
                Text(id=i, seq=0, npc="mara", text="On"),
                Gesture(id=i, seq=1, npc="mara", text="nods"),
                Text(id=i, seq=2, npc="mara", text="e."),
                _done(i),
            ]
        ]

    speech = Scripted(answer).say("mara", "Hi.", stream=["text", "gesture"])
    kinds = []
    for record in speech:
        kinds.append(type(record))
        assert speech.text in ("On", "One.")
    assert kinds == [Text, Gesture, Text]


def test_speeches_may_be_read_in_any_order() -> None:
    verbs = Scripted(_talk)
    first, second = verbs.say("mara", "A?"), verbs.say("bo", "B?")
    verbs.waiting.sort(key=lambda batch: getattr(batch[0], "seq", 9))
    assert next(second).text == "One."
    verbs.ping()
    assert [record.text for record in first] == ["One.", "Two."]
    assert [record.text for record in second] == ["Two."]
    assert first.done is not None and second.done is not None
    assert first.done.id != second.done.id


def test_breaking_out_of_the_loop_cancels() -> None:
    verbs = Scripted(_talk)
    for _ in verbs.say("mara", "Who are you?"):
        break
    assert _cancels(verbs) == ["1"]
    verbs.ping()  # replies that nobody wants any more are dropped


def test_an_exception_in_the_loop_cancels() -> None:
    verbs = Scripted(_talk)

    def read() -> None:
        for _ in verbs.say("mara", "Who are you?"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        read()
    assert _cancels(verbs) == ["1"]


def test_leaving_the_with_block_cancels_once() -> None:
    verbs = Scripted(_talk)
    with verbs.say("mara", "Who are you?") as speech:
        next(speech)
    assert list(speech) == []
    with pytest.raises(Internal, match="closed"):
        speech.wait()
    speech.close()
    del speech
    assert _cancels(verbs) == ["1"]


def test_garbage_found_in_mid_receive_is_cancelled_by_the_next_call() -> None:
    verbs = Scripted(_talk)
    loop: list[Any] = [verbs.say("mara", "Who are you?")]
    loop.append(loop)
    verbs.waiting.clear()
    receive = verbs._receive

    def collecting(timeout: float) -> list[Reply]:
        gc.collect()
        assert _cancels(verbs) == []
        return receive(timeout)

    verbs._receive = collecting  # type: ignore[method-assign]
    gc.disable()
    try:
        del loop
        verbs.ping()
    finally:
        gc.enable()
    del verbs._receive
    verbs.ping()
    assert _cancels(verbs) == ["1"]


def test_cancel_tells_what_was_heard_and_waits_for_the_end() -> None:
    verbs = Scripted(_talk)
    speech = verbs.say("mara", "Who are you?")
    verbs.waiting.clear()  # it goes on talking until it is cancelled
    speech.cancel(heard=4)
    assert verbs.sent[-1] == Cancel(id="2", target="1", heard=4)
    assert speech.done is not None and speech.done.reason == "cancelled"
    assert list(speech) == []
    speech.cancel()
    assert _cancels(verbs) == ["1"]


def test_cancelling_what_has_just_ended_is_no_error() -> None:
    def answer(request: Request) -> list[list[Reply]]:
        if isinstance(request, Say):
            return [[_done(request.id)]]
        return [[Error(id=request.id, code="unknown_target", message="No.", help="")]]

    speech = Scripted(answer).say("mara", "Who are you?")
    speech.cancel(heard=0)
    assert speech.done is not None and speech.done.reason == "stop"


def test_an_error_is_raised_by_whoever_reads() -> None:
    def answer(request: Request) -> list[list[Reply]]:
        return [[Error(id=request.id, code="unknown_npc", message="No 'x'.", help="Spawn it.")]]

    verbs = Scripted(answer)
    speech = verbs.say("x", "Hi.")
    for _ in range(2):
        with pytest.raises(UnknownNpc, match=r"No 'x'\. Spawn it\."):
            next(speech)
    with pytest.raises(UnknownNpc):
        speech.wait()
    del speech
    assert _cancels(verbs) == []
    with pytest.raises(UnknownNpc):
        verbs.despawn("x")


def test_silence_ends_a_speech_and_cancels_it() -> None:
    verbs = Scripted(lambda request: [])
    speech = verbs.say("mara", "Hi.", timeout=1.5)
    with pytest.raises(ConnectionLost, match=r"1\.5 s"):
        speech.wait()
    with pytest.raises(ConnectionLost):
        next(speech)
    assert (verbs.timeouts, _cancels(verbs)) == ([1.5], ["1"])
    with pytest.raises(ConnectionLost):
        verbs.ping()


def test_an_error_without_an_id_does_not_wait_for_a_timeout() -> None:
    def answer(request: Request) -> list[list[Reply]]:
        busy: Reply = Error(code="busy", message="Full.", help="Wait.")
        return [[busy, _line(request.id, 0, "One."), _done(request.id)]]

    speech = Scripted(answer).say("mara", "Hi.")
    with pytest.raises(Busy):
        next(speech)
    assert [record.text for record in speech] == ["One."]


def test_an_answer_of_the_wrong_kind_is_internal() -> None:
    verbs = Scripted(lambda request: [[Ok(id=request.id)]])
    with pytest.raises(Internal, match="'Ok'"):
        verbs.ping()
    with pytest.raises(Internal, match="'Done'"):
        verbs.say("mara", "Hi.").wait()


def test_poll_returns_what_is_there() -> None:
    verbs = Scripted(lambda request: [])
    speech = verbs.say("mara", "Hi.")
    assert speech.poll() == []
    verbs.waiting = [[_line("1", 0, "One."), _line("1", 1, "Two.")], [_done("1")]]
    assert [record.text for record in speech.poll()] == ["One.", "Two."]
    assert speech.done is None
    assert speech.poll() == [] and speech.done is not None
    assert speech.poll() == []
    assert set(verbs.timeouts) == {0.0}


def test_a_speech_that_nobody_reads_keeps_a_bounded_number() -> None:
    def answer(request: Request) -> list[list[Reply]]:
        if isinstance(request, Say):
            return [[_line(request.id, i, str(i)) for i in range(2 * MAX_KEPT)], [_done("1")]]
        return [[Pong(id=request.id)]]

    verbs = Scripted(answer)
    speech = verbs.say("mara", "Hi.")
    verbs.ping()
    lines = [record.text for record in speech]
    assert len(lines) == MAX_KEPT - 1 and lines[-1] == str(2 * MAX_KEPT - 1)
    assert speech.done is not None


@pytest.mark.parametrize(
    "call",
    [
        lambda v: v.say("../mara", "Hi."),
        lambda v: v.say("mara", "Hi.", max_tokens=0),
        lambda v: v.say("mara", "\ud800"),
        lambda v: v.say("mara", "Hi.", stream="line"),
        lambda v: v.say("mara", 5),
        lambda v: v.hear("", "Hi."),
        lambda v: v.event("Rain.", importance=float("nan")),
        lambda v: v.event("Rain.", ["*"]),
        lambda v: v.save(".."),
        lambda v: v.load("a/b"),
        lambda v: v.despawn("x" * 65),
        lambda v: v.spawn("mara", {"name": object()}),
        lambda v: v.spawn("mara", {5: "name"}),
        lambda v: v.spawn("mara", {}, window=0),
    ],
)
def test_bad_arguments_send_nothing(call: Callable[[Scripted], object]) -> None:
    verbs = Scripted(_talk)
    with pytest.raises(BadMessage):
        call(verbs)
    assert verbs.sent == []


def test_one_name_or_note_may_stand_for_a_list() -> None:
    def answer(request: Request) -> list[list[Reply]]:
        return [[Ok(id=request.id, n_heard=1)]]

    verbs = Scripted(answer)
    assert verbs.event("Rain.", "mara") == 1
    verbs.event("Rain.", ("mara", "bo"), importance=1)
    verbs.event("Rain.")
    assert [getattr(r, "npcs", None) for r in verbs.sent] == [["mara"], ["mara", "bo"], "*"]
    verbs.say("mara", "Hi.", notes="It rains.").close()
    assert getattr(verbs.sent[3], "notes", None) == ["It rains."]


def test_a_sent_card_is_a_copy() -> None:
    def answer(request: Request) -> list[list[Reply]]:
        return [[Error(id=request.id, code="npc_exists", message="There.", help="")]]

    tags = ["a"]
    verbs = Scripted(answer)
    with pytest.raises(NpcExists):
        verbs.spawn("mara", {"name": "Mara", "tags": tags})
    tags.append("b")
    assert getattr(verbs.sent[0], "card", None) == {"name": "Mara", "tags": ["a"]}


def test_poll_takes_in_what_has_come_without_waiting() -> None:
    verbs = Scripted(_talk)
    first, second = verbs.say("mara", "A?"), verbs.say("bo", "B?")
    for _ in range(6):
        verbs.poll()
    assert verbs.timeouts == [0.0] * 6
    assert verbs.waiting == []
    for speech in (first, second):
        assert [record.text for record in speech] == ["One.", "Two."]
    assert verbs.timeouts == [0.0] * 6, "all was there"
    verbs.poll()


def test_poll_tells_what_is_nobodys() -> None:
    error = Error(id=None, code="bad_message", message="No map.", help="Send one.")
    verbs = Scripted(lambda request: [[error]])
    speech = verbs.say("mara", "Hi.")
    with pytest.raises(BadMessage, match="No map"):
        verbs.poll()
    speech.close()


def test_poll_cancels_what_nobody_wants_any_more() -> None:
    """The garbage collector dropped it amid a call: the next call is a poll, and for ever so."""
    verbs = Scripted(_talk)
    wanted = [verbs.say("mara", "A?")]
    target = wanted[0].id
    receive = verbs._receive

    def drop_amid(timeout: float) -> list[Reply]:
        wanted.clear()
        gc.collect()
        return receive(timeout)

    verbs._receive = drop_amid  # type: ignore[method-assign]
    verbs.poll()
    assert _cancels(verbs) == []
    verbs.poll()
    assert _cancels(verbs) == [target]


# A scene


def _chat(request: Request) -> list[list[Reply]]:
    """Answer a scene with two turns in one batch, a cancel with its two replies."""
    i = request.id
    match request:
        case Scene():
            turn = Turn(id=i, seq=1, npc="mara", text="One.", turn=3)
            last = Turn(id=i, seq=3, npc="bo", text="*nods*", turn=1)
            done = SceneDone(id=i, scene="inn", n_turns=2, reason="turns")
            nod = Gesture(id=i, seq=2, npc="bo", text="nods")
            return [[_line(i, 0, "One."), turn], [nod, last, done]]
        case Cancel(target=target):
            done = SceneDone(id=target, scene="inn", n_turns=0, reason="cancelled")
            return [[Ok(id=i, cancelled=True), done]]
    return [[Pong(id=i)]]


def test_a_conversation_yields_lines_and_keeps_turns() -> None:
    verbs = Scripted(_chat)
    talk = verbs.scene("inn", ["mara", "bo"], "bread", turns=2, stream=["line", "gesture"])
    request = verbs.sent[0]
    assert isinstance(request, Scene)
    assert (request.scene, request.npcs, request.about) == ("inn", ["mara", "bo"], "bread")
    assert (request.turns, request.priority, request.first) == (2, "ambient", None)
    assert [(r.npc, r.text) for r in talk] == [("mara", "One."), ("bo", "nods")]
    assert [(t.npc, t.text) for t in talk.turns] == [("mara", "One."), ("bo", "*nods*")]
    assert talk.done is not None and talk.done.reason == "turns"
    assert talk.wait() is talk.done
    del talk
    assert _cancels(verbs) == []


def test_polling_a_conversation_takes_what_is_there() -> None:
    verbs = Scripted(_chat)
    talk = verbs.scene("inn", ["mara", "bo"])
    assert [r.text for r in talk.poll()] == ["One."]
    assert [t.text for t in talk.turns] == ["One."]
    assert talk.done is None
    assert [r.text for r in talk.poll()] == ["nods"]
    assert talk.poll() == []
    assert talk.done is not None and len(talk.turns) == 2


def test_a_conversation_that_is_dropped_or_cancelled_ends() -> None:
    verbs = Scripted(lambda r: [] if isinstance(r, Scene) else _chat(r))
    talk = verbs.scene("inn", ["mara", "bo"])
    talk.cancel(heard=3)
    assert talk.done is not None and talk.done.reason == "cancelled"
    dropped = verbs.scene("inn", ["mara", "bo"])
    target = dropped.id
    del dropped
    gc.collect()
    assert _cancels(verbs) == [talk.id, target]


def test_what_a_conversation_may_not_be() -> None:
    verbs = Scripted(_chat)
    with pytest.raises(BadMessage, match="turns"):
        verbs.scene("inn", ["mara", "bo"], turns=0)
    verbs = Scripted(lambda r: [[Error(id=r.id, code="busy", message="No.", help="Wait.")]])
    talk = verbs.scene("inn", ["mara", "bo"])
    with pytest.raises(Busy):
        list(talk)


def test_join_and_leave() -> None:
    verbs = Scripted(lambda r: [[Ok(id=r.id)]])
    verbs.join("inn", "wren")
    verbs.leave("inn", "wren")
    assert [(type(r), getattr(r, "scene"), getattr(r, "npc")) for r in verbs.sent] == [  # noqa: B009
        (Join, "inn", "wren"), (Leave, "inn", "wren"),
    ]  # fmt: skip
