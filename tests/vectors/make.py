"""Write the golden vectors of the wire protocol: `python tests/vectors/make.py`.

Owns one example or more of every record, as NAME.msgpack (the frame) and NAME.json (what it means),
and in `invalid/` frames that are no requests, with the `code` and `id` of the error they get. The
tests of every client language read them, and `deaths.json`: what each says of an engine that ended
with a status, the processor as {cpu}. In the .json a float always has a point or an exponent,
an integer never has; a test whose JSON reader makes everything a double skips `*-int64`.

It packs with the msgpack library and not with the engine's own code, so that one checks the other.
"""

import json
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]

from npc_engine.client.exit_status import death
from npc_engine.llama.measurements import cpu_name

FOLDER = Path(__file__).parent

MARA = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Mara",
        "description": "{{char}} keeps the inn at the ford.",
        "first_mes": "Come in, {{user}}. Mind the step.",
        "tags": ["innkeeper"],
        "extensions": {"example.org/portrait": {"file": "mara.png", "scale": 0.5, "flip": False}},
    },
}
STATS = {
    "n_prompt": 23,
    "n_cached": 412,
    "n_decoded": 31,
    "n_evicted": 0,
    "queue_ms": 0.25,
    "ttft_ms": 48.5,
    "decode_tps": 61.75,
    "total_ms": 550.125,
}


def _segment(
    kind: str, turn: int, start: int | None, n_tokens: int, n_cached: int | None = None, **keys: Any
) -> dict[str, Any]:
    where = {"kind": kind, "turn": turn, "start": start, "n_tokens": n_tokens}
    n_cached = n_tokens if n_cached is None else n_cached
    rest = {"n_cached": n_cached, "pinned": False, "importance": 0.5, "text": ""}
    return where | rest | keys


UNICODE = "Grüß Gott, 旅人。 Ça va ? 🐉 e\u0301 \u200d\U0001f469\u200d\U0001f680"

