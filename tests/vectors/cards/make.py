"""Card files of every kind, and what each client makes of them.

`python tests/vectors/cards/make.py` writes the files and `expected.json`: for each file the map
that is read, or the line of its error (0: an error that has no line). The Python, Godot and C#
tests read them all.
"""

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MARA = {"name": "Mara", "description": "Keeps the inn."}


def chunk(kind: bytes, body: bytes, damage: int = 0) -> bytes:
    crc = zlib.crc32(kind + body) ^ damage
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png(*chunks: bytes, end: bool = True) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0"))
    last = chunk(b"IEND", b"") if end else b""
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixel + last


def named(name: str) -> bytes:
    return base64.b64encode(json.dumps({"name": name}).encode())


def text(keyword: bytes, body: bytes, damage: int = 0) -> bytes:
    return chunk(b"tEXt", keyword + b"\0" + body, damage)


def itext(keyword: bytes, body: bytes, packed: bool) -> bytes:
    body = zlib.compress(body) if packed else body
    return chunk(b"iTXt", keyword + b"\0" + bytes([packed, 0]) + b"en\0Karte\0" + body)


def packed(keyword: bytes, body: bytes) -> bytes:
    return chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(body))


def zlib_of(name: str) -> bytes:
    return b"chara\0\0" + zlib.compress(named(name))


PICTURES: dict[str, tuple[bytes, Any]] = {
    "chara": (png(text(b"chara", named("Mara"))), {"name": "Mara"}),
    "v3-first": (png(text(b"ccv3", named("New")), text(b"chara", named("Old"))), {"name": "New"}),
    "v3-last": (png(text(b"chara", named("Old")), text(b"ccv3", named("New"))), {"name": "New"}),
    "two-chara": (png(text(b"chara", named("Old")), text(b"chara", named("New"))), {"name": "New"}),
    "two-v3": (png(text(b"ccv3", named("Old")), packed(b"ccv3", named("New"))), {"name": "New"}),
    "case": (png(text(b"Chara", named("Mara"))), {"name": "Mara"}),
    "case-v3": (png(text(b"CCV3", named("New")), text(b"chara", named("Old"))), {"name": "New"}),
    "zTXt": (png(packed(b"chara", named("Zed"))), {"name": "Zed"}),
    "iTXt": (png(itext(b"ccv3", named("Ida"), packed=False)), {"name": "Ida"}),
    "iTXt-packed": (png(itext(b"chara", named("Ida"), packed=True)), {"name": "Ida"}),
    "wrapped-lines": (
        png(text(b"chara", base64.encodebytes(json.dumps(MARA).encode()))),
        MARA,
    ),
    "other-text": (
        png(text(b"Comment", b"hello", damage=1), text(b"chara", named("Mara"))),
        {"name": "Mara"},
    ),
    "trailing": (png(text(b"chara", named("Mara"))) + b"more", {"name": "Mara"}),
    "wrong-crc": (png(text(b"chara", named("Mara"), damage=1)), 0),
    "wrong-crc-of-the-first": (
        png(text(b"chara", named("Old"), damage=1), text(b"chara", named("New"))),
        0,
    ),
    "no-end": (png(text(b"chara", named("Mara")), end=False), 0),
    "no-card": (png(text(b"Comment", named("Mara"))), 0),
    "no-base64": (png(text(b"chara", b"{}!!")), 0),
    "no-padding": (png(text(b"chara", named("Mara").rstrip(b"="))), 0),
    "no-json": (png(text(b"chara", base64.b64encode(b'{"name":\n[1,'))), 2),
    "no-map": (png(text(b"chara", base64.b64encode(b"[]"))), 0),
    "zTXt-and-more": (png(chunk(b"zTXt", zlib_of("Zed") + b"more")), 0),
    "zTXt-no-window": (png(chunk(b"zTXt", b"chara\0\0\x88\x1c" + zlib_of("Zed")[9:])), 0),
    "zTXt-packed-twice": (png(packed(b"chara", zlib_of("Zed")[7:])), 0),
    "nul-at-the-end": (png(text(b"chara", named("Mara") + b"\0")), 0),
    "form-feed": (png(text(b"chara", named("Mara") + b"\f")), 0),
    "url-alphabet": (
        png(text(b"chara", base64.urlsafe_b64encode(b'{"name": "Mara", "x": "???>>>"}'))),
        0,
    ),
    "after-the-end": (png() + text(b"chara", named("Mara")), 0),
    "v3-damaged": (png(text(b"ccv3", b"!"), text(b"chara", named("Mara"))), 0),
    "moving": (
        png(chunk(b"acTL", bytes(8)), text(b"chara", named("Mara")), chunk(b"fdAT", bytes(9))),
        {"name": "Mara"},
    ),
    "no-zlib": (png(chunk(b"zTXt", b"chara\0\0hello")), 0),
    "empty": (png(text(b"chara", b"")), 0),
    "latin1": (png(text(b"chara", base64.b64encode('{"name":\n "Zoë"}'.encode("latin-1")))), 2),
}

