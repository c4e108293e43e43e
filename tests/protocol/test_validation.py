"""What is wrong with a request is said in words, with the bad value and what to put there."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.errors import BadMessage
from npc_engine.protocol import unpack
from npc_engine.protocol.validation import complaint

SAY = {"type": "say", "id": "1", "npc": "mara", "text": "Hi."}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"npc": "a b"},
            "npc is 'a b'; it must be a name: 1-64 of A-Z a-z 0-9 _ . - with no dot first.",
        ),
        ({"priority": "hig"}, "priority is 'hig'; it must be player, near or ambient."),
        ({"stream": ["lines"]}, "stream[0] is 'lines'; it must be text, line or gesture."),
        ({"max_tokens": 0}, "max_tokens is 0; it must be a whole number >= 1."),
        ({"text": 5}, "text is 5; it must be text."),
        ({"text": ...}, "text is missing."),
        ({"type": "dance"}, "type is 'dance'; it must be one of hello, spawn, say, "),
        ({"type": "event", "npcs": "all"}, "npcs is 'all'; it must be a list of names, or \"*\""),
        ({"type": "spawn", "card": []}, "card is []; it must be a map."),
    ],
)
def test_the_bad_value_and_what_to_put_there(changes: dict[str, Any], message: str) -> None:
    fields = {k: v for k, v in (SAY | changes).items() if v is not ...}
    with pytest.raises(BadMessage) as caught:
        unpack(msgspec.msgpack.encode(fields))
    assert caught.value.message.startswith(message)
    assert "docs/protocol.md" in caught.value.help


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(BadMessage) as caught:
        unpack(msgspec.msgpack.encode(SAY | {"npc": "x" * 100_000}))
    assert len(caught.value.message) < 300


@given(st.binary(max_size=40), st.text(max_size=60))
def test_whatever_it_is_given_it_says_something(frame: bytes, text: str) -> None:
    for reason in (text, f"Expected `int` - at `$.{text}`", f"{text} - at `$.npcs[7].x`"):
        assert complaint(frame, ValueError(reason), "a, b").endswith(".")