VALID: dict[str, dict[str, Any]] = {
    "request-hello": {"type": "hello", "id": "1", "protocol": 1},
    "request-hello-full": {
        "type": "hello",
        "id": "1",
        "protocol": 1,
        "client": "godot 1.0",
        "token": "S3cret_token-of.this.launch",
    },
    "request-hello-nil": {"type": "hello", "id": "1", "protocol": 1, "token": None},
    "request-spawn": {"type": "spawn", "id": "2", "npc": "mara", "card": {"name": "Mara"}},
    "request-spawn-full": {
        "type": "spawn",
        "id": "2",
        "npc": "mara_of-the.ford",
        "card": MARA,
        "sampling": {"temperature": 0.7, "top_k": 40, "seed": 4294967295, "stop": ["\n\n"]},
        "window": 2048,
        "restore": "autosave",
        "restore_card": "saved",
    },
    "request-say": {"type": "say", "id": "3", "npc": "mara", "text": "Who are you?"},
    "request-say-full": {
        "type": "say",
        "id": "3",
        "npc": "mara",
        "text": "Who are you?",
        "speaker": "Tom",
        "priority": "near",
        "max_tokens": 64,
        "stream": ["text", "line", "gesture"],
        "notes": ["It is raining.", "Tom limps."],
    },
    "request-say-unicode": {"type": "say", "id": "3-Ü", "npc": "mara", "text": UNICODE},
    "request-say-quiet": {"type": "say", "id": "3", "npc": "mara", "text": "", "stream": []},
    "request-say-long": {"type": "say", "id": "3", "npc": "mara", "text": "Listen. " * 900},
    "request-say-unknown-keys": {
        "type": "say",
        "id": "3",
        "npc": "mara",
        "text": "Hello.",
        "mood": {"joy": 0.5, "seen": [1, None, {"a": []}]},
        "zoom": -1,
    },
    "request-hear": {"type": "hear", "id": "4", "npc": "mara", "text": "Who a"},
    "request-hear-full": {
        "type": "hear",
        "id": "4",
        "npc": "mara",
        "text": "Who a",
        "speaker": "Tom",
    },
    "request-attend": {"type": "attend", "id": "4", "npc": "mara"},
    "request-event": {"type": "event", "id": "5", "npcs": "*", "text": "The bell tolls."},
    "request-event-full": {
        "type": "event",
        "id": "5",
        "npcs": ["mara", "bo"],
        "text": "The bell tolls.",
        "importance": 0.875,
        "expires_s": 90.0,
    },
    "request-event-int-for-float": {
        "type": "event",
        "id": "5",
        "npcs": ["mara"],
        "text": "The bell tolls.",
        "importance": 1,
    },
    "request-pin": {"type": "pin", "id": "6", "npc": "mara", "text": "You owe Tom a sword."},
    "request-pin-neither": {"type": "pin", "id": "6", "npc": "mara"},
    "request-pin-turn": {"type": "pin", "id": "6", "npc": "mara", "turn": 12},
    "request-pin-nil": {"type": "pin", "id": "6", "npc": "mara", "turn": 300, "text": None},
    "request-unpin": {"type": "unpin", "id": "6", "npc": "mara", "turn": 70000},
    "request-rewind": {"type": "rewind", "id": "17", "npc": "mara", "turns": 2},
    "request-rewind-neither": {"type": "rewind", "id": "17", "npc": "mara"},
    "request-rewind-to-turn": {"type": "rewind", "id": "17", "npc": "mara", "to_turn": 0},
    "request-rewind-nil": {
        "type": "rewind",
        "id": "17",
        "npc": "mara",
        "turns": None,
        "to_turn": 70000,
    },
    "request-cancel": {"type": "cancel", "id": "6", "target": "3"},
    "request-cancel-full": {"type": "cancel", "id": "6", "target": "3", "heard": 17},
    "request-scene": {"type": "scene", "id": "14", "scene": "inn", "npcs": ["mara", "bo"]},
    "request-scene-full": {
        "type": "scene",
        "id": "14",
        "scene": "inn",
        "npcs": ["mara", "bo", "wren"],
        "about": "the missing bread",
        "turns": 12,
        "first": "bo",
        "priority": "near",
        "max_tokens": 48,
        "stream": ["text", "line", "gesture"],
    },
    "request-join": {"type": "join", "id": "15", "scene": "inn", "npc": "wren"},
    "request-leave": {"type": "leave", "id": "16", "scene": "inn", "npc": "wren"},
    "request-save": {"type": "save", "id": "7", "slot": "slot-1"},
    "request-save-full": {
        "type": "save",
        "id": "7",
        "slot": "slot-1",
        "npcs": ["mara"],
        "mode": "journal",
    },
    "request-load": {"type": "load", "id": "8", "slot": "slot-1"},
    "request-load-full": {"type": "load", "id": "8", "slot": "slot-1", "npcs": ["mara"]},
    "request-despawn": {"type": "despawn", "id": "9", "npc": "mara"},
    "request-list": {"type": "list", "id": "10"},
    "request-window": {"type": "window", "id": "13", "npc": "mara"},
    "request-transcript": {"type": "transcript", "id": "18", "npc": "mara"},
    "request-transcript-full": {"type": "transcript", "id": "18", "npc": "mara", "last": 2},
    "request-stats": {"type": "stats", "id": "11"},
    "request-ping": {"type": "ping", "id": "12"},
    "request-ping-long-id": {"type": "ping", "id": "é" * 64},
    "reply-welcome": {
        "type": "welcome",
        "id": "1",
        "protocol": 1,
        "engine": "0.1.0",
        "model": {
            "name": "SmolLM2 135M Instruct",
            "arch": "llama",
            "n_params": 134515008,
            "n_ctx_train": 8192,
            "fingerprint": "5f0c1a",
        },
        "limits": {"window": 2048, "max_tokens": 256, "max_message_bytes": 1048576},
        "npcs": ["mara"],
    },
    "reply-spawned": {
        "type": "spawned",
        "id": "2",
        "npc": "mara",
        "n_pinned": 187,
        "n_shared": 60,
        "restored": False,
    },
    "reply-spawned-full": {
        "type": "spawned",
        "id": "2",
        "npc": "mara",
        "n_pinned": 187,
        "n_shared": 60,
        "restored": True,
        "greeting": "Come in, Player. Mind the step.",
        "notice": "The save was made with another model: it is read again.",
    },
    "reply-ok": {"type": "ok", "id": "4"},
    "reply-ok-event": {"type": "ok", "id": "5", "n_heard": 2},
    "reply-ok-cancel": {"type": "ok", "id": "6", "cancelled": True},
    "reply-text": {"type": "text", "id": "3", "seq": 0, "npc": "mara", "text": " Mara"},
    "reply-line": {
        "type": "line",
        "id": "3",
        "seq": 1,
        "npc": "mara",
        "index": 0,
        "text": "Mara, and this is my inn.",
    },
    "reply-line-unicode": {
        "type": "line",
        "id": "3",
        "seq": 70000,
        "npc": "mara",
        "index": 300,
        "text": UNICODE,
    },
    "reply-gesture": {"type": "gesture", "id": "3", "seq": 2, "npc": "mara", "text": "nods"},
    "reply-done": {
        "type": "done",
        "id": "3",
        "npc": "mara",
        "text": "*nods* Mara, and this is my inn.",
        "reason": "stop",
        "truncated": False,
        "stats": STATS,
        "turn": 12,
    },
    "reply-done-cancelled": {
        "type": "done",
        "id": "3",
        "npc": "mara",
        "text": "",
        "reason": "cancelled",
        "truncated": True,
        "stats": {key: type(value)(0) for key, value in STATS.items()},
    },
    "reply-turn": {
        "type": "turn",
        "id": "14",
        "seq": 3,
        "npc": "bo",
        "text": "*shrugs* Ask Wren.",
        "turn": 13,
    },
    "reply-scene-done": {
        "type": "scene_done",
        "id": "14",
        "scene": "inn",
        "n_turns": 12,
        "reason": "turns",
    },
    "reply-pinned": {
        "type": "pinned",
        "id": "6",
        "npc": "mara",
        "turn": 13,
        "n_tokens": 31,
        "n_pinned": 290,
        "n_left": 400,
    },
    "reply-rewound": {
        "type": "rewound",
        "id": "17",
        "npc": "mara",
        "turn": 10,
        "n_forgotten": 2,
    },
    "reply-saved": {
        "type": "saved",
        "id": "7",
        "slot": "slot-1",
        "npcs": ["bo", "mara"],
        "n_bytes": 9437184,
        "ms": 41.5,
    },
    "reply-loaded": {
        "type": "loaded",
        "id": "8",
        "slot": "slot-1",
        "npcs": [
            {"npc": "bo", "from": "payload"},
            {"npc": "mara", "from": "tokens", "notice": "Made with another model."},
        ],
        "ms": 12.25,
    },
    "reply-npcs": {
        "type": "npcs",
        "id": "10",
        "npcs": [
            {
                "npc": "mara",
                "name": "Mara",
                "state": "resident",
                "n_tokens": 640,
                "n_pinned": 187,
                "n_window": 2048,
                "speaking": True,
                "priority": "player",
                "n_waiting": 1,
                "n_events": 3,
                "n_pending": 17,
            },
            {
                "npc": "bo",
                "name": "Bo",
                "state": "parked",
                "n_tokens": 300,
                "n_pinned": 120,
                "n_window": 2048,
                "speaking": False,
                "n_waiting": 0,
                "n_events": 0,
                "n_pending": 0,
                "scene": "inn",
            },
        ],
    },
    "reply-npcs-older": {
        "type": "npcs",
        "id": "10",
        "npcs": [
            {
                "npc": "mara",
                "name": "Mara",
                "state": "resident",
                "n_tokens": 640,
                "n_pinned": 187,
                "n_window": 2048,
                "speaking": True,
            }
        ],
    },
    "reply-npcs-empty": {"type": "npcs", "id": "10", "npcs": []},
    "reply-window": {
        "type": "window",
        "id": "13",
        "npc": "mara",
        "state": "resident",
        "speaking": False,
        "turn": 9,
        "n_window": 512,
        "n_tokens": 270,
        "n_cells": 259,
        "n_pinned": 208,
        "next_pos": 871,
        "n_pos": 8192,
        "renumber_at": 6144,
        "n_evicted": 610,
        "n_renumbered": 0,
        "segments": [
            _segment("persona", 0, 0, 187, text="You are Mara.", pinned=True),
            _segment("event", 3, 240, 21, text="*Tom pays.*", pinned=True, importance=0.875),
            _segment("open", 8, 820, 4),
            _segment("said", 8, 824, 5, text="Grüß Gott, 旅人。"),
            _segment("close", 8, 829, 6),
            _segment("reply", 8, 835, 11, text="*nods* Come in."),
            _segment("end", 8, 846, 2),
            _segment("open", 9, 848, 4),
            _segment("event", 9, 852, 22, 19, text="*A bell.*", importance=0.25),
            _segment("said", 9, None, 8, 0, text="Who is"),
        ],
    },
    "reply-transcript": {
        "type": "transcript",
        "id": "18",
        "npc": "mara",
        "turns": [
            {
                "turn": 4,
                "pinned": True,
                "entries": [
                    {"kind": "event", "text": "You owe Tom a sword."},
                    {"kind": "reply", "text": "*takes it to heart*"},
                ],
            },
            {
                "turn": 300,
                "pinned": False,
                "entries": [
                    {"kind": "event", "text": "The bell tolls."},
                    {"kind": "heard", "text": "Who rings so late?", "speaker": "Bo"},
                    {"kind": "said", "text": UNICODE, "speaker": "Player"},
                    {"kind": "reply", "text": "*nods* Come in."},
                ],
            },
            {
                "turn": 301,
                "pinned": False,
                "entries": [{"kind": "said", "text": "Tom: Hello."}],
            },
        ],
        "n_forgotten": 297,
    },
    "reply-transcript-empty": {
        "type": "transcript",
        "id": "18",
        "npc": "mara",
        "turns": [],
        "n_forgotten": 0,
    },
    "reply-stats": {
        "type": "stats",
        "id": "11",
        "stats": {"decode_tps": 61.75, "queue": {"player": 1, "ambient": 0}, "idle": None},
    },
    "reply-stats-int64": {
        "type": "stats",
        "id": "11",
        "stats": {
            "max": 2**63 - 1,
            "umax": 2**64 - 1,
            "min": -(2**63),
            "odd": 2**53 + 1,
            "edges": [127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32],
            "negative": [-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1],
        },
    },
    "reply-stats-floats": {
        "type": "stats",
        "id": "11",
        "stats": {"values": [0.0, -0.5, 0.1, 1e300, 5e-324, 3.0, -1234.5678]},
    },
    "reply-stats-lengths": {
        "type": "stats",
        "id": "11",
        "stats": {
            "texts": ["", "a" * 31, "b" * 32, "c" * 255, "d" * 256],
            "arrays": [[], [0] * 15, [0] * 16],
            "maps": [{}, {f"k{i}": i for i in range(15)}, {f"k{i}": i for i in range(16)}],
        },
    },
    "reply-stats-nested": {
        "type": "stats",
        "id": "11",
        "stats": {"a": {"b": {"c": [{"d": [[[None, True, False]]]}]}}},
    },
    "reply-pong": {"type": "pong", "id": "12"},
    "reply-error": {
        "type": "error",
        "id": "3",
        "code": "unknown_npc",
        "message": "No character 'mara' is spawned.",
        "help": "Send a spawn first.",
    },
    "reply-error-no-id": {
        "type": "error",
        "code": "bad_message",
        "message": "The frame is no valid request.",
        "help": "See docs/protocol.md.",
    },
    "reply-unknown-keys": {
        "type": "line",
        "id": "3",
        "seq": 0,
        "npc": "mara",
        "index": 0,
        "text": "Hello.",
        "emotion": "joy",
    },
}