TEXTS: dict[str, tuple[str | bytes, Any]] = {
    "plain": (json.dumps(MARA), MARA),
    "bom": (b"\xef\xbb\xbf" + json.dumps(MARA).encode(), MARA),
    "unicode": ('{"name": "Märä \\ud83d\\udc09 \\u00e9🐉"}', {"name": "Märä 🐉 é🐉"}),
    "escapes": ('{"name": "\\"\\\\\\/\\b\\f\\n\\r\\t"}', {"name": '"\\/\b\f\n\r\t'}),
    "raw-breaks": (
        '{"name": "Mara",\n "description": "One\n\ttwo"}',
        MARA | {"description": "One\n\ttwo"},
    ),
    "lone-lead": ('{"name": "Ma\\ud83dra \\uD83D\\u0041"}', {"name": "Mara A"}),
    "lone-trail": ('{"name": "Ma\\udc09ra"}', {"name": "Mara"}),
    "two-leads": ('{"name": "Mara \\ud83d\\ud83d\\udc09"}', {"name": "Mara 🐉"}),
    "no-lead": ('{"name": "Mara \\\\ud83d"}', {"name": "Mara \\ud83d"}),
    "nul-escape": ('{"name": "Ma\\u0000ra"}', {"name": "Mara"}),
    "twice": ('{"name": "Old", "name": "New"}', {"name": "New"}),
    "numbers": (
        '{"a": [0, -1, 1.5, 2e3, -0.25E-1, 9007199254740993, 9223372036854775807]}',
        {"a": [0, -1, 1.5, 2000.0, -0.025, 9007199254740993, 9223372036854775807]},
    ),
    "words": ('{"a": [true, false, null, [], {}]}', {"a": [True, False, None, [], {}]}),
    "nested": ('{"a": ' + "[" * 30 + "]" * 30 + "}", {"a": json.loads("[" * 30 + "]" * 30)}),
    "smallest": ('{"a": -9223372036854775808}', {"a": -9223372036854775808}),
    "zero": ('{"a": 0e999}', {"a": 0.0}),
    "nested-62": ('{"a": ' + "[" * 62 + "]" * 62 + "}", {"a": json.loads("[" * 62 + "]" * 62)}),
    "nested-65": ('{"a": ' + "[" * 65 + "]" * 65 + "}", 0),
    "nested-maps": ('{"a": ' * 66 + "1" + "}" * 66, 0),
    "large-whole": ('{"name": "M",\n "a": ' + "9" * 400 + "}", 2),
    "larger-whole": ('{"name": "M",\n "a": ' + "9" * 5000 + "}", 2),
    "two-marks": (b"\xef\xbb\xbf\xef\xbb\xbf" + json.dumps(MARA).encode(), 1),
    "control-z": ('{"name": "Mara"}\n\x1a', 2),
    "block-comment": ('{\n /* who */ "name": "Mara"}', 2),
    "utf32": (json.dumps(MARA).encode("utf-32"), 1),
    "nan": ('{"name": "NaN",\n "x": [1, NaN]}', 2),
    "infinity": ('{"name": "Mara",\n\n "x": -Infinity}', 3),
    "too-large": ('{"name": "1e999",\n "x": 1e999}', 2),
    "nul": ('{"name": "Mara",\n "x": "a\0b"}', 2),
    "latin1": ('{"name":\n "Zoë"}'.encode("latin-1"), 2),
    "utf16": (json.dumps(MARA).encode("utf-16"), 1),
    "surrogate-bytes": (b'{"name":\n "\xed\xa0\xbd"}', 2),
    "overlong": (b'{"name":\n\n "\xc0\xae"}', 3),
    "cut-off": ('{"name":\n "Mära'.encode()[:-3], 2),
    "trailing-comma": ('{"name": "Mara",\n "x": 1,}', 2),
    "trailing-comma-in-list": ('{\n "x": [1,]}', 2),
    "no-comma": ('{"name": "Mara"\n "x": 1}', 2),
    "no-colon": ('{"name"\n "Mara"}', 2),
    "bare-key": ('{\n name: "Mara"}', 2),
    "single-quotes": ("{\n 'name': 'Mara'}", 2),
    "comment": ('{\n // who\n "name": "Mara"}', 2),
    "bad-escape": ('{\n "name": "\\x41"}', 2),
    "bad-hex": ('{\n "name": "\\u00g1"}', 2),
    "signed-hex": ('{\n "name": "\\u-123"}', 2),
    "leading-zero": ('{\n "x": 012}', 2),
    "plus": ('{\n "x": +1}', 2),
    "point-first": ('{\n "x": .5}', 2),
    "point-last": ('{\n "x": 1.}', 2),
    "hex-number": ('{\n "x": 0x10}', 2),
    "two-values": ('{"name": "Mara"}\n{}', 2),
    "not-closed": ('{"name": "Mara",\n "x": "a', 2),
    "deep": ('{"a": ' + "[" * 200 + "]" * 200 + "}", 0),
    "empty": ("", 0),
    "list": ("[]", 0),
    "text": ('"Mara"', 0),
}


def main() -> None:
    expected: dict[str, Any] = {}
    for suffix, files in (("png", PICTURES), ("json", TEXTS)):
        for name, (content, outcome) in files.items():
            raw = content.encode() if isinstance(content, str) else content
            (HERE / f"{name}.{suffix}").write_bytes(raw)
            key = "line" if isinstance(outcome, int) else "card"
            expected[f"{name}.{suffix}"] = {key: outcome}
    # JSON is no picture, and a picture by another name is one all the same.
    (HERE / "json-called.png").write_bytes(json.dumps(MARA).encode())
    expected["json-called.png"] = {"line": 0}
    (HERE / "picture-called.json").write_bytes(PICTURES["chara"][0])
    expected["picture-called.json"] = {"card": {"name": "Mara"}}
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (HERE / "expected.json").write_bytes(text.encode() + b"\n")


if __name__ == "__main__":
    main()
