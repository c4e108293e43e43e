"""`window` records to draw: made by hand, and by hypothesis."""

from typing import Any

from hypothesis import strategies as st

from npc_engine.protocol import WindowReply, WindowSegment


def segment(kind: str, turn: int, n: int, start: int | None = 0, **keys: Any) -> WindowSegment:
    values: dict[str, Any] = {"n_cached": 0 if start is None else n, "pinned": kind == "persona"}
    values |= {"importance": 0.5, "text": "", **keys}
    return WindowSegment(kind=kind, turn=turn, start=start, n_tokens=n, **values)


def window(segments: list[WindowSegment], **keys: Any) -> WindowReply:
    """Return a record that fits its segments; `turn` is the last of them."""
    n_tokens = sum(s.n_tokens for s in segments)
    next_pos = max((s.start + s.n_cached for s in segments if s.start is not None), default=0)
    n_window = keys.get("n_window", max(2 * n_tokens, 64))
    n_pos = keys.get("n_pos", max(2 * next_pos, 8192))
    values: dict[str, Any] = {
        "npc": "mara",
        "state": "resident",
        "speaking": False,
        "turn": max(1, *(s.turn for s in segments)),
        "n_window": n_window,
        "n_tokens": n_tokens,
        "n_cells": sum(s.n_cached for s in segments),
        "n_pinned": sum(s.n_tokens for s in segments if s.pinned),
        "next_pos": next_pos,
        "n_pos": n_pos,
        "renumber_at": n_pos * 3 // 4,
        "n_evicted": 0,
        "n_renumbered": 0,
        "segments": segments,
    }
    return WindowReply(id="1", **(values | keys))


TEXTS = st.text("Mara keeps thé inn.  旅人はいる 🐉 e\u0301 *nods*", max_size=80)


@st.composite
def windows(draw: st.DrawFn) -> WindowReply:
    """A persona, turns with holes between them, some pinned, the last ones maybe not read yet."""
    kinds = ("open", "event", "said", "reply")
    segments = [segment("persona", 0, draw(st.integers(1, 300)), text=draw(TEXTS))]
    position, turn = segments[0].n_tokens, 0
    n_read = draw(st.integers(0, 12))
    for i in range(draw(st.integers(0, 12))):
        turn += draw(st.integers(1, 4))
        position += draw(st.sampled_from([0, 0, 5, 900]))
        keys = {"pinned": draw(st.booleans()), "importance": draw(st.floats(0, 1))}
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
            n = draw(st.integers(1, 60))
            start = position if i < n_read else None
            segments.append(segment(kind, turn, n, start, text=draw(TEXTS), **keys))
            position += n if i < n_read else 0
    n_tokens = sum(s.n_tokens for s in segments)
    return window(
        segments,
        turn=max(1, turn + draw(st.integers(0, 1))),
        n_window=n_tokens + draw(st.sampled_from([0, 1, 40, 4000])),
        n_pos=position + draw(st.sampled_from([1, 100, 100_000])),
        n_evicted=draw(st.integers(0, 10_000)),
        n_renumbered=draw(st.integers(0, 3)),
        state=draw(st.sampled_from(["resident", "parked"])),
        speaking=draw(st.booleans()),
    )