def _say(**keys: Any) -> bytes:
    return _pack({"type": "say", "id": "3", "npc": "mara", "text": "Hi."} | keys)


def _event(**keys: Any) -> bytes:
    return _pack({"type": "event", "id": "5", "npcs": "*", "text": "Rain."} | keys)


def _scene(**keys: Any) -> bytes:
    return _pack({"type": "scene", "id": "14", "scene": "inn", "npcs": ["mara", "bo"]} | keys)


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _card(body: bytes) -> bytes:
    """Return a spawn whose card is `{"a": body}`, for what the msgpack library would not write."""
    return b"\x84\xa4type\xa5spawn\xa2id\xa12\xa3npc\xa1a\xa4card\x81\xa1a" + body


INVALID: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", None),
    "garbage": (bytes(range(255, 200, -1)), None),
    "json": (b'{"type": "ping", "id": "1"}', None),
    "not-a-map": (_pack(["ping", "1"]), None),
    "nil": (_pack(None), None),
    "truncated": (_pack({"type": "ping", "id": "12"})[:-1], None),
    "trailing": (_pack({"type": "ping", "id": "12"}) + b"\x00", None),
    "absurd-length": (b"\xdf\xff\xff\xff\xff", None),
    "deep": (_card(b"\x91" * 20_000 + b"\xc0"), None),
    "bytes-for-keys": (_pack({b"type": "ping", b"id": "1"}), None),
    "not-utf8": (b"\x82\xa4type\xa4ping\xa2id\xa2\xc3\x28", None),
    "map-as-key": (_card(b"\x81\x80\x01"), "2"),
    "timestamp-out-of-range": (_card(b"\xd7\xff" + b"\xff" * 8), "2"),
    "no-type": (_pack({"id": "1"}), "1"),
    "type-not-text": (_pack({"type": 5, "id": "1"}), "1"),
    "type-unknown": (_pack({"type": "sing", "id": "1"}), "1"),
    "type-of-a-reply": (_pack({"type": "pong", "id": "1"}), "1"),
    "no-id": (_pack({"type": "ping"}), None),
    "id-nil": (_pack({"type": "ping", "id": None}), None),
    "id-empty": (_pack({"type": "ping", "id": ""}), None),
    "id-too-long": (_pack({"type": "ping", "id": "x" * 65}), None),
    "id-not-text": (_pack({"type": "ping", "id": 1}), None),
    "hello-no-protocol": (_pack({"type": "hello", "id": "1"}), "1"),
    "hello-protocol-text": (_pack({"type": "hello", "id": "1", "protocol": "1"}), "1"),
    "spawn-no-card": (_pack({"type": "spawn", "id": "2", "npc": "mara"}), "2"),
    "spawn-card-text": (_pack({"type": "spawn", "id": "2", "npc": "a", "card": "Mara"}), "2"),
    "spawn-window-0": (
        _pack({"type": "spawn", "id": "2", "npc": "a", "card": {}, "window": 0}),
        "2",
    ),
    "spawn-restore-card-unknown": (
        _pack({"type": "spawn", "id": "2", "npc": "a", "card": {}, "restore_card": "old"}),
        "2",
    ),
    "say-no-text": (_pack({"type": "say", "id": "3", "npc": "mara"}), "3"),
    "say-text-nil": (_say(text=None), "3"),
    "say-text-not-utf8": (_say(text="HI").replace(b"\xa2HI", b"\xa2\xc3\x28"), "3"),
    "say-text-bytes": (_say(text=b"Hi."), "3"),
    "say-npc-empty": (_say(npc=""), "3"),
    "say-npc-dot-first": (_say(npc=".mara"), "3"),
    "say-npc-parent": (_say(npc=".."), "3"),
    "say-npc-slash": (_say(npc="a/b"), "3"),
    "say-npc-newline": (_say(npc="mara\n"), "3"),
    "say-npc-unicode": (_say(npc="mära"), "3"),
    "say-npc-too-long": (_say(npc="m" * 65), "3"),
    "say-speaker-empty": (_say(speaker=""), "3"),
    "say-speaker-too-long": (_say(speaker="T" * 65), "3"),
    "say-priority-unknown": (_say(priority="urgent"), "3"),
    "say-max-tokens-0": (_say(max_tokens=0), "3"),
    "say-max-tokens-float": (_say(max_tokens=64.0), "3"),
    "say-max-tokens-bool": (_say(max_tokens=True), "3"),
    "say-stream-unknown": (_say(stream=["lines"]), "3"),
    "say-stream-text": (_say(stream="line"), "3"),
    "say-notes-nil": (_say(notes=None), "3"),
    "scene-no-npcs": (_pack({"type": "scene", "id": "14", "scene": "inn"}), "14"),
    "scene-npcs-everybody": (_scene(npcs="*"), "14"),
    "scene-turns-0": (_scene(turns=0), "14"),
    "scene-turns-too-many": (_scene(turns=65), "14"),
    "scene-name-dot-first": (_scene(scene=".inn"), "14"),
    "scene-stream-turn": (_scene(stream=["turn"]), "14"),
    "join-no-scene": (_pack({"type": "join", "id": "15", "npc": "wren"}), "15"),
    "event-text-empty": (_event(text=""), "5"),
    "event-npcs-text": (_event(npcs="mara"), "5"),
    "event-importance-over": (_event(importance=1.5), "5"),
    "event-importance-nan": (_event(importance=float("nan")), "5"),
    "event-expires-negative": (_event(expires_s=-1.0), "5"),
    "cancel-heard-negative": (
        _pack({"type": "cancel", "id": "6", "target": "3", "heard": -1}),
        "6",
    ),
    "rewind-turns-0": (_pack({"type": "rewind", "id": "17", "npc": "a", "turns": 0}), "17"),
    "rewind-to-turn-negative": (
        _pack({"type": "rewind", "id": "17", "npc": "a", "to_turn": -1}),
        "17",
    ),
    "transcript-last-0": (_pack({"type": "transcript", "id": "18", "npc": "a", "last": 0}), "18"),
    "save-slot-path": (_pack({"type": "save", "id": "7", "slot": "../slot"}), "7"),
    "load-npcs-text": (_pack({"type": "load", "id": "8", "slot": "s", "npcs": "mara"}), "8"),
}


# The same values in wider encodings than they need: legal msgpack, and a reader must take it.
WIDE: dict[str, tuple[bytes, dict[str, Any]]] = {
    "reply-pong-wide": (
        b"\xdf\x00\x00\x00\x02\xdb\x00\x00\x00\x04type\xda\x00\x04pong\xd9\x02id\xd9\x0212",
        {"type": "pong", "id": "12"},
    ),
    "reply-stats-wide": (
        b"\xde\x00\x03\xa4type\xa5stats\xa2id\xa211\xa5stats\x84\xa1f\xca\x3f\x00\x00\x00"
        b"\xa1u\xcf"
        + (5).to_bytes(8, "big")
        + b"\xa1i\xd3"
        + b"\xff" * 8
        + b"\xa1a\xdd\x00\x00\x00\x01\xdc\x00\x00",
        {"type": "stats", "id": "11", "stats": {"f": 0.5, "u": 5, "i": -1, "a": [[]]}},
    ),
}


UNIX = (0, 1, 2, 3, 126, 127, 128, 132, 134, 135, 136, 137, 138, 139, 143, 159, 255)
WINDOWS = (
    *(5, 6, 0x17, 0x1D, 0x7B, 0x96, 0xFD, 0x12D, 0x135, 0x138, 0x139, 0x13A, 0x142),
    *(0x374, 0x409, 0xFFEE),
)


def _death(status: int) -> dict[str, Any]:
    found = death(status)
    if found is None:
        return {"status": status}
    return {
        "status": status,
        "cause": found.cause.replace(cpu_name(), "{cpu}"),
        "help": found.help,
    }


def files() -> dict[str, bytes]:
    """Return every vector file, by its path within this folder."""
    out = {}
    valid = {name: (_pack(value), value) for name, value in VALID.items()} | WIDE
    for name, (frame, value) in valid.items():
        out[f"{name}.msgpack"] = frame
        out[f"{name}.json"] = _json(value)
    for name, (frame, request_id) in INVALID.items():
        out[f"invalid/{name}.msgpack"] = frame
        out[f"invalid/{name}.json"] = _json({"code": "bad_message", "id": request_id})
    out["deaths.json"] = _json([_death(n) for n in (*UNIX, *(0xC0000000 + n for n in WINDOWS))])
    return out


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def main() -> None:
    """Write the files, and take away those that no longer belong."""
    wanted = files()
    (FOLDER / "invalid").mkdir(exist_ok=True)
    for path in [*FOLDER.glob("*.*"), *FOLDER.glob("invalid/*.*")]:
        name = path.relative_to(FOLDER).as_posix()
        if path.suffix in (".msgpack", ".json") and name not in wanted:
            path.unlink()
    for name, data in wanted.items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
